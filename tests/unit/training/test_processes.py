"""A training over several processes: torchrun as on GPUs, here on the CPU, with the result of one process."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from agentark.config.sft import Sft
from agentark.engines.local_models import open_tokenizer
from agentark.errors import UserError
from agentark.provenance import manifests
from agentark.records.files import write_rows, write_text
from agentark.training import prm, processes
from tests import tiny_model
from tests.unit.training import test_grpo, test_guards, test_prm, test_sft

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="it makes believe that there are two devices")


def launch(
    stage: str, n_processes: int, out: Path, *arguments: str | Path, zero: int = 0, n_trainings: int = 1
) -> None:
    devices = ",".join(map(str, range(n_processes)))
    command = [sys.executable, "-m", "agentark.running.launch", "--gpus", str(n_processes), "--nodes", "1"]
    command += ["--zero", str(zero), f"agentark.stages.{stage}", *map(str, arguments), "--seed", "0"]
    result = subprocess.run(
        [*command, "--manifest", str(out / "manifest.json"), "--log", str(out / "log")],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": devices, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    log = (out / "log").read_text() if (out / "log").exists() else ""
    assert result.returncode == 0, result.stderr[-4000:] + log[-6000:]
    assert result.stderr.count("done in") == n_trainings, "one process speaks for all"


def losses(folder: Path) -> list[float]:
    return logged(folder, "loss")


def logged(folder: Path, key: str, file: str = "metrics.csv") -> list[float]:
    with (folder / file).open() as handle:
        return [float(row[key]) for row in csv.DictReader(handle)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_model.build(tmp_path_factory.mktemp("base") / "model")
    path = folder.parent / "manifest.json"
    manifests.write_manifest(path, kind="model", stage="models", settings={}, parents=[], folder=folder)
    return path


@pytest.fixture(scope="module")
def sft_arguments(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    folder = tmp_path_factory.mktemp("sft")
    chosen = test_sft.settings(batch_size=4, micro_batch_size=1, validation_questions=1)
    write_text(folder / "sft.json", chosen.model_dump_json())
    write_rows(folder / "set.jsonl", [test_sft.example(i, weight=0.5 + i % 2) for i in range(8)])
    # Fewer questions than processes, so that one of them has none.
    write_rows(folder / "validation.jsonl", [test_sft.asked(1)])
    return [
        *("--config", folder / "sft.json", "--model", model, "--set", folder / "set.jsonl"),
        *("--validation", folder / "validation.jsonl"),
    ]


@pytest.fixture(scope="module")
def alone(sft_arguments: list[str | Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    launch("sft", 1, out, *sft_arguments)
    return out


@pytest.mark.parametrize("zero", [0, 3])
def test_two_processes_train_what_one_does(
    sft_arguments: list[str | Path], alone: Path, tmp_path: Path, zero: int
) -> None:
    launch("sft", 2, tmp_path, *sft_arguments, zero=zero)
    assert losses(tmp_path) == pytest.approx(losses(alone), rel=1e-2)
    assert logged(tmp_path, "tokens_read") == logged(alone, "tokens_read")
    assert [logged(folder, "step", "validation.csv") for folder in (tmp_path, alone)] == [[0, 2, 4]] * 2
    together, single = (load_file(path / "model" / "model.safetensors") for path in (tmp_path, alone))
    base = load_file(sft_arguments[3].parent / "model" / "model.safetensors")
    assert together.keys() == single.keys()
    moved = sum((single[name] - base[name]).norm() for name in single)
    apart = sum((together[name] - single[name]).norm() for name in single)
    assert apart < 0.1 * moved


@pytest.fixture
def grpo_arguments(model: Path, tmp_path: Path) -> list[str | Path]:
    reward_model, _ = prm.open_backbone(model.parent / "model")
    folder = tmp_path / "prm" / "model"
    folder.mkdir(parents=True)
    prm.save_prm(reward_model, open_tokenizer(model.parent / "model"), folder, torch.float32)
    manifest = folder.parent / "manifest.json"
    manifests.write_manifest(manifest, kind="prm", stage="prm", settings={}, parents=[], folder=folder)
    write_rows(tmp_path / "set.jsonl", test_grpo.prompts())
    write_rows(tmp_path / "validation.jsonl", [test_guards.question(i) for i in range(6)])
    read = ["--set", tmp_path / "set.jsonl", "--validation", tmp_path / "validation.jsonl"]
    return ["--config", tmp_path / "grpo.json", "--policy", model, "--prm", manifest, *read]


def test_grpo_runs_in_two_processes(grpo_arguments: list[str | Path], tmp_path: Path) -> None:
    chosen = test_grpo.settings(steps=2, validation_every=2)
    write_text(tmp_path / "grpo.json", chosen.model_dump_json())
    launch("grpo", 2, tmp_path, *grpo_arguments)
    assert len(losses(tmp_path)) == 2
    with (tmp_path / "validation.csv").open() as handle:
        assert [(row["step"], row["questions"]) for row in csv.DictReader(handle)] == [("0", "6"), ("2", "6")]


def test_dull_questions_make_room_in_two_processes(grpo_arguments: list[str | Path], tmp_path: Path) -> None:
    """By length, a group is dull where all its rollouts are cut off: now in one process, now in both."""
    chosen = test_grpo.settings(
        algorithm="outcome",
        reward_weights={"verifiable": 1, "overlong": 1},
        resample=2,
        steps=6,
        prompts_per_step=2,
        group_size=2,
        micro_batch_size=2,
        max_tokens=24,
        validation_every=None,
    )
    write_text(tmp_path / "grpo.json", chosen.model_dump_json())
    without_prm = [argument for argument in grpo_arguments if argument not in ("--prm", grpo_arguments[5])]
    launch("grpo", 2, tmp_path, *without_prm)
    with (tmp_path / "metrics.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    dull = [float(row["groups/without_variance"]) for row in rows]
    assert len(rows) == 6
    assert 0 < sum(dull) < 6
    assert 0 < sum(float(row["groups/replaced"]) for row in rows) <= sum(dull)


def test_vllm_rolls_out_what_the_policy_has_become(grpo_arguments: list[str | Path], tmp_path: Path) -> None:
    """A real engine, on a CPU: its probabilities of the tokens that it drew stay those of the model that is trained."""
    chosen = test_grpo.settings(steps=4, validation_every=4, rollouts_by="vllm", learning_rate=1e-2, max_tokens=8)
    write_text(tmp_path / "grpo.json", chosen.model_dump_json())
    launch("grpo", 1, tmp_path, *grpo_arguments)
    with (tmp_path / "metrics.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    apart = [float(row["sampling/sampling_logp_difference/mean"]) for row in rows]
    assert len(apart) == 4
    assert max(apart) < 0.05
    with (tmp_path / "validation.csv").open() as handle:
        assert [row["step"] for row in csv.DictReader(handle)] == ["0", "4"]


@pytest.fixture(scope="module")
def prm_arguments(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """Of two processes, each one's share of an update needs another number of passes."""
    folder = tmp_path_factory.mktemp("prm")
    groups = test_prm.questions_with_a_planted_error(8)
    groups[1::2] = [group[:2] for group in groups[1::2]]
    write_rows(folder / "set.jsonl", [row for group in groups for row in group])
    chosen = test_prm.settings(held_out_share=0, tokens_per_pass=100, loss={"bce": 1, "infonce": 0.5})
    write_text(folder / "prm.json", chosen.model_dump_json())
    return ["--config", folder / "prm.json", "--model", model, "--set", folder / "set.jsonl"]


