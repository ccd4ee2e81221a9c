"""How far a run is: what runs, waits and failed, and the hours that each stage has taken.

Read from the lines that every attempt of a job leaves beside its log (`stage.run`), so it needs no running Snakemake;
where there is a Slurm, it is asked for what they cannot know.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from platform import node

from agentark.errors import UserError
from agentark.running.attempts import SUFFIX

PROGRESS = re.compile(rb"^(?:error: .*|waiting +for .*|[a-z][\w -]* +\d+/\d+ [a-z].*)$", re.MULTILINE)
LAST_BYTES = 100_000
"""Of a log, looked through for its last words."""
WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED")


@dataclass(frozen=True)
class Attempt:
    """One start of a job's program."""

    log: Path
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


def attempts(told: Path, results: Path) -> list[Attempt]:
    """All attempts of a job in the order of their starts, as they tell themselves."""
    log = told.with_name(told.name.removesuffix(SUFFIX) + ".log")
    # [variants/NAME/]logs/RULE/WILDCARDS.log
    *variant, rule_and_wildcards = log.relative_to(results).with_suffix("").as_posix().rpartition("logs/")[::2]
    rule, *wildcards = rule_and_wildcards.split("/")
    wildcards += [name.strip("/") for name in variant if name]
    found: dict[str, Attempt] = {}
    for line in told.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # an empty line, or half a one of a disk that was full
        at, name = datetime.fromisoformat(row["at"]), row["attempt"]
        if row["event"] == "began":
            where = row["host"], row["slurm_job"], row["process"], row["gpus"]
            found[name] = Attempt(log, rule, "/".join(wildcards), at, *where)
        elif name in found:
            found[name] = replace(found[name], state=row["event"], ended=at, last_words=row.get("error", ""))
    return sorted(found.values(), key=lambda attempt: attempt.began)


def last_words(log: Path) -> tuple[str, datetime | None]:
    """The last line of progress or error in a log, and when the log was last written to."""
    try:
        lines = PROGRESS.findall(_end_of(log))
        return (_plain(lines[-1]) if lines else "", datetime.fromtimestamp(log.stat().st_mtime, UTC))
    except OSError:
        return "", None


def cause(log: Path | None, how: str) -> str:
    """Why a job failed: the error that its log ends with.

    Args:
        how: what is known of its end where the log has no error, as of a program that was killed; then stands with
            the log's last line.
    """
    if log is None:
        return how
    words, _ = last_words(log)
    if words.startswith("error: "):
        return words.removeprefix("error: ")
    with suppress(OSError):
        if lines := _end_of(log).strip().splitlines():
            return f"{how}; its log ends: {_plain(lines[-1])}"
    return how


def _end_of(log: Path) -> bytes:
    with log.open("rb") as handle:
        handle.seek(max(0, log.stat().st_size - LAST_BYTES))
        return handle.read()


def _plain(line: bytes) -> str:
    """Without what a terminal would obey: models and data sets may be quoted in it."""
    return "".join(c for c in line.decode(errors="replace") if c.isprintable()).strip()


class Slurm:
    """What Slurm says now of a user's jobs; nothing where there is none.

    Args:
        user: id of the user, who may be another one than ours.
    """

    def __init__(self, user: int) -> None:
        rows = _rows("squeue", "--noheader", f"--user={user}", "--format=%A|%T|%r|%L|%k")
        self.reachable = rows is not None
        self.jobs = {row[0]: row[1:4] + ["|".join(row[4:])] for row in rows or [] if len(row) >= 5}

    def running(self, job: str) -> bool:
        return job in self.jobs and self.jobs[job][0] not in WAITING

    def time_left(self, job: str) -> str:
        return self.jobs[job][2]

    def waiting(self, run: str) -> list[str]:
        """Job, rule with wildcards, and why it waits, of the jobs of a run."""
        return [
            f"Slurm job {job}, {what}: {reason}"
            for job, (state, reason, _, what) in self.jobs.items()
            if state in WAITING and re.search(rf"_wildcards_{re.escape(run)}(_|$)", what)
        ]

    def ends(self, jobs: Iterable[str]) -> dict[str, list[tuple[str, datetime, datetime]]]:
        """State, start and end of each run of these jobs that is over, where accounting keeps them."""
        wanted = ",".join(jobs)
        if not self.reachable or not wanted:
            return {}
        columns = "--format=JobIDRaw,State,Start,End"
        # A job that Slurm has started again has a record for each start.
        rows = _rows("sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", f"--jobs={wanted}", columns)
        found: dict[str, list[tuple[str, datetime, datetime]]] = {}
        for job, state, *times in rows or []:
            if all(time.isdigit() for time in times):
                start, end = (datetime.fromtimestamp(int(time), UTC) for time in times)
                found.setdefault(job, []).append((state.partition(" ")[0], start, end))
        return found


