"""How far a run is: what runs, waits and failed, and the hours that each stage has taken.

Read from the lines that every attempt of a job leaves in its log (`stage.run`), so it needs no running Snakemake; where
there is a Slurm, it is asked for what a log cannot know.
"""

import getpass
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from platform import node

from agentark.errors import UserError

BEGAN = re.compile(r"--- began (\S+) on (.+?)(?:, Slurm job (\d+))?, process (\d+), (\d+) GPUs$")
ENDED = re.compile(r"--- (done|failed|stopped) (\S+)$")
PROGRESS = re.compile(r"\S+ +\d+/\d+ ")
ERROR = "error: "


@dataclass(frozen=True)
class Attempt:
    """One start of a job's program, as its log tells."""

    rule: str
    job: str
    """The job's wildcards."""
    began: datetime
    host: str
    slurm_job: str | None
    process: int
    n_gpus: int
    state: str = "begun"
    """`done`, `failed`, `stopped` (it can go on); from outside: `running`, `killed`; `begun` where nobody knows."""
    ended: datetime | None = None
    last_words: str = ""
    """The error, or the last line of progress."""

    @property
    def hours(self) -> float:
        """0 where its end is not known."""
        return (self.ended - self.began) / timedelta(hours=1) if self.ended else 0.0


def attempts(log: Path, rule: str, job: str) -> list[Attempt]:
    """All attempts of a job, in their order."""
    found: list[Attempt] = []
    with log.open(encoding="utf-8", errors="replace") as lines:
        for raw in lines:
            line = raw.rstrip()
            if began := BEGAN.match(line):
                time, host, slurm_job, process, n_gpus = began.groups()
                start = datetime.fromisoformat(time)
                found.append(Attempt(rule, job, start, host, slurm_job, int(process), int(n_gpus)))
            elif not found:
                continue
            elif ended := ENDED.match(line):
                found[-1] = replace(found[-1], state=ended[1], ended=datetime.fromisoformat(ended[2]))
            elif line.startswith(ERROR) or PROGRESS.match(line):
                found[-1] = replace(found[-1], last_words=line)
    if found and found[-1].ended is None:
        silent_since = datetime.fromtimestamp(log.stat().st_mtime, UTC)
        found[-1] = replace(found[-1], ended=silent_since)
    return found


class Slurm:
    """What Slurm says of this user's jobs; nothing where there is none."""

    def __init__(self) -> None:
        rows = _rows("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%T|%r|%L|%k|%Z")
        self.reachable = rows is not None
        self.jobs = {row[0]: row[1:] for row in rows or [] if len(row) == 6}

    def running(self, job: str) -> bool:
        return job in self.jobs and self.jobs[job][0] != "PENDING"

    def time_left(self, job: str) -> str:
        return self.jobs[job][2]

    def waiting(self, folder: Path) -> list[str]:
        """Job, rule with wildcards, and why it waits, of the jobs that were submitted from a folder."""
        return [
            f"Slurm job {job}, {what}: {reason}"
            for job, (state, reason, _, what, submitted_from) in self.jobs.items()
            if state == "PENDING" and Path(submitted_from) == folder
        ]

    def ends(self, jobs: Iterable[str]) -> dict[str, tuple[str, int]]:
        """State and elapsed seconds of jobs that have ended, where accounting keeps them."""
        wanted = ",".join(jobs)
        if not self.reachable or not wanted:
            return {}
        columns = "--format=JobIDRaw,State,ElapsedRaw"
        rows = _rows("sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={wanted}", columns)
        return {job: (state.partition(" ")[0], int(seconds)) for job, state, seconds in rows or []}


def _rows(*command: str) -> list[list[str]] | None:
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return [line.split("|") for line in said.splitlines()]


def seen_from_here(attempt: Attempt, slurm: Slurm) -> Attempt:
    """The attempt with what its log cannot say: whether it still runs."""
    if attempt.state != "begun":
        return attempt
    runs: bool | None = None
    if attempt.slurm_job:
        runs = slurm.running(attempt.slurm_job) if slurm.reachable else None
    elif attempt.host == node():
        runs = _same_process(attempt)
    if runs is None:
        return attempt
    if runs:
        return replace(attempt, state="running", ended=datetime.now(UTC))
    return replace(attempt, state="killed")


