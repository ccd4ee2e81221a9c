"""The pipeline on a real Slurm: where jobs run, and what it survives."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import tiny_model
from tests.slurm import cluster, teacher

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(cluster.why_not() is not None, reason=str(cluster.why_not()))


@pytest.fixture(scope="module", autouse=True)
def slurm() -> Iterator[None]:
    cluster.start()
    yield
    cluster.stop()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The smoke run with a teacher that costs nothing and a student of two layers, trained on two nodes."""
    with teacher.serving() as url:
        content = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8"))
        folder = tiny_model.build(tmp_path_factory.mktemp("tiny") / "model")
        content["models"] = {"teacher": {"server": {"url": url, "model": "x"}}, "tiny": {"source": str(folder)}}
        content |= {"run": "slurm", "teachers": ["teacher"], "students": ["tiny"], "engine": {"kind": "transformers"}}
        content["evaluation"]["max_tokens"] = 8
        content["hardware"] = {
            "gpus_per_node": 1,
            "sizes": [{"up_to": 1, "generate_gpus": 1, "train_gpus": 2, "zero": 0, "memory_gb": 4}],
        }
        yield content


class Run:
    """One run in a folder of its own."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.results = folder / "results" / "slurm"
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        partitions = ROOT / "profiles" / "ci-slurm" / "partitions.yaml"
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--workflow-profile", "ci-slurm", "--slurm-partition-config", str(partitions)]
        command += ["--configfile", str(self.folder / "config.yaml"), "--directory", str(self.folder), *arguments]
        with (self.folder / "log").open("ab") as log:
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            return subprocess.Popen(
                command, env=os.environ | {"PATH": path}, stdout=log, stderr=log, start_new_session=True
            )

    def finish(self, *arguments: str) -> str:
        """Run to the end, and all that Snakemake has said."""
        process = self.start(*arguments)
        assert process.wait(600) == 0, self.log[-6000:]
        return self.log

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")


def jobs(*columns: str) -> list[dict[str, str]]:
    """What Slurm's accounting knows of all jobs."""
    command = ["sacct", "--allocations", "--noheader", "--parsable2", f"--format={','.join(columns)}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [dict(zip(columns, line.split("|"), strict=True)) for line in lines]


def test_the_pipeline_runs_where_it_should(settings: dict[str, Any], tmp_path: Path) -> None:
    run = Run(tmp_path, settings)
    run.finish()
    assert (run.results / "tables" / "summary.csv").exists()
    done = jobs("Comment", "Partition", "NodeList", "State", "AllocTRES")
    assert {job["State"] for job in done} == {"COMPLETED"}
    for job in done:
        loads_model = any(
            name in job["Comment"] for name in ("train_", "evaluate_student", "evaluate_base_wildcards_slurm_tiny")
        )
        assert (job["Partition"] == "gpu") == loads_model, job
        assert ("gres/gpu" in job["AllocTRES"]) == loads_model, job
    trained = [job for job in done if "train_sft" in job["Comment"]]
    assert [job["NodeList"] for job in trained] == ["gpu[1-2]"] * 2
    assert "Nothing to be done" in run.finish("--dry-run")