def _rows(*command: str) -> list[list[str]] | None:
    environment = os.environ | {"SLURM_TIME_FORMAT": "%s"}
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return [line.split("|") for line in said.splitlines()]


def seen_from_here(attempt: Attempt, slurm: Slurm) -> Attempt:
    """A job's last attempt with what it has not told: whether it still runs, and how far it is."""
    if attempt.state != "begun":
        return attempt
    words, silent_since = last_words(attempt.log)
    attempt = replace(attempt, last_words=words, ended=silent_since)
    runs: bool | None = None
    if attempt.slurm_job:
        runs = slurm.running(attempt.slurm_job) if slurm.reachable else None
    elif attempt.host == node():
        runs = _same_process(attempt)
    if runs is None:
        return attempt
    return replace(attempt, state="running", ended=datetime.now(UTC)) if runs else replace(attempt, state="killed")


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
    silent = {a.slurm_job for jobs in found for a in jobs if a.state in ("begun", "killed") and a.slurm_job}
    ends = slurm.ends(sorted(silent))

    def told(attempt: Attempt) -> Attempt:
        if attempt.state not in ("begun", "killed"):
            return attempt
        for state, start, end in ends.get(attempt.slurm_job or "", ()):
            if start <= attempt.began <= end:
                words = f"{state}; {attempt.last_words}".rstrip("; ")
                return replace(attempt, state="killed", ended=end, last_words=words)
        return attempt

    return [[told(attempt) for attempt in jobs] for jobs in found]


def report(results: Path) -> Iterator[str]:
    """The lines that `agentark status` prints.

    Raises:
        UserError: nothing of the run has begun or waits.
    """
    folders = [results / "logs", *results.glob("variants/*/logs")]
    of_jobs = {told: attempts(told, results) for logs in folders for told in sorted(logs.rglob(f"*{SUFFIX}"))}
    slurm = Slurm(results.stat().st_uid if results.exists() else -1)
    # Read again what had no end: it may have ended before Slurm was asked.
    for told, jobs in of_jobs.items():
        if jobs and jobs[-1].state == "begun":
            of_jobs[told] = attempts(told, results)
    found = [[*jobs[:-1], seen_from_here(jobs[-1], slurm)] for jobs in of_jobs.values() if jobs]
    waiting = slurm.waiting(results.resolve().name)
    if not found and not waiting:
        raise UserError(f"{results}: no job has begun there; give the folder of a run, for example results/demo")
    found = with_ends(found, slurm)

    yield f"{'rule':<24}{'done':>7}{'running':>9}{'failed':>8}{'hours':>10}{'GPU hours':>11}"
    rules: dict[str, list[list[Attempt]]] = {}
    for jobs in sorted(found, key=lambda jobs: jobs[0].began):
        rules.setdefault(jobs[0].rule, []).append(jobs)
    for rule, jobs_of_rule in [*rules.items(), ("all", found)]:
        yield _row(rule, jobs_of_rule)
    last = [jobs[-1] for jobs in found]
    yield from _section("running", [_running(a, slurm) for a in last if a.state in ("running", "begun")])
    yield from _section("waiting in the queue", waiting)
    yield from _section("failed", [_failed(a) for a in last if a.state in ("failed", "stopped", "killed")])


def _row(rule: str, of_jobs: list[list[Attempt]]) -> str:
    states = [jobs[-1].state for jobs in of_jobs]
    n_running = sum(state in ("running", "begun") for state in states)
    n_failed = sum(state in ("failed", "stopped", "killed") for state in states)
    every = [attempt for jobs in of_jobs for attempt in jobs]
    hours = sum(attempt.hours for attempt in every)
    gpu_hours = sum(attempt.hours * attempt.n_gpus for attempt in every)
    return f"{rule:<24}{states.count('done'):>7}{n_running:>9}{n_failed:>8} {hours:>9.3f} {gpu_hours:>10.3f}"


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


def _failed(attempt: Attempt) -> str:
    words = attempt.last_words.removeprefix("error: ").partition("\n")[0] or "no word of why"
    slurm_log = f"; Slurm's log ends in {attempt.slurm_job}.log" if attempt.slurm_job else ""
    return f"{attempt.rule} {attempt.job} {attempt.state}: {words} ({attempt.log}{slurm_log})"