def _same_process(attempt: Attempt) -> bool:
    """Whether the process lives and is not another one that has got its number since."""
    import psutil

    try:
        started = datetime.fromtimestamp(psutil.Process(attempt.process).create_time(), UTC)
    except psutil.Error:
        return False
    return started <= attempt.began + timedelta(seconds=2)


def with_ends(found: list[list[Attempt]], slurm: Slurm) -> list[list[Attempt]]:
    """The attempts with what Slurm's accounting knows of those that were killed."""
    killed = {a.slurm_job for jobs in found for a in jobs if a.state in ("begun", "killed") and a.slurm_job}
    ends = slurm.ends(sorted(killed))

    def told(attempt: Attempt) -> Attempt:
        if attempt.state not in ("begun", "killed") or attempt.slurm_job not in ends:
            return attempt
        state, seconds = ends[attempt.slurm_job]
        ended = attempt.began + timedelta(seconds=seconds)
        return replace(attempt, state="killed", ended=ended, last_words=f"{state}; {attempt.last_words}".rstrip("; "))

    return [[told(attempt) for attempt in jobs] for jobs in found]


def report(results: Path) -> Iterator[str]:
    """The lines that `agentark status` prints.

    Raises:
        UserError: the run has no logs.
    """
    slurm = Slurm()
    found: list[list[Attempt]] = []
    for log in sorted((results / "logs").rglob("*.log")):
        rule, *wildcards = log.relative_to(results / "logs").with_suffix("").parts
        if of_job := attempts(log, rule, "/".join(wildcards)):
            of_job[-1] = seen_from_here(of_job[-1], slurm)
            found.append(of_job)
    if not found:
        raise UserError(f"{results}: no logs there; give the folder of a run, for example results/demo")
    found = with_ends(found, slurm)

    yield f"{'rule':<24}{'done':>7}{'running':>9}{'failed':>8}{'hours':>10}{'GPU hours':>11}"
    rules: dict[str, list[list[Attempt]]] = {}
    for of_job in sorted(found, key=lambda jobs: jobs[0].began):
        rules.setdefault(of_job[0].rule, []).append(of_job)
    for rule, jobs in [*rules.items(), ("all", found)]:
        states = [of_job[-1].state for of_job in jobs]
        n_running = sum(state in ("running", "begun") for state in states)
        n_failed = sum(state in ("failed", "stopped", "killed") for state in states)
        every = [attempt for of_job in jobs for attempt in of_job]
        hours = sum(attempt.hours for attempt in every)
        gpu_hours = sum(attempt.hours * attempt.n_gpus for attempt in every)
        counts = f"{states.count('done'):>7}{n_running:>9}{n_failed:>8}"
        yield f"{rule:<24}{counts}{hours:>10.2f}{gpu_hours:>11.2f}"

    last = [of_job[-1] for of_job in found]
    yield from _section("running", [_running(a, slurm) for a in last if a.state in ("running", "begun")])
    yield from _section("waiting in the queue", slurm.waiting(results.resolve().parents[1]))
    yield from _section("failed", [_failed(a, results) for a in last if a.state in ("failed", "stopped", "killed")])


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        yield from (f"  {line}" for line in lines)


def _running(attempt: Attempt, slurm: Slurm) -> str:
    where = attempt.host
    if attempt.slurm_job and slurm.running(attempt.slurm_job):
        where += f", Slurm job {attempt.slurm_job} with {slurm.time_left(attempt.slurm_job)} left"
    if attempt.state == "begun":
        where += ", as far as can be seen from here"
    return f"{attempt.rule} {attempt.job} on {where}: {attempt.last_words or 'no progress yet'}"


def _failed(attempt: Attempt, results: Path) -> str:
    log = results / "logs" / attempt.rule / f"{attempt.job}.log"
    words = attempt.last_words.removeprefix(ERROR) or "no word of why"
    slurm_log = f"; Slurm's log ends in {attempt.slurm_job}.log" if attempt.slurm_job else ""
    return f"{attempt.rule} {attempt.job} {attempt.state}: {words} ({log}{slurm_log})"
