"""Twenty updates of each method on a tiny model, against values that were written down.

Other tests say what an update is; this one says that it is still the same. A change that is meant is written down anew,
and looked at, by `python -m tests.unit.training.test_golden_trajectories`.
"""

import importlib.metadata
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from agentark.config.grpo import Grpo
from agentark.config.prm import Prm
from agentark.config.sft import Sft
from agentark.engines import local_models
from agentark.records.sets import RlPrompt, StepExample, TrainingExample
from agentark.traces.steps import split_steps
from agentark.training import grpo, packing, prm, prm_training, sft, weights
from tests import tiny_model

VALUES = Path(__file__).with_suffix(".json")
Log = list[dict[str, float]]


def r_sft(folder: Path, tokenizer: PreTrainedTokenizerBase, checkpoints: Path, traces: int = 1) -> Log:
    """With several traces of a question, DA."""
    rows, _ = sft.encode_all(examples(traces), tokenizer, 128)
    chosen = Sft(learning_rate=3e-3, epochs=10, batch_size=4 * traces, micro_batch_size=2, max_length=128)
    model, _ = weights.open_for_training(folder)
    return sft.fit(model, tokenizer, rows, chosen, 0, checkpoints)[1]


def da(folder: Path, tokenizer: PreTrainedTokenizerBase, checkpoints: Path) -> Log:
    return r_sft(folder, tokenizer, checkpoints, traces=3)


def examples(traces: int) -> list[TrainingExample]:
    return [
        TrainingExample(
            example_id=f"{number}-{trace}",
            method="rsft",
            question_id=str(number),
            question=f"What is {number} + 0?",
            choices=None,
            gold_type="number",
            completion=(reasoning := "first add, which gives\n" * (number % 3 + trace)) + f"The answer is {number}.",
            answer_start=len(reasoning),
            weight=1 / traces,
            trace_id=str(number),
            kind="stable",
        )
        for number in range(8)
        for trace in range(traces)
    ]


def reward_model(folder: Path, tokenizer: PreTrainedTokenizerBase, checkpoints: Path, loss: str) -> Log:
    stages = {"stage1": {"learning_rate": 3e-3, "epochs": 2}, "stage2": {"learning_rate": 3e-4, "epochs": 8}}
    chosen = Prm.model_validate({"loss": loss, "batch_size": 4, "max_length": 200, "negatives": 4, **stages})
    questions, _ = prm_training.encode_questions(labelled(8), tokenizer, chosen, 0)
    model, _ = prm.open_backbone(folder)
    return prm_training.fit(model, questions, chosen, 0, checkpoints)


def contrastive(folder: Path, tokenizer: PreTrainedTokenizerBase, checkpoints: Path) -> Log:
    return reward_model(folder, tokenizer, checkpoints, "contrastive")


def pqm(folder: Path, tokenizer: PreTrainedTokenizerBase, checkpoints: Path) -> Log:
    return reward_model(folder, tokenizer, checkpoints, "pqm")


def labelled(n: int) -> list[list[StepExample]]:
    groups = []
    for question in range(n):
        group = []
        for agent in range(3):
            labels = [(agent + step + question) % 3 > 0 for step in range(3)]
            text = "\n".join(f"add {step} which gives {7 if right else 8}." for step, right in enumerate(labels))
            group.append(
                StepExample(
                    trace_id=f"{question}-{agent}",
                    question_id=str(question),
                    question=f"What is {question} + 5?",
                    choices=None,
                    gold_type="number",
                    agent=agent,
                    round=1,
                    text=text,
                    steps=split_steps(text),
                    labels=[int(label) for label in labels],
                )
            )
        groups.append(group)
    return groups


def pad(folder: Path, tokenizer: PreTrainedTokenizerBase, checkpoints: Path) -> Log:
    """On rollouts that are given: sampled ones would differ where two probabilities are a rounding apart."""
    ids = [tokenizer.convert_tokens_to_ids(letter) for letter in "abcd"]
    group = [ids[:1], ids[1:3], [*ids, tokenizer.eos_token_id], [250, 260, 270]]

    def generate(trainer: grpo.PolicyTrainer, asked: list[list[int]], *_: object, **__: object) -> tuple:
        return (group * len(asked))[: len(asked)], None

    prompts = [
        RlPrompt(
            question_id=str(i),
            question="What is " + " + ".join(["5"] * (i + 1)) + "?",
            choices=None,
            gold="5",
            gold_type="number",
            pass_rate=0.5,
        )
        for i in range(4)
    ]
    rewards = {
        "process": lambda completion_ids, **_: [sum(token < 100 for token in ids) / len(ids) for ids in completion_ids],
        "verifiable": lambda completions, **_: [None] * len(completions),
    }
    chosen = Grpo(
        learning_rate=3e-3,
        beta=0.1,
        steps=20,
        prompts_per_step=2,
        group_size=4,
        micro_batch_size=4,
        max_tokens=6,
        validation_every=None,
    )
    model, _ = weights.open_for_training(folder)
    with patch.object(grpo.PolicyTrainer, "_generate_single_turn", generate):
        return grpo.fit(model, tokenizer, prompts, rewards, chosen, 0, checkpoints)[1]


METHODS: dict[str, Callable[[Path, PreTrainedTokenizerBase, Path], Log]] = {
    "rsft": r_sft,
    "da": da,
    "prm, contrastive": contrastive,
    "prm, pqm": pqm,
    "pad": pad,
}


def trajectory(log: Log) -> list[list[float]]:
    return [[row["loss"], row["grad_norm"]] for row in log]


def assert_as_written(found: list[list[float]], method: str) -> None:
    """Each update within rounding, and no drift to one side within it."""
    stored = json.loads(VALUES.read_text())
    residuals = np.array(found) - np.array(stored["values"][method])
    size = np.abs(stored["values"][method]).mean(axis=0)
    about = f"{method}; written with {stored['versions']}, now {versions()}"
    assert np.abs(residuals / size).max() < 1e-3, about
    assert np.abs((residuals / size).mean(axis=0)).max() < 1e-4, about


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl")}


@pytest.mark.parametrize("method", METHODS)
def test_twenty_updates_are_as_they_were(folder, tokenizer, tmp_path, float32, method):
    found = trajectory(METHODS[method](folder, tokenizer, tmp_path))
    assert len(found) == 20
    assert_as_written(found, method)


@pytest.mark.parametrize("method", ["rsft", "da"])
def test_with_padding_they_are_the_same(folder, tokenizer, tmp_path, float32, monkeypatch, method):
    monkeypatch.setattr(packing, "prepare", lambda model: False)
    assert_as_written(trajectory(METHODS[method](folder, tokenizer, tmp_path)), method)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary, patch.object(local_models, "multiplies_bf16", lambda: False):
        tiny = tiny_model.build(Path(temporary) / "model")
        its = local_models.open_tokenizer(tiny)
        written = {name: trajectory(run(tiny, its, Path(temporary) / name)) for name, run in METHODS.items()}
    VALUES.write_text(json.dumps({"versions": versions(), "values": written}, indent=1) + "\n", encoding="utf-8")
