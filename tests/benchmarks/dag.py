"""Seconds of `snakemake -n`: the demo, 1,500 and 15,000 jobs against a bare Snakefile with as many jobs; the paper's
grid, ten times that, and a finished run against what is asked for."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import yaml

from tests.benchmarks import Row, alternate
from tests.workflow.finished_run import Checkout

ROOT = Path(__file__).parents[2]
JOBS_OF_THE_DEMO = 31
JOBS_A_SEED = 7
PAPER, JOBS_OF_THE_PAPER, JOBS_OF_ITS_SEED = ROOT / "config" / "paper.yaml", 1092, 600
SECONDS = {"the paper's grid": 6.0, "ten times that": 60.0, "a finished demo": 5.0}
BARE = """rule all:
    input:
        expand("{{job}}.txt", job=range({n_jobs})),


rule one:
    output:
        "{{job}}.txt",
    shell:
        "touch {{output}}"
"""


def rows() -> Iterator[Row]:
    for name, n_seeds in (("demo", 1), ("1500 jobs", 211), ("15000 jobs", 2139)):
        n_jobs = JOBS_OF_THE_DEMO + JOBS_A_SEED * (n_seeds - 1)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            config = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text(encoding="utf-8"))
            (folder / "config.yaml").write_text(yaml.safe_dump(config | {"seeds": list(range(n_seeds))}))
            (folder / "bare.smk").write_text(BARE.format(n_jobs=n_jobs - 1))
            ours = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", str(folder / "config.yaml")]
            bare = ["--snakefile", str(folder / "bare.smk")]
            seconds = alternate(partial(dry_run, folder, ours, n_jobs), partial(dry_run, folder, bare, n_jobs))
        yield Row(f"dry run, {name}", *seconds, unit="s", note=f"{n_jobs} jobs, {n_seeds} seeds")
    for name, n_seeds in (("the paper's grid", 1), ("ten times that", 18)):
        n_jobs = JOBS_OF_THE_PAPER + JOBS_OF_ITS_SEED * (n_seeds - 1)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            config = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
            (folder / "config.yaml").write_text(yaml.safe_dump(config | {"seeds": list(range(n_seeds))}))
            ours = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", str(folder / "config.yaml")]
            seconds = min(dry_run(folder, ours, n_jobs) for _ in range(2))
        yield Row(f"dry run, {name}", seconds, SECONDS[name], "s", f"{n_jobs} jobs; reference: what is asked for")
    with tempfile.TemporaryDirectory() as temporary:
        finished = Checkout(Path(temporary))
        assert finished.snakemake("--cores", "2").returncode == 0
        seconds = min(nothing_to_do(finished) for _ in range(2))
    name = "a finished demo"
    yield Row(f"dry run, {name}", seconds, SECONDS[name], "s", "nothing to be done; reference: what is asked for")


def nothing_to_do(finished: Checkout) -> float:
    """Seconds of a dry-run that finds nothing to do."""
    started = time.perf_counter()
    assert finished.would_run() == {}
    return time.perf_counter() - started


def dry_run(folder: Path, arguments: list[str], n_jobs: int) -> float:
    """Seconds of one dry-run; checks that it planned what it should."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--directory", str(folder), "-n", "--quiet", "rules"]
    started = time.perf_counter()
    result = subprocess.run(command + ["--cores", "1"], capture_output=True, text=True, env=os.environ, check=True)
    seconds = time.perf_counter() - started
    total = next(line.split()[1] for line in result.stdout.splitlines() if line.startswith("total"))
    if int(total) != n_jobs:
        raise AssertionError(f"{total} jobs planned, {n_jobs} expected: {' '.join(command)}")
    return seconds
