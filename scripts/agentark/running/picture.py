"""The picture of a run while it goes: what of each stage is done, runs and is left, and how far the running jobs are.

On a terminal it stands below all that is said, drawn anew every second. Elsewhere a job is a line when it begins and
one when it ends, and now and then one about how far it is. Failures are lines that stay, with their cause.
"""

import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from agentark.running.progress import duration
from agentark.running.status import cause, last_words

SECONDS_BETWEEN_DRAWINGS = 1.0
SECONDS_BETWEEN_LINES = 60.0
STAGES = {
    "settings": ("freeze_settings",),
    "models": ("prepare_model",),
    "questions": ("make_questions", "change_questions", "find_overlap"),
    "debates": ("hold_debates", "import_debates"),
    "traces": ("verify_answers", "extract_traces"),
    "sets": ("judge_traces", "label_steps", "build_set"),
    "prm": ("train_prm",),
    "scores": ("make_step_benchmark", "score_untrained", "score_steps"),
    "students": ("train_sft", "measure_pass_rates", "train_grpo"),
    "evaluations": (
        "evaluate_base",
        "evaluate_student",
        "evaluate_imported_debates",
        "evaluate_by_lm_eval",
        "evaluate_student_by_lm_eval",
        "measure_perplexity",
        "measure_perplexity_of_student",
    ),
    "tables": (
        "summarise",
        "summarise_cost",
        "summarise_reasoning",
        "summarise_robustness",
        "summarise_debates",
        "summarise_sets",
        "summarise_sft",
        "summarise_prm",
        "summarise_pad",
        "summarise_verification",
        "plot_accuracy",
    ),
}
"""The rules that share a line, in the order of the way of the data; a rule of a user's own has a line of its own."""


@dataclass(frozen=True)
class Job:
    """A job that Snakemake has started, or given to a cluster."""

    rule: str
    wildcards: Mapping[str, str]
    log: Path | None
    began: datetime

    @property
    def name(self) -> str:
        """The rule and its wildcards, numbers with their names: `train_sft rsft llama gsm8k qwen seed 0`."""
        named = {key: value.strip("-/") for key, value in self.wildcards.items() if key != "run"}
        said = [f"{key} {value}" if value.isdigit() else value for key, value in named.items() if value]
        variant = self.wildcards.get("run", "").partition("/variants/")[2]
        return " ".join([self.rule, *said, *([f"({variant})"] if variant else [])])

    @property
    def seconds(self) -> float:
        """Since it began."""
        return (datetime.now(UTC) - self.began).total_seconds()

    @property
    def words(self) -> str:
        """Its newest line of progress; an earlier attempt's log may still be there."""
        words, written = last_words(self.log) if self.log else ("", None)
        return words if written and written >= self.began else ""


def is_work(rule: str) -> bool:
    """Whether it makes something: `all` and the targets that are named after a stage only collect."""
    return rule not in ("all", *STAGES)


