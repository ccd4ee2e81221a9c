"""The record of every attempt of a job, beside its log, for `agentark status`: when and where it began and ended.

In a file of its own, since Snakemake deletes a job's log when it starts the job again.
"""

import json
import os
import platform
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

SUFFIX = ".attempts.jsonl"


class Attempt:
    """This process's attempt, which begins now.

    Args:
        log: of the job; None = nothing is written down.
    """

    def __init__(self, log: Path | None) -> None:
        # Of the processes of one training, the first one speaks for all.
        speaks = int(os.environ.get("RANK", 0)) == 0
        self._path = log.with_suffix(SUFFIX) if log and speaks else None
        self._name = secrets.token_hex(4)
        n_gpus = os.environ.get("WORLD_SIZE") or os.environ.get("AGENTARK_GPUS") or 0
        place = {"host": platform.node(), "slurm_job": os.environ.get("SLURM_JOB_ID"), "process": os.getpid()}
        self._note("began", **place, gpus=int(n_gpus))

    def ends(self, how: str, error: str | None = None) -> None:
        """It is `done`, has `failed`, or was `stopped` and can be gone on with."""
        self._note(how, **({"error": error} if error else {}))

    def _note(self, event: str, **more: object) -> None:
        if self._path is None:
            return
        line = {"attempt": self._name, "event": event, "at": datetime.now(UTC).isoformat(timespec="seconds")} | more
        with suppress(OSError):  # a full disk: what the work says of it must not be lost for this line
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as handle:
                # A line of its own, also after half a one.
                handle.write("\n" + json.dumps(line) + "\n")
