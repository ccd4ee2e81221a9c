"""Jobs on one machine share its devices; a job of a scheduler has its own already."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SAY = """import os, time
for name in ("CUDA_VISIBLE_DEVICES", "AGENTARK_GPUS"):
    print(os.environ.get(name), flush=True)
time.sleep({seconds})
"""


@pytest.fixture
def job(tmp_path: Path):
    """Starts a job that says which devices it sees and keeps them for some time."""
    running = []

    def start(gpus: int, visible: str | None, seconds: float = 0.0, **more: str) -> subprocess.Popen[str]:
        module = tmp_path / f"job{len(running)}.py"
        module.write_text(SAY.format(seconds=seconds))
        environment = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID")}
        environment |= {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}", "TMPDIR": str(tmp_path)}
        environment |= more | ({"CUDA_VISIBLE_DEVICES": visible} if visible is not None else {})
        command = [sys.executable, "-m", "agentark.running.launch", "--gpus", str(gpus), module.stem]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


def said(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline().strip()


def test_a_job_knows_how_many_devices_it_holds(job) -> None:
    process = job(2, "0,1,2")
    assert (said(process), said(process)) == ("0,1", "2")


def test_jobs_take_devices_that_are_free_and_wait_for_those_that_are_not(job) -> None:
    first = job(2, "0,1,2", seconds=60)
    assert said(first) == "0,1"
    assert said(job(1, "0,1,2", seconds=60)) == "2"
    started = time.monotonic()
    third = job(1, "0,1,2")
    time.sleep(1)
    first.kill()
    assert said(third) == "0"
    assert time.monotonic() - started > 1


def test_a_job_gets_at_most_what_there_is(job) -> None:
    assert said(job(8, "3,5")) == "3,5"


def test_without_devices_it_runs_on_the_cpu(job) -> None:
    assert said(job(1, "")) == ""


def test_a_schedulers_choice_is_kept(job) -> None:
    assert said(job(1, "6,7", SLURM_JOB_ID="1")) == "6,7"
