"""R-SFT (paper 3.3.1, Eq. 1) and DA (3.3.2, Eq. 2): next-token training with separate reasoning and answer terms.

Differs from the paper: Eq. 1 as printed is plain next-token NLL, the two terms added token by token, so a long
reasoning drowns its answer. `separate`, the default, takes the mean of each term over the whole update before adding
them; `sum` is the printed formula. Eq. 2 as printed trains the answer alone given each trace (`answer`); as its prose
says the student learns several ways to solve a question, we train trace and answer, each of the k traces with weight
1/k.

Differs from TRL's trainer, which has no token weights: `compute_loss` is ours, and what TRL counts as the labels of
an update are here the three weighted totals that `sft_loss` divides by.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

from agentark.config.sft import Sft
from agentark.errors import UserError
from agentark.records.questions import Question
from agentark.records.sets import TrainingExample
from agentark.training import packing, processes, session, weights
from agentark.training.logprobs import token_logps
from agentark.training.rendering import end_of_turn, render
from agentark.training.validation import Validation, validated


def sft_loss(
    token_nll: Tensor,
    reasoning: Tensor,
    answer: Tensor,
    totals: Tensor,
    mode: Literal["sum", "token_mean", "separate", "answer"],
    reasoning_weight: float = 1.0,
    answer_weight: float = 1.0,
) -> Tensor:
    """Loss of one micro-batch; the losses of an update's micro-batches add up to the update's.

    Args:
        token_nll: (B, T) negative log-probabilities.
        reasoning: (B, T), the example's weight on reasoning tokens, 0 elsewhere.
        answer: (B, T), the example's weight on answer tokens, 0 elsewhere.
        totals: (3,), sums over the whole update, all micro-batches and processes: example weights, `reasoning`,
            `answer`. A mean over a micro-batch would weigh its tokens by how the update happened to be cut.
        mode: `sum` is the mean over examples of the token sums (Eq. 1), `token_mean` one mean over all tokens,
            `separate` the weighted sum of two means, `answer` the second of these alone (Eq. 2).

    Returns:
        A scalar.
    """
    reasoning_nll, answer_nll = (token_nll * reasoning).sum(), (token_nll * answer).sum()
    if mode == "sum":
        return (reasoning_nll + answer_nll) / totals[0]
    if mode == "token_mean":
        return (reasoning_nll + answer_nll) / (totals[1] + totals[2])
    if mode == "answer":
        return answer_nll / totals[2]
    # Traces may consist of an answer alone: no reasoning token in an update makes a term of 0, not 0/0.
    reasoning_term = reasoning_nll / totals[1] if totals[1] > 0 else reasoning_nll
    return reasoning_weight * reasoning_term + answer_weight * answer_nll / totals[2]


def encode(example: TrainingExample, tokenizer: PreTrainedTokenizerBase, ending: str) -> dict[str, Any] | None:
    """Tokens of prompt, completion and ending, and where reasoning and answer begin in them.

    The end-of-turn token belongs to the answer: a student that is not trained to stop never does.

    Returns:
        None when the completion has no answer to train on.
    """
    if not example.completion[example.answer_start :].strip():
        return None
    text = example.completion + ending
    rendered = render(tokenizer, example.question, example.choices, example.gold_type, text)
    answer_start = rendered.completion_start + example.answer_start
    spans = list(enumerate(rendered.offsets))
    return {
        "question_id": example.question_id,
        "input_ids": np.array(rendered.input_ids, dtype=np.int32),
        "completion_from": next(i for i, (start, _) in spans if start >= rendered.completion_start),
        # A token that reaches over the border (" The") is the answer's.
        "answer_from": next(i for i, (_, end) in spans if end > answer_start),
        "weight": example.weight,
    }


def encode_all(
    examples: Iterable[TrainingExample], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Encode a set; examples that do not fit are left out and counted, never cut: their answer stands at the end."""
    ending = end_of_turn(tokenizer)
    rows: list[dict[str, Any]] = []
    counts: Counter[str] = Counter(examples=0, used=0, too_long=0, without_answer=0)
    for example in examples:
        row = encode(example, tokenizer, ending)
        counts["examples"] += 1
        if row is None:
            counts["without_answer"] += 1
        elif len(row["input_ids"]) > max_length:
            counts["too_long"] += 1
        else:
            counts["used"] += 1
            rows.append(row)
    return rows, counts