@pytest.fixture(scope="module")
def prm_alone(prm_arguments: list[str | Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prm_alone")
    launch("prm", 1, out, *prm_arguments, n_trainings=2)
    return out


@pytest.mark.parametrize("zero", [0, 2, 3])
def test_a_reward_model_is_trained_the_same_by_two_processes(
    prm_arguments: list[str | Path], prm_alone: Path, tmp_path: Path, zero: int
) -> None:
    launch("prm", 2, tmp_path, *prm_arguments, zero=zero, n_trainings=2)
    assert losses(tmp_path) == pytest.approx(losses(prm_alone), rel=1e-2)
    single, together = (load_file(path / "model" / "head.safetensors") for path in (prm_alone, tmp_path))
    assert together.keys() == single.keys()
    assert {"head.weight", "projector.0.weight"} <= together.keys()


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert processes.shares(8, 8, "sft.batch_size") == {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
    }
    with pytest.raises(UserError, match=r"sft.batch_size: an update of 6 cannot be shared by 4 GPUs"):
        processes.shares(6, 8, "sft.batch_size")
    assert Sft().batch_size % 32 == 0, "the largest row of hardware.sizes must be able to share the default"


def test_a_process_with_others_leaves_without_python_s_end() -> None:
    program = (
        "import atexit; from agentark.training import processes\n"
        "atexit.register(print, 'python ends'); print('work is done'); processes.leave(7)"
    )

    def run(n: int) -> tuple[int, str]:
        command = [sys.executable, "-c", program]
        result = subprocess.run(command, env=os.environ | {"WORLD_SIZE": str(n)}, capture_output=True, text=True)
        return result.returncode, result.stdout

    assert run(1) == (7, "work is done\npython ends\n")
    assert run(2) == (7, "work is done\n")
