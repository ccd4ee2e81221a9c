"""Process reward model (paper 3.3.3): the student's weights and a two-logit head, trained with Eq. 7 in two stages.

`R_phi = z1 - z0` is read at the last token of each step, `s = sigmoid(R_phi)` is the step's score. A trace is read
once, with all its steps, in the same rendering and with the same step splitter in training and in scoring.

Differs from the paper: Eq. 7 sums over the positive steps of a question, we take their mean, so that a question with
long traces does not outweigh the others. Differs from the reference code: the head is part of the model (theirs was
neither trained nor saved), and negatives come from other agents on the same question.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments

from agentark.config.prm import Prm, PrmStage
from agentark.engines import local_models
from agentark.records.questions import GoldType
from agentark.records.sets import StepExample
from agentark.running.deadline import Deadline
from agentark.traces.steps import split_steps
from agentark.training import processes, session, weights
from agentark.training.rendering import render

HEAD_FILE = "head.safetensors"


class Asked(Protocol):
    """Any row that asks a question: `Question`, `RlPrompt`, `StepExample`."""

    question: str
    choices: list[str] | None
    gold_type: GoldType


class ProcessRewardModel(nn.Module):
    """A language model's backbone with two logits a step."""

    def __init__(self, backbone: PreTrainedModel) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.config.get_text_config().hidden_size, 2)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, step_tokens: Tensor) -> Tensor:
        """Step scores.

        Args:
            input_ids: (B, T).
            attention_mask: (B, T), 0 on padding.
            step_tokens: (B, S), position of each step's last token; anything valid on padding.

        Returns:
            (B, S) float32 in (0, 1).
        """
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
        at_steps = hidden.gather(1, step_tokens.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
        # bfloat16 has 256 steps between 0.5 and 1: scores would tie.
        with torch.autocast(hidden.device.type, enabled=False):
            logits = self.head(at_steps.float())
        return torch.sigmoid(logits[..., 1] - logits[..., 0])


def contrastive_loss(positive: Tensor, negatives: Tensor, mask: Tensor, tau: float) -> Tensor:
    """Eq. 7, mean over positive steps.

    Args:
        positive: (P,) scores s of consistent steps.
        negatives: (P, N) scores of steps to tell each from.
        mask: (P, N) bool, False on padding.
        tau: temperature; with s in (0, 1) the loss cannot fall below log(1 + N exp(-1 / tau)).

    Returns:
        A scalar.
    """
    logits = torch.cat([positive.unsqueeze(1), negatives.masked_fill(~mask, float("-inf"))], dim=1) / tau
    return functional.cross_entropy(logits, torch.zeros(len(positive), dtype=torch.long, device=logits.device))


def choose_pairs(traces: list[StepExample], n_negatives: int, seed: int) -> list[tuple[int, list[int]]]:
    """Each positive step of a question with some negative steps of other agents.

    Steps are numbered through the traces. A positive step whose only negatives are its own agent's has no pair.
    """
    steps = [
        (trace.agent, label)
        for trace in traces
        for label in trace.labels
    ]  # fmt: skip
    generator = random.Random(f"{seed} {traces[0].question_id}")
    pairs = []
    for positive, (agent, label) in enumerate(steps):
        others = [i for i, (other, wrong) in enumerate(steps) if wrong == 0 and other != agent]
        if label == 1 and others:
            pairs.append((positive, sorted(generator.sample(others, min(n_negatives, len(others))))))
    return pairs


@dataclass(frozen=True)
class EncodedTrace:
    """Tokens of one trace and the last token of each of its steps."""

    input_ids: list[int]
    step_tokens: list[int]


def encode(
    tokenizer: PreTrainedTokenizerBase, asked: Asked, text: str, steps: Sequence[tuple[int, int]]
) -> EncodedTrace:
    rendered = render(tokenizer, asked.question, asked.choices, asked.gold_type, text)
    return EncodedTrace(rendered.input_ids, [rendered.token_at(end - 1) for _, end in steps])


def pad(traces: Sequence[EncodedTrace], pad_token_id: int) -> dict[str, Tensor]:
    """The model's inputs, padded on the right; `step_tokens` is padded with 0."""

    def padded(rows: list[list[int]], value: int) -> Tensor:
        return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)

    return {
        "input_ids": padded([trace.input_ids for trace in traces], pad_token_id),
        "attention_mask": padded([[1] * len(trace.input_ids) for trace in traces], 0),
        "step_tokens": padded([trace.step_tokens for trace in traces], 0),
    }