def collate(rows: list[dict[str, Any]], pad_token_id: int | None) -> dict[str, Any]:
    """One micro-batch.

    Args:
        pad_token_id: examples stand below each other, padded on the right; None = one behind the other (`packing`).

    Returns:
        What the model reads (`inputs_of`); `labels` (B, T); the token weights `reasoning` and `answer` (B, T) and the
        example weights `weight` (N,), float32; `question_ids`. Packed, B is 1.
    """
    columns: dict[str, list[Tensor]] = {"input_ids": [], "labels": [], "reasoning": [], "answer": []}
    for row in rows:
        ids = torch.as_tensor(row["input_ids"]).long()
        position = torch.arange(len(ids))
        completion, answer = position >= row["completion_from"], position >= row["answer_from"]
        columns["input_ids"].append(ids)
        columns["labels"].append(ids.masked_fill(~completion, -100))
        columns["reasoning"].append((completion & ~answer) * row["weight"])
        columns["answer"].append(answer * row["weight"])
    about = {"weight": torch.tensor([row["weight"] for row in rows]), "question_ids": [r["question_id"] for r in rows]}
    ids = columns["input_ids"]
    if pad_token_id is None:
        return {key: torch.cat(column)[None] for key, column in columns.items()} | packing.places(ids) | about
    filling = {"input_ids": pad_token_id, "labels": -100, "reasoning": 0.0, "answer": 0.0}
    padded = {key: pad_sequence(column, True, filling[key]) for key, column in columns.items()}
    return padded | {"attention_mask": pad_sequence([torch.ones_like(row) for row in ids], True)} | about


def inputs_of(batch: dict[str, Any]) -> dict[str, Any]:
    """What a model reads of a micro-batch, and the labels."""
    read = ("input_ids", "attention_mask", "position_ids", "starts", "labels")
    return {key: batch[key] for key in read if key in batch}


def n_tokens(batch: dict[str, Any]) -> int:
    """Tokens of a micro-batch, without its padding."""
    return int(batch["attention_mask"].sum()) if "attention_mask" in batch else batch["input_ids"].numel()


class LengthSorted(Sampler[int]):
    """A new order every epoch; the examples of one update are sorted by length, so that its micro-batches pad little.

    Which examples share an update stays random, so the sorting changes nothing but the speed.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The trainer's call; a resumed run gets the order of the epoch in which it was interrupted."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed((self.seed << 16) + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        for start in range(0, len(order), self.batch_size):
            yield from sorted(order[start : start + self.batch_size], key=lambda i: self.lengths[i], reverse=True)


class TraceTrainer(SFTTrainer):
    """TRL's trainer with the loss above."""

    # The loss is divided by totals of the whole update; a second division by the number of micro-batches is wrong.
    loss_is_scaled_for_ga = True

    def __init__(self, settings: Sft, **options: Any) -> None:
        self.settings = settings
        self._sums = torch.zeros(5, dtype=torch.float64)
        super().__init__(**options)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> LengthSorted:
        lengths = [len(ids) for ids in self.train_dataset["input_ids"]]
        return LengthSorted(lengths, self.settings.batch_size, self.args.seed)

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer,
                lambda update: share_of_rate(update, num_training_steps, self.settings),
            )
        return self.lr_scheduler

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor:
        keys = ("weight", "reasoning", "answer")
        totals = torch.stack([sum(batch[key].sum() for batch in batch_samples) for key in keys])
        return self.accelerator.reduce(totals.to(device), reduction="sum")

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        if inputs["input_ids"].is_cuda:
            logps = model(**inputs_of(inputs), fused_lm_head=True).log_probs
        else:
            logps, _ = token_logps(model, **inputs_of(inputs))
        reasoning, answer = inputs["reasoning"][:, 1:], inputs["answer"][:, 1:]
        loss = sft_loss(
            -logps,
            reasoning,
            answer,
            num_items_in_batch,
            self.settings.loss,
            self.settings.reasoning_weight,
            self.settings.answer_weight,
        )
        if not torch.isfinite(loss):
            raise UserError(
                f"sft: the loss is {loss.item()} on the questions {', '.join(inputs['question_ids'])}; "
                "lower sft.learning_rate, or look at these questions in the set"
            )
        self.state.num_input_tokens_seen += n_tokens(inputs)
        with torch.no_grad():
            terms = [-(logps * reasoning).sum(), reasoning.sum(), -(logps * answer).sum(), answer.sum()]
            self._sums += torch.stack([*terms, torch.tensor(n_tokens(inputs), device=logps.device)]).cpu()
        # Gradients are averaged over processes, but the totals are already theirs together.
        return loss * self.accelerator.num_processes

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            sums = self.accelerator.reduce(self._sums.to(self.accelerator.device), reduction="sum")
            reasoning_nll, n_reasoning, answer_nll, n_answer, n_read = sums.tolist()
            # Answers alone have no reasoning, and so no likelihood of it.
            logs |= {"nll_reasoning": reasoning_nll / n_reasoning} if n_reasoning else {}
            logs |= {"nll_answer": answer_nll / n_answer} if n_answer else {}
            logs["tokens_read"] = n_read
            self._sums.zero_()
        super().log(logs, start_time)


