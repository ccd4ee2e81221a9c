"""Where a program's output goes: to its log from the first import on, progress to the terminal if no picture stands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAY = """
import os
from agentark.running import stage
from agentark.running.progress import say
raise SystemExit(stage.run(lambda args: (os.system("echo native"), say("half done")), stage.parser("").parse_args()))
"""


USABLE = "def __getattr__(name):\n    return type(name, (), {})\n"


def run(folder: Path, library: str, *arguments: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """A stage with these lines in the place of a library that it imports, and its log."""
    (folder / "datasketch.py").write_text(library)
    options = [f"--{name}={folder / name}" for name in ("config", "train", "benchmarks", "skip", "found", "manifest")]
    result = subprocess.run(
        [sys.executable, "-m", "agentark.stages.overlap", *(arguments or options), f"--log={folder / 'log'}"],
        env=os.environ | {"PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
    )
    return result, (folder / "log").read_text()


def test_what_a_library_says_while_it_is_imported_goes_to_the_log(tmp_path: Path) -> None:
    noisy = "import os, warnings\nwarnings.warn('another version, please')\nos.write(1, b'native noise')\n"
    result, log = run(tmp_path, noisy + USABLE)
    (only,) = result.stderr.splitlines()
    assert only.startswith(f"error: {tmp_path / 'config'}: not readable as Sets")
    assert result.stdout == ""
    assert "another version, please" in log
    assert "native noise" in log
    assert only in log


@pytest.mark.parametrize(
    ("library", "arguments", "expected"),
    [
        ("raise ImportError('not for this processor')", [], "ImportError: not for this processor"),
        (USABLE, ["--train=t"], "error: the following arguments are required: --config"),
    ],
)
def test_why_a_program_could_not_begin_is_seen_and_logged(
    library: str, arguments: list[str], expected: str, tmp_path: Path
) -> None:
    result, log = run(tmp_path, library, *arguments)
    assert result.returncode
    assert expected in result.stderr
    assert expected in log


def test_where_a_picture_stands_a_job_keeps_silent_and_elsewhere_it_speaks(tmp_path: Path) -> None:
    for where in ("picture", "slurm.log"):
        log = tmp_path / f"{where}.job.log"
        with (tmp_path / where).open("ab") as stream, (tmp_path / "picture").open("ab") as picture:
            found = os.fstat(picture.fileno())
            subprocess.run(
                [sys.executable, "-c", SAY, "--config", "c", "--log", str(log)],
                env=os.environ | {"AGENTARK_PICTURE": f"{found.st_dev}:{found.st_ino}"},
                stdout=stream,
                stderr=stream,
                check=True,
            )
        assert log.read_text().split("\n") == ["native", "half done", ""]
    assert (tmp_path / "picture").read_text() == ""
    assert (tmp_path / "slurm.log").read_text() == "half done\n"


def test_a_launched_job_gives_all_to_its_log_under_a_picture(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (tmp_path / "picture").open("ab") as picture:
        found = os.fstat(picture.fileno())
        command = [sys.executable, "-m", "agentark.running.launch", "--gpus", "0", "agentark.stages.no_such_stage"]
        subprocess.run(
            [*command, "--log", str(log)],
            env=os.environ | {"AGENTARK_PICTURE": f"{found.st_dev}:{found.st_ino}"},
            stdout=picture,
            stderr=picture,
        )
    assert (tmp_path / "picture").read_text() == ""
    assert "No module named agentark.stages.no_such_stage" in log.read_text()
