"""`agentark status` on logs of real attempts: what is done, runs, failed and was killed, and the hours of each rule."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentark import cli

PROGRAM = """
import sys, time
from agentark.running import stage
from agentark.running.deadline import StoppedError
from agentark.errors import UserError
from agentark.running.progress import Progress

def work(args):
    {work}

raise SystemExit(stage.run(work, stage.parser("").parse_args()))
"""


def begin(results: Path, log: str, work: str, gpus: int = 0) -> subprocess.Popen[bytes]:
    """A stage program whose work is this line, as a job of the run."""
    command = [sys.executable, "-c", PROGRAM.format(work=work), "--config", "c"]
    command += ["--log", str(results / "logs" / log)]
    environment = os.environ | {"AGENTARK_GPUS": str(gpus)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results" / "run"


@pytest.fixture
def asleep(results: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A job that has made half of its updates."""
    work = "p = Progress('sft', 4, 'updates'); p.update(2); p._print(60, ''); time.sleep(600)"
    process = begin(results, "train_sft/a/0.log", work, gpus=2)
    log = results / "logs/train_sft/a/0.log"
    deadline = time.monotonic() + 60
    while not log.exists() or "2/4" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()


def status(results: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["status", str(results)]) == 0
    return capsys.readouterr().out


def row(text: str, rule: str) -> list[str]:
    return next(line.split()[1:] for line in text.splitlines() if line.split()[:1] == [rule])