def share_of_rate(update: int, n_updates: int, settings: Sft) -> float:
    """What an update, counted from 0, has of `sft.learning_rate`.

    None has 0, as the first one has in transformers' schedules: a training of one update learns.
    """
    n_warm = math.ceil(settings.warmup * n_updates)
    if update < n_warm:
        return (update + 1) / n_warm
    gone = (update - n_warm) / max(1, n_updates - n_warm)
    if settings.schedule == "cosine":
        return 0.1 + 0.9 * (1 + math.cos(math.pi * gone)) / 2
    return 1 - gone if settings.schedule == "linear" else 1.0


def updates(rows: list[dict[str, Any]], settings: Sft, seed: int) -> list[list[int]]:
    """The rows of each update, by number: `epochs` passes, or as many updates as come nearest to the budget."""
    sampler = LengthSorted([len(row["input_ids"]) for row in rows], settings.batch_size, seed)
    budget = settings.examples or settings.loss_tokens
    worth = [1 if settings.examples else n_trained(row, settings) for row in rows]
    planned: list[list[int]] = []
    spent = epoch = 0
    while spent < budget if budget else epoch < settings.epochs:
        sampler.set_epoch(epoch)
        order = list(sampler)
        for start in range(0, len(order), settings.batch_size):
            batch = order[start : start + settings.batch_size]
            more = sum(worth[i] for i in batch)
            if budget and planned and budget - spent <= more / 2:
                return planned
            planned.append(batch)
            spent += more
        epoch += 1
    return planned


def n_trained(row: dict[str, Any], settings: Sft) -> int:
    """Tokens of an encoded example that the loss is about."""
    answer_alone = settings.loss == "answer" or (settings.loss == "separate" and settings.reasoning_weight == 0)
    return len(row["input_ids"]) - row["answer_from" if answer_alone else "completion_from"]


def fit(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, Any]],
    settings: Sft,
    seed: int,
    checkpoints: Path,
    validation: Sequence[Question] = (),
) -> tuple[PreTrainedModel, list[dict[str, float]], list[dict[str, float]]]:
    """Train on encoded rows.

    Args:
        validation: questions that are asked after each pass.

    Returns:
        The trained model (with its adapter, if any), what was logged at every update, and at every validation.
    """
    packed = packing.prepare(model)
    arguments = SFTConfig(
        **session.trainer_options(checkpoints, seed),
        **processes.shares(settings.batch_size, settings.micro_batch_size, "sft.batch_size"),
        max_steps=len(updates(rows, settings, seed)),
        learning_rate=settings.learning_rate,
        adam_beta2=0.95,
        max_length=None,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        router_aux_loss_coef=0.0,
    )
    trainer = TraceTrainer(
        settings,
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=lambda batch: collate(batch, None if packed else tokenizer.pad_token_id),
        processing_class=tokenizer,
        peft_config=weights.lora(settings.lora_rank),
    )
    for parameter in trainer.model.parameters():
        # TRL rounds adapters of 4-bit weights to bfloat16, which loses small updates.
        if parameter.requires_grad and settings.load_in_4bit:
            parameter.data = parameter.data.float()
    if validation:
        trainer.add_callback(Validation(trainer, tokenizer, validation, settings.max_length))
    watch = session.Watch("sft")
    session.train(trainer, watch, checkpoints)
    seen = [{"step": step, "validation_accuracy": share} for step, share in validated(trainer.state).items()]
    return trainer.model, watch.rows, seen
