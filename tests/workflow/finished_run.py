"""A copy of the checkout with a finished run in it, made in seconds: Snakemake is real, the stage programs are not.

The copy's `python` writes small files where a stage program would write real ones, so that Snakemake records its
metadata for every job and a dry-run can be asked what a change would run again.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from tests.workflow import forked

ROOT = Path(__file__).parents[2]
FAKE_PYTHON = """#!{python}
import json, os, pathlib, sys
args = sys.argv[1:]
if args[:2] == ["-m", "agentark.running.launch"]:
    args = ["-m", *args[next(i for i, arg in enumerate(args) if arg.startswith("agentark.stages.")):]]
if args[:1] == ["-m"] and args[1].startswith("agentark.stages."):
    options = dict(zip(args[2:], args[3:]))
    for option in ("--out", "--manifest", "--counts", "--card", "--text", "--held-out-debates", "--table", "--held",
                   "--statistics", "--samples", "--skip", "--page", "--figure", "--comparisons", "--curves"):
        # What these read under such a name, they do not write.
        read = {{"summarise_debates": "--statistics", "plot_accuracy": "--table", "sets": "--skip"}}
        if option in options and option != read.get(args[1].rpartition(".")[2]):
            path = pathlib.Path(options[option])
            files = [path / n for n in ("train.jsonl", "validation.jsonl", "test.jsonl", "manifest.json")]
            for file in files if args[1].endswith("questions") else [path]:
                file.parent.mkdir(parents=True, exist_ok=True)
                # What a manifest must hold for `agentark verify`.
                said = {{"kind": args[1], "parents": {{}}, "outputs": {{}}, "files": {{}}, "folder": None}}
                said["tensorboard"] = os.environ.get("AGENTARK_TENSORBOARD")
                file.write_text(json.dumps(said))
else:
    os.execv("{python}", ["{python}", *args])
"""


class Checkout:
    """A copy of the tracked files; commands run in it as a user would run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file() and not name.startswith("tests/"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        fake = folder / "bin" / "python"
        fake.parent.mkdir(parents=True)
        fake.write_text(FAKE_PYTHON.format(python=sys.executable))
        fake.chmod(fake.stat().st_mode | stat.S_IXUSR)

    @property
    def environment(self) -> dict[str, str]:
        """In which the checkout's programs and library are found first."""
        paths = f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return os.environ | {"PYTHONPATH": str(self.folder / "scripts"), "PATH": paths}

    def snakemake(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs Snakemake in the checkout, on the checkout's own library."""
        return self.call(sys.executable, "-m", "snakemake", *arguments, **environment)

    def call(self, *command: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs any command on the checkout's own library, in the checkout or in another folder."""
        return subprocess.run(
            command,
            cwd=folder or self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def would_run(self, *arguments: str) -> dict[str, int]:
        """The rules that a dry-run would run, with their numbers of jobs."""
        result = forked.snakemake([*arguments, "-n", "--quiet", "rules"], self.folder, self.environment)
        assert result.returncode == 0, result.stdout + result.stderr
        output = result.stdout + result.stderr
        counts = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}
        assert counts or "Nothing to be done" in output, output
        counts.pop("total", None)
        counts.pop("all", None)
        return counts

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
