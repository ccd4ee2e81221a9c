"""`agentark status` on logs of real attempts: what is done, runs, failed and was killed, and the hours of each rule."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentark import cli

PROGRAM = """
import sys, time
from agentark import stage
from agentark.deadline import StoppedError
from agentark.errors import UserError
from agentark.progress import Progress

def work(args):
    {work}

raise SystemExit(stage.run(work, stage.parser("").parse_args()))
"""


def begin(results: Path, log: str, work: str, gpus: str = "") -> subprocess.Popen[bytes]:
    """A stage program whose work is this line, as a job of the run."""
    command = [sys.executable, "-c", PROGRAM.format(work=work), "--config", "c"]
    command += ["--log", str(results / "logs" / log)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": gpus}
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results" / "run"


@pytest.fixture
def asleep(results: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A job that has made half of its updates."""
    work = "p = Progress('sft', 4, 'updates'); p.update(2); p._print(60, ''); time.sleep(600)"
    process = begin(results, "train_sft/a/0.log", work, gpus="0,1")
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
    log = results / "logs/train_prm/a.log"
    log.parent.mkdir(parents=True)
    log.write_text(
        "--- began 2026-01-01T00:00:00+00:00 on n1, Slurm job 7, process 1, 4 GPUs\n"
        "--- failed 2026-01-01T01:00:00+00:00\n"
        "--- began 2026-01-01T02:00:00+00:00 on n2, Slurm job 8, process 1, 4 GPUs\n"
        "--- done 2026-01-01T02:30:00+00:00\n"
    )
    assert row(status(results, capsys), "train_prm") == ["1", "0", "0", "1.50", "6.00"]


def test_a_folder_without_logs_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", str(tmp_path)]) == 1
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path}: no logs there; give the folder of a run, for example results/demo\n"
    )
