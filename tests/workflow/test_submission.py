"""What Slurm is asked for, for every rule of the paper's grid, by the Slurm plugin's own functions."""

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_executor_plugin_slurm.partitions import get_best_partition, read_partition_file
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string

ROOT = Path(__file__).parents[2]
LOCAL = (
    re.search(r"localrules:\n((?: +\w+,\n)+)", (ROOT / "workflow/rules/resources.smk").read_text())[1]
    .replace(",", "")
    .split()
)
PARTITIONS = read_partition_file(ROOT / "profiles" / "slurm" / "partitions.yaml")


class Resources(dict):
    """As the plugin reads them: by key and by attribute."""

    __getattr__ = dict.__getitem__


@dataclass
class Job:
    name: str
    wildcards: dict[str, str]
    threads: int
    resources: Resources

    def is_group(self) -> bool:
        return False

    @property
    def partition(self) -> str | None:
        quiet = SimpleNamespace(debug=lambda *_: None, info=lambda *_: None, warning=lambda *_: None)
        return get_best_partition(PARTITIONS, self, quiet)

    @property
    def command(self) -> str:
        params = {"run_uuid": "x", "slurm_logfile": "x", "comment_str": "x", "account": "", "workdir": ""}
        return get_submit_command(self, params | {"partition": f"-p {self.partition}"}) + set_gres_string(self)


@functools.cache
def planned(*more: str) -> tuple[Job, ...]:
    """The jobs of a dry-run of the paper's grid."""
    files = ["--configfile", str(ROOT / "config" / "paper.yaml"), *more]
    command = [sys.executable, "-m", "snakemake", "-n", "--workflow-profile", "slurm", *files]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return tuple(parsed(result.stdout + result.stderr))


def parsed(output: str) -> Iterator[Job]:
    for block in re.split(r"\n(?=rule \w+:\n)", output)[1:]:
        head, _, rest = block.partition(":\n")
        fields = dict(re.findall(r"^ {4}(\w+): (.*)$", rest, re.MULTILINE))
        if "output" not in fields or head.split()[1] in LOCAL:
            continue  # a target, or a rule that runs where Snakemake does
        resources = Resources(
            {key: int(value) if value.isdigit() else value for key, value in pairs(fields["resources"])}
        )
        yield Job(head.split()[1], dict(pairs(fields["wildcards"])), int(fields.get("threads", 1)), resources)


def pairs(text: str) -> list[tuple[str, str]]:
    return re.findall(r"(\w+)=([^,]+)", text)


def find(rule: str, **wildcards: str) -> Job:
    return next(job for job in planned() if job.name == rule and wildcards.items() <= job.wildcards.items())


@pytest.mark.parametrize(
    ("rule", "wildcards", "partition", "expected"),
    [
        ("train_sft", {"student": "qwen3-0.6b"}, "gpu", "-t 720 --mem 32768 --nodes=1 --cpus-per-task=8 --gpus=1"),
        ("train_sft", {"student": "qwen3-8b"}, "gpu", "-t 720 --mem 131072 --nodes=1 --cpus-per-task=8 --gpus=4"),
        ("train_prm", {"backbone": "gemma-7b"}, "gpu", "-t 720 --mem 131072 --nodes=1 --cpus-per-task=8 --gpus=4"),
        ("train_grpo", {"student": "llama3-8b"}, "gpu", "-t 1440 --mem 131072 --nodes=1 --cpus-per-task=8 --gpus=4"),
        ("hold_debates", {"teacher": "qwen3-32b"}, "gpu", "-t 720 --mem 655360 --nodes=1 --cpus-per-task=8 --gpus=2"),
        ("evaluate_base", {"model": "gemma3-27b"}, "gpu", "-t 720 --mem 655360 --nodes=1 --cpus-per-task=8 --gpus=2"),
        (
            "evaluate_student",
            {"student": "qwen3-8b"},
            "gpu",
            "-t 720 --mem 131072 --nodes=1 --cpus-per-task=8 --gpus=1",
        ),
        (
            "score_untrained",
            {"backbone": "gemma-7b"},
            "gpu",
            "-t 720 --mem 131072 --nodes=1 --cpus-per-task=8 --gpus=1",
        ),
        ("score_steps", {"backbone": "gemma-7b"}, "gpu", "-t 720 --mem 131072 --nodes=1 --cpus-per-task=8 --gpus=1"),
        ("prepare_model", {"model": "qwen3-32b"}, "cpu", "-t 60 --mem 8000 --ntasks=1 --cpus-per-task=2"),
        ("make_questions", {"dataset": "gsm8k"}, "cpu", "-t 60 --mem 4000 --ntasks=1 --cpus-per-task=1"),
        ("extract_traces", {"dataset": "medmcqa"}, "cpu", "-t 120 --mem 4000 --ntasks=1 --cpus-per-task=1"),
        ("find_overlap", {"dataset": "metamathqa"}, "cpu", "-t 60 --mem 4000 --ntasks=1 --cpus-per-task=1"),
        ("build_set", {"kind": "da"}, "cpu", "-t 120 --mem 4000 --ntasks=1 --cpus-per-task=1"),
    ],
)
def test_slurm_is_asked_for_what_the_model_needs(
    rule: str, wildcards: dict[str, str], partition: str, expected: str
) -> None:
    job = find(rule, **wildcards)
    asked = job.command.partition(" --comment x ")[2].split()
    assert asked == ["-p", partition, *expected.split()]


def test_every_submitted_rule_is_in_the_table_above() -> None:
    (mark,) = (mark for mark in test_slurm_is_asked_for_what_the_model_needs.pytestmark if mark.name == "parametrize")
    assert {job.name for job in planned()} == {case[0] for case in mark.args[1]}
    assert all(job.partition for job in planned())


def test_a_site_that_wants_gres(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("hardware: {request: gres}\n")
    jobs = {job.wildcards.get("student"): job for job in planned(str(site)) if job.name == "train_sft"}
    assert jobs["qwen3-8b"].command.endswith(" --gres=gpu:4")
    assert "--gpus" not in jobs["qwen3-8b"].command


def test_a_training_that_needs_several_nodes(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("hardware: {gpus_per_node: 2}\n")
    jobs = {job.wildcards.get("student"): job for job in planned(str(site)) if job.name == "train_sft"}
    assert " --nodes=2 --ntasks=2 --cpus-per-task=8 --gpus=4" in jobs["qwen3-8b"].command
    assert jobs["qwen3-8b"].resources["mpi"] == "srun"
    assert "mpi" not in jobs["qwen3-1.7b"].resources
