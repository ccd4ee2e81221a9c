"""Seconds of `snakemake -n`: the demo, 1,500 and 15,000 jobs against a bare Snakefile with as many jobs; the paper's
study, ten times that, and a finished run against what is asked for."""

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
DEMO, PAPER = ROOT / "config" / "demo.yaml", ROOT / "config" / "paper.yaml"
SECONDS = {"the paper's study": 8.0, "ten times that": 60.0, "a finished demo": 5.0}
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
    for name, n_seeds in (("demo", 1), ("1500 jobs", 183), ("15000 jobs", 1871)):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            ours, n_jobs = with_seeds(folder, DEMO, n_seeds)
            (folder / "bare.smk").write_text(BARE.format(n_jobs=n_jobs - 1))
            bare = ["--snakefile", str(folder / "bare.smk")]
            seconds = alternate(partial(timed, folder, ours, n_jobs), partial(timed, folder, bare, n_jobs))
        yield Row(f"dry run, {name}", *seconds, unit="s", note=f"{n_jobs} jobs, {n_seeds} seeds")
    for name, n_seeds in (("the paper's study", 1), ("ten times that", 18)):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            ours, n_jobs = with_seeds(folder, PAPER, n_seeds)
            seconds = min(timed(folder, ours, n_jobs) for _ in range(2))
        yield Row(f"dry run, {name}", seconds, SECONDS[name], "s", f"{n_jobs} jobs; reference: what is asked for")
    with tempfile.TemporaryDirectory() as temporary:
        finished = Checkout(Path(temporary))
        assert finished.snakemake("--cores", "2").returncode == 0
        seconds = min(nothing_to_do(finished) for _ in range(2))
    name = "a finished demo"
    yield Row(f"dry run, {name}", seconds, SECONDS[name], "s", "nothing to be done; reference: what is asked for")


def with_seeds(folder: Path, config: Path, n_seeds: int) -> tuple[list[str], int]:
    """Snakemake's arguments for a config with so many seeds, and how many jobs it is: a seed is as many as the next."""
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    arguments = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", str(folder / "config.yaml")]

    def write(n: int) -> None:
        (folder / "config.yaml").write_text(yaml.safe_dump(content | {"seeds": list(range(n))}))

    counts = []
    for n in (1, 2):
        write(n)
        counts.append(dry_run(folder, arguments)[1])
    one, two = counts
    write(n_seeds)
    return arguments, one + (two - one) * (n_seeds - 1)


def nothing_to_do(finished: Checkout) -> float:
    """Seconds of a dry-run that finds nothing to do."""
    started = time.perf_counter()
    assert finished.would_run() == {}
    return time.perf_counter() - started


def timed(folder: Path, arguments: list[str], n_jobs: int) -> float:
    """Seconds of one dry-run; checks that it planned what it should."""
    seconds, total = dry_run(folder, arguments)
    if total != n_jobs:
        raise AssertionError(f"{total} jobs planned, {n_jobs} expected: {' '.join(arguments)}")
    return seconds


def dry_run(folder: Path, arguments: list[str]) -> tuple[float, int]:
    """Seconds of one dry-run, and the jobs that it planned."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--directory", str(folder), "-n", "--quiet", "rules"]
    started = time.perf_counter()
    result = subprocess.run(command + ["--cores", "1"], capture_output=True, text=True, env=os.environ, check=True)
    seconds = time.perf_counter() - started
    total = next(line.split()[1] for line in result.stdout.splitlines() if line.startswith("total"))
    return seconds, int(total)