def test_jobs_are_counted_and_failures_explained(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(results, "build_set/t/gsm8k/rsft.log", "pass").wait()
    begin(results, "build_set/t/gsm8k/da.log", "raise UserError('no trace fits; debate more')").wait()
    begin(results, "train_grpo/s/0.log", "raise StoppedError('SIGTERM: goes on from update 7')").wait()
    text = status(results, capsys)
    assert row(text, "build_set")[:3] == ["1", "0", "1"]
    assert row(text, "train_grpo")[:3] == ["0", "0", "1"]
    assert row(text, "all")[:3] == ["1", "0", "2"]
    assert f"build_set t/gsm8k/da failed: no trace fits; debate more ({results}/logs/build_set/t/gsm8k/da.log)" in text
    assert "train_grpo s/0 stopped: SIGTERM: goes on from update 7" in text


def test_an_attempt_that_failed_before_it_worked_is_no_failure(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for work in ("raise UserError('once')", "pass"):
        (results / "logs/build_set/rsft.log").unlink(missing_ok=True)  # as Snakemake does before it starts a job
        begin(results, "build_set/rsft.log", work).wait()
    text = status(results, capsys)
    assert row(text, "build_set")[:3] == ["1", "0", "0"]
    assert "once" not in text


def test_a_running_job_tells_its_progress_until_it_is_killed(
    results: Path, asleep: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    text = status(results, capsys)
    assert row(text, "train_sft")[:3] == ["0", "1", "0"]
    assert f"train_sft a/0 on {os.uname().nodename}: sft " in text
    assert "2/4 updates" in text
    asleep.send_signal(signal.SIGKILL)
    asleep.wait()
    text = status(results, capsys)
    assert row(text, "train_sft")[:3] == ["0", "0", "1"]
    assert "train_sft a/0 killed: sft " in text


def test_hours_are_those_of_all_attempts_and_count_for_each_gpu(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(results, "train_prm/a.log", "raise UserError('once')", gpus=4).wait()
    begin(results, "train_prm/a.log", "pass", gpus=4).wait()
    told = results / "logs/train_prm/a.attempts.jsonl"
    events = [json.loads(line) for line in told.read_text().splitlines() if line]
    assert [(event["event"], event.get("gpus")) for event in events] == [
        ("began", 4),
        ("failed", None),
        ("began", 4),
        ("done", None),
    ]
    for event, time_of_day in zip(events, ("00:00", "01:00", "02:00", "02:30"), strict=True):
        event["at"] = f"2026-01-01T{time_of_day}:00+00:00"
    # The disk was full for a moment, and the first attempt ended after the second had begun.
    first, its_end, second, end = map(json.dumps, events)
    told.write_text("\n".join(['{"event": "beg', second, first, its_end, end]))
    assert row(status(results, capsys), "train_prm") == ["1", "0", "0", "1.500", "6.000"]


def test_a_folder_without_logs_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", str(tmp_path)]) == 1
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path}: no job has begun there; give the folder of a run, for example results/demo\n"
    )


class Cluster:
    """A Slurm whose squeue and sacct say what a test tells them to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("squeue", "sacct"):
            program = folder / name
            program.write_text(f'#!/bin/sh\ncat "{folder}/{name}.out"\n')
            program.chmod(0o755)
        self.says([], [])

    def says(self, queue: list[str], accounts: list[str]) -> None:
        (self.folder / "squeue.out").write_text("".join(f"{line}\n" for line in queue))
        (self.folder / "sacct.out").write_text("".join(f"{line}\n" for line in accounts))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return Cluster(folder)


def began(results: Path, job: str, *times: int, how: str | None = None) -> None:
    """A training that began at these seconds of 1970 in one Slurm job, and ended like this one second later, or not."""
    told = results / "logs/train_sft/a/0.attempts.jsonl"
    told.parent.mkdir(parents=True, exist_ok=True)
    (told.parent / "0.log").write_text("noise\nprm stage 2   5/9 updates  10 tokens/s\n")
    with told.open("a") as handle:
        for second in times:
            line = {"attempt": f"{job} {second}", "event": "began", "at": stamp(second), "host": "n1"}
            handle.write(json.dumps(line | {"slurm_job": job, "process": 1, "gpus": 2}) + "\n")
            if how:
                line = {"attempt": f"{job} {second}", "event": how, "at": stamp(second + 1), "error": "no luck"}
                handle.write(json.dumps(line) + "\n")


def stamp(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()


def test_slurm_tells_what_runs_and_what_waits(
    results: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    began(results, "7", 100)
    cluster.says(
        [
            "7|RUNNING|None|1:02:03|rule_train_sft_wildcards_run_a_0",
            "8|PENDING|Resources|1:00|rule_train_prm_wildcards_run_a",
            "9|PENDING|Priority|1:00|rule_train_prm_wildcards_other_a",
            "10|PENDING|Priority|1:00|not|ours",
        ],
        [],
    )
    text = status(results, capsys)
    assert row(text, "train_sft")[:3] == ["0", "1", "0"]
    assert "train_sft a/0 on n1, Slurm job 7 with 1:02:03 left: prm stage 2   5/9 updates" in text
    assert "Slurm job 8, rule_train_prm_wildcards_run_a: Resources" in text
    assert "Slurm job 9" not in text
    assert "Slurm job 10" not in text


def test_a_job_that_slurm_killed_and_started_again_is_counted_start_by_start(
    results: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    began(results, "7", 1_000, 10_000)
    cluster.says(
        ["7|RUNNING|None|1:00|rule_train_sft_wildcards_run_a_0"],
        ["7|NODE_FAIL|990|4600", "7|RUNNING|9990|Unknown"],
    )
    text = status(results, capsys)
    assert row(text, "train_sft")[:3] == ["0", "1", "0"]
    cluster.says([], ["7|NODE_FAIL|990|4600", "7|OUT_OF_MEMORY by 0|9990|11800"])
    text = status(results, capsys)
    assert row(text, "train_sft") == ["0", "0", "1", "1.500", "3.000"]
    assert "train_sft a/0 killed: OUT_OF_MEMORY; prm stage 2   5/9 updates" in text
    assert "Slurm's log ends in 7.log" in text


def test_a_preempted_job_waits_and_has_not_failed_for_good(
    results: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    began(results, "7", 1_000, how="stopped")
    cluster.says(["7|PENDING|BeginTime|1:00|rule_train_sft_wildcards_run_a_0"], ["7|PREEMPTED|990|1010"])
    text = status(results, capsys)
    assert "Slurm job 7, rule_train_sft_wildcards_run_a_0: BeginTime" in text
    assert "train_sft a/0 stopped: no luck" in text


def test_before_the_first_job_begins_it_says_what_waits(
    results: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    results.mkdir(parents=True)
    cluster.says(["8|PENDING|Resources|1:00|rule_make_questions_wildcards_run_gsm8k"], [])
    assert "Slurm job 8, rule_make_questions_wildcards_run_gsm8k: Resources" in status(results, capsys)
