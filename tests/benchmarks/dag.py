"""Seconds of `snakemake -n`: the demo, 1,500 and 15,000 jobs, against a bare Snakefile with as many jobs."""

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

ROOT = Path(__file__).parents[2]
JOBS_OF_THE_DEMO = 31
JOBS_A_SEED = 7
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