@dataclass(frozen=True)
class PrmQuestion:
    """One question's traces and the pairs of its loss: the unit of a forward pass."""

    traces: list[StepExample]
    encoded: list[EncodedTrace]
    pairs: list[tuple[int, list[int]]]

    def tensors(self, pad_token_id: int) -> dict[str, Tensor]:
        """The model's inputs, and the pairs: `positive` (P,), `negatives` (P, N) and `mask` (P, N).

        Pairs index the row of valid steps, all traces' one after another; `valid` (B, S) tells which those are.
        """
        inputs = pad(self.encoded, pad_token_id)
        n_steps = torch.tensor([len(trace.step_tokens) for trace in self.encoded])
        n_negatives = max(len(negatives) for _, negatives in self.pairs)
        padded = [negatives + [-1] * (n_negatives - len(negatives)) for _, negatives in self.pairs]
        negatives = torch.tensor(padded)
        return {
            **inputs,
            "valid": torch.arange(inputs["step_tokens"].shape[1]) < n_steps[:, None],
            "positive": torch.tensor([positive for positive, _ in self.pairs]),
            "negatives": negatives.clamp(min=0),
            "mask": negatives >= 0,
        }


def encode_questions(
    groups: list[list[StepExample]], tokenizer: PreTrainedTokenizerBase, settings: Prm, seed: int
) -> tuple[list[PrmQuestion], Counter[str]]:
    """Questions that Eq. 7 can be computed on; the others are counted by cause, and no trace is cut."""
    counts: Counter[str] = Counter(questions=len(groups), questions_used=0, without_a_pair=0, traces=0, too_long=0)
    questions = []
    for group in groups:
        encoded = [(trace, encode(tokenizer, trace, trace.text, trace.steps)) for trace in group if trace.steps]
        short = [(trace, code) for trace, code in encoded if len(code.input_ids) <= settings.max_length]
        counts["traces"] += len(group)
        counts["too_long"] += len(encoded) - len(short)
        traces = [trace for trace, _ in short]
        pairs = choose_pairs(traces, settings.negatives, seed) if traces else []
        if pairs:
            questions.append(PrmQuestion(traces, [code for _, code in short], pairs))
        counts["questions_used" if pairs else "without_a_pair"] += 1
    return questions, counts


class PrmTrainer(Trainer):
    """One question a forward pass; an update's gradient is the mean over its questions."""

    def __init__(self, tau: float, **options: Any) -> None:
        self.tau = tau
        super().__init__(**options)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        scores = model(inputs["input_ids"], inputs["attention_mask"], inputs["step_tokens"])[inputs["valid"]]
        self.state.num_input_tokens_seen += int(inputs["attention_mask"].sum())
        return contrastive_loss(scores[inputs["positive"]], scores[inputs["negatives"]], inputs["mask"], self.tau)


def trainable_in_stage(model: ProcessRewardModel, stage: int) -> None:
    """Stage 1 trains the last layer and the head, stage 2 everything."""
    model.backbone.requires_grad_(stage == 2)
    model.backbone.layers[-1].requires_grad_(True)


def fit(
    model: ProcessRewardModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: list[PrmQuestion],
    settings: Prm,
    seed: int,
    checkpoints: Path,
) -> list[dict[str, float]]:
    """Train both stages in place; returns what was logged at every update."""
    log: list[dict[str, float]] = []
    deadline = Deadline()
    interrupted_in_2 = any((checkpoints / "stage2").glob("checkpoint-*/trainer_state.json"))
    for number, part in ((1, settings.stage1), (2, settings.stage2)):
        if number == 1 and interrupted_in_2:
            continue
        trainable_in_stage(model, number)
        watch = session.Watch(f"prm stage {number}", deadline)
        rows = _fit_stage(model, tokenizer, questions, settings, part, seed, checkpoints / f"stage{number}", watch)
        log += [{**row, "stage": number} for row in rows]
    return log


def _fit_stage(
    model: ProcessRewardModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: list[PrmQuestion],
    settings: Prm,
    part: PrmStage,
    seed: int,
    checkpoints: Path,
    watch: session.Watch,
) -> list[dict[str, float]]:
    arguments = TrainingArguments(
        **session.trainer_options(checkpoints, seed) | {"gradient_checkpointing": False},
        **processes.shares(settings.batch_size, 1, "prm.batch_size"),
        num_train_epochs=part.epochs,
        learning_rate=part.learning_rate,
        lr_scheduler_type="constant",
        remove_unused_columns=False,
    )
    trainer = PrmTrainer(
        settings.tau,
        model=model,
        args=arguments,
        train_dataset=questions,
        data_collator=lambda batch: batch[0].tensors(tokenizer.pad_token_id),
    )
    session.train(trainer, watch, checkpoints)
    return watch.rows


