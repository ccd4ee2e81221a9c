"""`snakemake --logger agentark`: the picture of a run in the place of Snakemake's own lines about its jobs.

What runs no jobs (a dry-run, a report), and a run with `--quiet progress`, speaks as it does without a logger. The log
that Snakemake keeps of every run has its own lines as ever.

Snakemake imports this at every start, before the Snakefile says which checkout's library the run goes with: so nothing
of the library is imported before the run begins.
"""

import logging
import os
import re
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

if TYPE_CHECKING:
    from agentark.running.picture import Picture

DULL = (
    "Using shell:",
    "Conda environments: ignored",
    "Singularity containers: ignored",
    "Assuming unrestricted shared",
    "Select jobs to execute",
)
"""Said in every run."""
LAST_WORDS = ("Exiting because a job execution failed", "Terminating processes on user request", "BUG: Out of jobs")
"""No job is started after these."""


class LogHandler(LogHandlerBase):
    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        settings = self.common_settings
        quiet = settings.quiet or set()
        self._stream = sys.stdout if settings.stdout else sys.stderr
        self._text = ColorizingTextHandler(
            settings.nocolor,
            self._stream,
            DefaultFormatter(quiet, settings.show_failed_logs),
            DefaultFilter(quiet, settings.debug_dag, settings.verbose, settings.dryrun, settings.printshellcmds),
        )
        self._draws = not settings.dryrun and not {Quietness.ALL, Quietness.PROGRESS} & set(quiet)
        self._picture: Picture | None = None
        self._died: dict[int | None, str] = {}
        if self._draws:
            stream = os.fstat(self._stream.fileno())
            # Read by `agentark.running.output` in the jobs.
            os.environ["AGENTARK_PICTURE"] = f"{stream.st_dev}:{stream.st_ino}"

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if not (self._draws and self._drawn(record)):
                with self._picture.above() if self._picture else nullcontext():
                    self._text.handle(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        if self._picture:
            self._picture.close()
        super().close()

    def _drawn(self, record: logging.LogRecord) -> bool:
        """Whether the picture shows what is said, or makes it needless."""
        picture, message = self._picture, record.getMessage()
        match getattr(record, "event", None):
            case LogEvent.RUN_INFO:
                from agentark.running.picture import Picture

                jobs = {rule: n for rule, n in record.stats.items() if rule != "total"}
                self._picture = Picture(self._stream, jobs)
            case LogEvent.JOB_INFO:
                from agentark.running.picture import Job

                log = Path(record.log[0]) if record.log else None
                # When it was said, before the job began: this is read later, by a thread of its own.
                began = datetime.fromtimestamp(record.created, UTC)
                picture.begins(record.jobid, Job(record.rule_name, record.wildcards, log, began))
            case LogEvent.JOB_FINISHED:
                picture.ends(record.job_id)
            case LogEvent.JOB_ERROR:
                died = self._died.pop(record.jobid, None)
                picture.fails(record.jobid, record.rule_msg or died or "no word of why")
            # The failed command of a job on this machine; how it ended is all that is new in it.
            case LogEvent.ERROR if picture and (
                died := re.search(r"CalledProcessError.*' (\w.*)\.$", message, re.DOTALL)
            ):
                self._died[picture.log_in(message)] = died[1]
            case LogEvent.ERROR | LogEvent.DEBUG_DAG:
                return False
            case None:
                if picture and message.startswith(LAST_WORDS):
                    picture.close()
                stands = picture is not None and picture.stands
                return record.levelno == logging.INFO and (stands or message.startswith(DULL))
        return True
