"""A job that is submitted a second time waits for the one that still runs."""

import subprocess
import sys
import time
from pathlib import Path

OWN = """
import sys, time
from pathlib import Path
from agentark.running.ownership import own_folder
own_folder(Path(sys.argv[1]))
print("mine", flush=True)
time.sleep(60)
"""


def test_the_second_job_waits_for_the_first(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWN, str(tmp_path / "checkpoints")]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "mine\n"
    second = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert "another job still works in" in second.stderr.readline()
        time.sleep(0.5)
        assert second.poll() is None
        first.kill()
        assert second.stdout.readline() == "mine\n"
    finally:
        first.kill()
        second.kill()
        first.wait()
        second.wait()