class Picture:
    """What is known of a run's jobs, and the place where it is drawn.

    Args:
        stream: where it stands.
        expected: number of jobs of each rule, in the order of the stages.
    """

    def __init__(self, stream: TextIO, expected: Mapping[str, int]) -> None:
        self._stream = stream
        self._lives = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._expected = {rule: n for rule, n in expected.items() if is_work(rule)}
        self._running: dict[int, Job] = {}
        self._failed: dict[int, Job] = {}
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._told: dict[int, str] = {}
        self._began = time.monotonic()
        self._n_drawn = 0
        self._lock = threading.RLock()
        self._over = threading.Event()
        threading.Thread(target=self._keep_up, daemon=True).start()

    @property
    def stands(self) -> bool:
        return not self._over.is_set()

    def begins(self, number: int, job: Job) -> None:
        if is_work(job.rule):
            with self.above():
                self._failed.pop(number, None)
                self._running[number] = job
                if not self._lives:
                    self._say(f"{'begins':>9}  {job.name}")

    def ends(self, number: int) -> None:
        with self.above():
            if job := self._running.pop(number, None):
                self._seconds[job.rule].append(job.seconds)
                if not self._lives:
                    self._say(f"{f'{self._n_done}/{self._n}':>9}  {job.name}, {duration(job.seconds)}")
        if self._n_done == self._n:
            self.close()

    def fails(self, number: int, how: str = "") -> None:
        """The job has failed, and may begin again.

        Args:
            how: what the scheduler says of it, for a job whose log tells nothing.
        """
        with self.above():
            if job := self._running.pop(number, None):
                self._failed[number] = job
                if not self.stands:  # it was ended with the run
                    return
                log = f" ({job.log})" if job.log else ""
                self._say(f"{'failed':>9}  {job.name}, after {duration(job.seconds)}: {cause(job.log, how)}{log}")

    def log_in(self, text: str) -> int | None:
        """The running job whose log a text names."""
        return next((n for n, job in self._running.items() if job.log and str(job.log) in text), None)

    @contextmanager
    def above(self) -> Iterator[None]:
        """What is written to the stream meanwhile stays, above the picture."""
        with self._lock:
            self._draw([])
            yield
            if self._lives and self.stands:
                self._draw(self._lines())

    def close(self) -> None:
        """Leave it as it is now."""
        with self._lock:
            if self.stands:
                self._over.set()
                if self._lives:
                    self._draw(self._lines())
                    self._n_drawn = 0
                else:
                    self._say(self._sum())

    def _keep_up(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN_DRAWINGS if self._lives else SECONDS_BETWEEN_LINES):
            with self._lock, suppress(OSError):  # the terminal may be gone: the run goes on
                if self._lives and self.stands:
                    self._draw(self._lines())
                elif self.stands:
                    self._tell()

    def _tell(self) -> None:
        """How far each job is that has got further since it was told last."""
        for number, job in self._running.items():
            if (words := job.words) and self._told.get(number) != words:
                self._told[number] = words
                self._say(f"{'':>9}  {job.name}, {duration(job.seconds)}: {words}")

    def _say(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def _draw(self, lines: list[str]) -> None:
        """These lines in the place of those that stand there."""
        erased = f"\x1b[{self._n_drawn}F\x1b[J" if self._n_drawn else ""
        self._n_drawn = len(lines)
        self._stream.write(erased + "".join(f"{line}\n" for line in lines))
        self._stream.flush()

    def _lines(self) -> list[str]:
        """As many as fit on the terminal, since what has left it cannot be drawn anew."""
        size = os.get_terminal_size(self._stream.fileno())
        columns, rows = size.columns or 80, size.lines or 24
        lines = [*self._table(), self._sum()]
        jobs = list(self._running.values())
        room = max(0, rows - 1 - len(lines)) // 2
        shown = jobs if len(jobs) <= room else jobs[: max(0, room - 1)]
        for job in shown:
            lines += [f"{job.name}, {duration(job.seconds)}", f"    {job.words or 'no word of it yet'}"]
        if len(shown) < len(jobs):
            lines.append(f"and {len(jobs) - len(shown)} more")
        return [line[: columns - 1] for line in lines[: rows - 1]]

    def _table(self) -> Iterator[str]:
        yield f"{'stage':<12}{'done':>8}{'running':>9}{'failed':>8}{'left':>8}"
        expected = _of_stages(self._expected)
        done = _of_stages({rule: len(seconds) for rule, seconds in self._seconds.items()})
        running = _of_stages(Counter(job.rule for job in self._running.values()))
        failed = _of_stages(Counter(job.rule for job in self._failed.values()))
        for stage in sorted(expected, key=_place):
            n_left = expected[stage] - done[stage] - running[stage] - failed[stage]
            row = f"{stage:<12}{done[stage] or '':>8}{running[stage] or '':>9}{failed[stage] or '':>8}{n_left or '':>8}"
            yield row.rstrip()

    def _sum(self) -> str:
        words = [f"{self._n_done} of {self._n} jobs done"]
        words += [f"{len(self._failed)} failed"] if self._failed else []
        words.append(f"{duration(time.monotonic() - self._began)} gone")
        if self.stands:
            words.append(self._time_left())
        return ", ".join(words)

    def _time_left(self) -> str:
        """From what other jobs of the same rules took; unknown while most of what is left has no such job."""
        busy = sum(map(sum, self._seconds.values())) + sum(job.seconds for job in self._running.values())
        n_known, n_unknown, left = 0, 0, 0.0
        for rule, n in self._expected.items():
            took = self._seconds[rule]
            running = [job.seconds for job in self._running.values() if job.rule == rule]
            n_left = n - len(took) - sum(job.rule == rule for job in self._failed.values())
            if not took:
                n_unknown += n_left
                continue
            mean = sum(took) / len(took)
            n_known += n_left
            left += (n_left - len(running)) * mean + sum(max(0.0, mean - seconds) for seconds in running)
        if n_unknown > n_known:
            return "time left unknown"
        # As many at the same time as so far, on average.
        left *= (time.monotonic() - self._began) / busy if busy else 1.0
        return f"{'at least' if n_unknown else 'about'} {duration(left)} left"

    @property
    def _n(self) -> int:
        return sum(self._expected.values())

    @property
    def _n_done(self) -> int:
        return sum(map(len, self._seconds.values()))


def _of_stages(of_rules: Mapping[str, int]) -> Counter[str]:
    """Numbers of rules as numbers of stages."""
    of_stages: Counter[str] = Counter()
    for rule, n in of_rules.items():
        of_stages[next((stage for stage, rules in STAGES.items() if rule in rules), rule)] += n
    return of_stages


def _place(stage: str) -> int:
    return [*STAGES, stage].index(stage)