@torch.no_grad()
def score_encoded(
    model: ProcessRewardModel, traces: list[EncodedTrace], pad_token_id: int, batch_size: int = 16
) -> list[list[float]]:
    """Scores of each trace's steps, in (0, 1), in the order of the traces."""
    scores: list[list[float]] = [[] for _ in traces]
    # Longest first: little padding, and a batch that does not fit in memory fails at once.
    order = sorted(range(len(traces)), key=lambda i: len(traces[i].input_ids), reverse=True)
    where = next(model.parameters()).device
    model.eval()
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        inputs = pad([traces[i] for i in chosen], pad_token_id)
        with weights.autocast():
            batch = model(**{name: tensor.to(where) for name, tensor in inputs.items()})
        for i, row in zip(chosen, batch.tolist(), strict=True):
            scores[i] = row[: len(traces[i].step_tokens)]
    return scores


def score_steps(
    model: ProcessRewardModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Asked],
    texts: Sequence[str],
    batch_size: int = 16,
) -> list[list[float]]:
    """Score arbitrary texts, whichever model wrote them: they are split into steps and tokenised here.

    Returns:
        One list a text, one score a step; an empty list for a text without steps.
    """
    traces = [encode(tokenizer, q, text, split_steps(text)) for q, text in zip(questions, texts, strict=True)]
    with_steps = [i for i, trace in enumerate(traces) if trace.step_tokens]
    scored = score_encoded(model, [traces[i] for i in with_steps], tokenizer.pad_token_id, batch_size)
    by_text = dict(zip(with_steps, scored, strict=True))
    return [by_text.get(i, []) for i in range(len(texts))]


def step_auc(scores: Sequence[float], labels: Sequence[int]) -> float | None:
    """Chance that a consistent step scores above an inconsistent one, ties counting half; None without both."""
    right = torch.tensor([s for s, label in zip(scores, labels, strict=True) if label == 1], dtype=torch.float64)
    wrong = torch.tensor([s for s, label in zip(scores, labels, strict=True) if label == 0], dtype=torch.float64)
    if not len(right) or not len(wrong):
        return None
    wrong = wrong.sort().values
    below = torch.searchsorted(wrong, right, side="left") + torch.searchsorted(wrong, right, side="right")
    return (below.double().mean() / (2 * len(wrong))).item()


def quality(
    model: ProcessRewardModel, tokenizer: PreTrainedTokenizerBase, questions: list[PrmQuestion]
) -> dict[str, Any]:
    """How well the scores tell consistent steps from others, on questions kept out of the training."""
    encoded = [trace for question in questions for trace in question.encoded]
    labels = [label for question in questions for trace in question.traces for label in trace.labels]
    scores = [score for row in score_encoded(model, encoded, tokenizer.pad_token_id) for score in row]
    auc = step_auc(scores, labels)
    return {
        "held_out_questions": len(questions),
        "held_out_steps": len(labels),
        "held_out_steps_consistent": sum(labels),
        "step_auc": None if auc is None else round(auc, 4),
    }


def open_backbone(folder: Path) -> tuple[ProcessRewardModel, torch.dtype]:
    """A fresh PRM on a student's weights, in float32, and the precision to save it in."""
    backbone = AutoModel.from_pretrained(folder, dtype="auto", use_safetensors=True, trust_remote_code=False)
    stored = torch.float32 if backbone.dtype == torch.float32 else torch.bfloat16
    return ProcessRewardModel(weights.master_copy(backbone)), stored


def save_prm(model: ProcessRewardModel, tokenizer: PreTrainedTokenizerBase, folder: Path, dtype: torch.dtype) -> None:
    """A self-contained folder; the head is small and stays in float32."""
    model.backbone.to(dtype).save_pretrained(folder)
    save_file({name: tensor.float().cpu() for name, tensor in model.head.state_dict().items()}, folder / HEAD_FILE)
    tokenizer.save_pretrained(folder)


def load_prm(folder: Path) -> tuple[ProcessRewardModel, PreTrainedTokenizerBase]:
    """The PRM of a folder, on the accelerator if there is one, and its tokenizer."""
    model, stored = open_backbone(folder)
    if local_models.multiplies_bf16():
        model.backbone.to(stored)
    model.head.load_state_dict(load_file(folder / HEAD_FILE))
    return model.to(local_models.device()).eval(), local_models.open_tokenizer(folder)
