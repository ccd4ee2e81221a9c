"""Training of process reward models: which steps meet, what an update is made of, and two stages.

Differs from the paper: Eq. 7 sums over the positive steps of a question, we take their mean, so that a question with
long traces does not outweigh the others. Differs from the reference code: negatives come from other agents on the same
question.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments

from agentark.config.prm import Prm, PrmStage
from agentark.errors import UserError
from agentark.records.sets import StepExample
from agentark.running.deadline import Deadline
from agentark.training import prm_losses, processes, session, trees
from agentark.training.encoding import EncodedTrace, encode
from agentark.training.prm import ProcessRewardModel
from agentark.training.prm_losses import ScoredSteps
from agentark.training.prm_scoring import TOKENS_PER_PASS, inputs_of


def choose_pairs(questions: Sequence[Sequence[StepExample]], settings: Prm, seed: int) -> list[tuple[int, list[int]]]:
    """Each right step with some wrong ones, as `prm.negatives` and `prm.negatives_from` say.

    Steps are numbered through all traces. On the same question a wrong step is another agent's: those that follow an
    agent's own right step are its consequence. A right step without such wrong ones has no pair.
    """
    steps = [
        (number, trace.agent, label)
        for number, traces in enumerate(questions)
        for trace in traces
        for label in trace.labels
    ]  # fmt: skip
    wrong = [(i, number, agent) for i, (number, agent, label) in enumerate(steps) if label == 0]
    generators = [random.Random(f"{seed} {traces[0].question_id}") for traces in questions]

    def fits(same_question: bool, same_agent: bool) -> bool:
        if same_question:
            return not same_agent and settings.negatives_from != "other_questions"
        return settings.negatives_from != "question"

    pairs = []
    for positive, (number, agent, label) in enumerate(steps):
        if label == 0:
            continue
        others = [i for i, other, author in wrong if fits(other == number, author == agent)]
        if others:
            chosen = generators[number].sample(others, min(settings.negatives, len(others)))
            pairs.append((positive, sorted(chosen)))
    return pairs


@dataclass(frozen=True)
class PrmQuestion:
    """One question's labelled traces, and their tokens."""

    traces: list[StepExample]
    encoded: list[EncodedTrace]


def usable(traces: list[StepExample], settings: Prm, seed: int) -> bool:
    """Whether the losses have anything to learn from a question."""
    if {"bce", "pqm"} & settings.loss.keys() or settings.negatives_from != "question":
        return bool(traces)
    return bool(choose_pairs([traces], settings, seed))


def encode_questions(
    groups: list[list[StepExample]], tokenizer: PreTrainedTokenizerBase, settings: Prm, seed: int
) -> tuple[list[PrmQuestion], Counter[str]]:
    """Questions that the losses can be computed on; the others are counted by cause, and no trace is cut."""
    counts: Counter[str] = Counter(questions=len(groups), questions_used=0, without_a_pair=0, traces=0, too_long=0)
    questions = []
    for group in groups:
        encoded = [(trace, encode(tokenizer, trace, trace.text, trace.steps)) for trace in group if trace.steps]
        short = [(trace, code) for trace, code in encoded if len(code.input_ids) <= settings.max_length]
        counts["traces"] += len(group)
        counts["too_long"] += len(encoded) - len(short)
        traces = [trace for trace, _ in short]
        used = bool(traces) and usable(traces, settings, seed)
        if used:
            questions.append(PrmQuestion(traces, [code for _, code in short]))
        counts["questions_used" if used else "without_a_pair"] += 1
    return questions, counts


def update_of(questions: Sequence[PrmQuestion], settings: Prm, seed: int, packs: bool) -> dict[str, Any]:
    """What one update needs: what the losses ask of all its steps (`ScoredSteps`), and its `passes`: the model's
    `inputs` and `at` (N_pass,), the numbers of its steps among all.

    Args:
        packs: whether the model reads packed rows; what traces have in common is then read once, which changes no
            gradient.
    """
    numbered = [(number, trace) for number, question in enumerate(questions) for trace in question.traces]
    encoded = [trace for question in questions for trace in question.encoded]
    n_steps = torch.tensor([len(trace.step_tokens) for trace in encoded])
    first = n_steps.cumsum(0) - n_steps
    parts = []
    for planted in trees.passes([trace.input_ids for trace in encoded], settings.tokens_per_pass, packs):
        chosen = [i for tree in planted for i in tree]
        at = torch.cat([torch.arange(first[i], first[i] + n_steps[i]) for i in chosen])
        parts.append({"inputs": inputs_of(encoded, planted), "at": at})
    pairs = choose_pairs([question.traces for question in questions], settings, seed)
    width = max((len(negatives) for _, negatives in pairs), default=1)
    negatives = torch.tensor([row + [-1] * (width - len(row)) for _, row in pairs], dtype=torch.long).view(-1, width)
    return {
        "ids": [question.traces[0].question_id for question in questions],
        "passes": parts,
        "right": torch.tensor([label for _, trace in numbered for label in trace.labels]),
        "question": torch.tensor([number for number, trace in numbered for _ in trace.labels]),
        "trace": torch.arange(len(encoded)).repeat_interleave(n_steps),
        "positive": torch.tensor([positive for positive, _ in pairs], dtype=torch.long),
        "negatives": negatives.clamp(min=0),
        "mask": negatives >= 0,
    }


class PrmTrainer(Trainer):
    """An update's questions are one batch, whose traces go through the model in passes of bounded size.

    The losses are of all steps together. With several passes, the first round through the model takes no gradient: it
    gives the losses their rewards, and the losses' gradients with respect to these are what the second round carries to
    the weights. However an update is cut, its gradient is the same.
    """

    def __init__(self, settings: Prm, **options: Any) -> None:
        self.settings = settings
        super().__init__(**options)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | None = None
    ) -> Tensor:
        model.train()
        inputs = self._prepare_inputs(inputs)
        parts, ids = inputs.pop("passes"), inputs.pop("ids")
        self.state.num_input_tokens_seen += sum(part["inputs"]["input_ids"].numel() for part in parts)
        # With ZeRO a pass is one for all processes: those with fewer go through the model as often, for nothing.
        (n_passes,) = processes.largest(len(parts))
        if n_passes == 1:
            with self.compute_loss_context_manager():
                loss = self._loss([model(**parts[0]["inputs"])], parts, inputs)
            _refuse_nan(loss, ids)
            self.accelerator.backward(loss)
            return loss.detach()
        every = parts + parts[:1] * (n_passes - len(parts))
        with torch.no_grad(), self.compute_loss_context_manager():
            found = [model(**part["inputs"]) for part in every]
        leaves = [[None if part is None else part.requires_grad_() for part in outputs] for outputs in found]
        loss = self._loss(leaves[: len(parts)], parts, inputs)
        _refuse_nan(loss, ids)
        loss.backward()
        for number, (part, known) in enumerate(zip(every, leaves, strict=True), start=1):
            with self._synchronised(model, number == n_passes), self.compute_loss_context_manager():
                carried = [
                    (ours * (0 if leaf.grad is None else leaf.grad)).sum()
                    for ours, leaf in zip(model(**part["inputs"]), known, strict=True)
                    if leaf is not None
                ]
                self.accelerator.backward(torch.stack(carried).sum())
        return loss.detach()

    def _loss(self, outputs: list[Any], parts: list[dict[str, Any]], inputs: dict[str, Tensor]) -> Tensor:
        order = torch.cat([part["at"] for part in parts]).argsort()
        rewards, projections = (
            None if column[0] is None else torch.cat(column)[order] for column in zip(*outputs, strict=True)
        )
        n_questions = int(inputs["question"][-1]) + 1
        steps = ScoredSteps(rewards=rewards, projections=projections, n_questions=n_questions, **inputs)
        return prm_losses.total(steps, self.settings)

    @contextmanager
    def _synchronised(self, model: nn.Module, last: bool) -> Iterator[None]:
        """Gradients are shared between processes, and DeepSpeed makes its step, only after an update's last pass."""
        state = self.accelerator.gradient_state
        before = state.sync_gradients
        state._set_sync_gradients(last)
        with nullcontext() if last else self.accelerator.no_sync(model):
            yield
        state._set_sync_gradients(before)


def _refuse_nan(loss: Tensor, question_ids: list[str]) -> None:
    if not torch.isfinite(loss):
        raise UserError(
            f"prm: the loss is {loss.item()} on the questions {', '.join(question_ids)}; lower the "
            "learning rate of the stage, or look at these questions in the set"
        )


def trainable_in_stage(model: ProcessRewardModel, stage: int) -> None:
    """Stage 1 trains the last layer and what is not the backbone's, stage 2 everything; with adapters, only those."""
    adapted = isinstance(model.backbone, PeftModel)
    last = f".layers.{model.backbone.config.get_text_config().num_hidden_layers - 1}."
    for name, parameter in model.backbone.named_parameters(prefix="."):
        parameter.requires_grad_((stage == 2 or last in name) and ("lora_" in name or not adapted))


def fit(
    model: ProcessRewardModel,
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
        folder = checkpoints / f"stage{number}"
        session.train(trainer(model, questions, settings, part, seed, folder), watch, folder)
        log += [{**row, "stage": number} for row in watch.rows]
    return log


def trainer(
    model: ProcessRewardModel,
    questions: list[PrmQuestion],
    settings: Prm,
    part: PrmStage,
    seed: int,
    checkpoints: Path,
) -> PrmTrainer:
    """The trainer of one stage."""
    if not torch.cuda.is_available():
        settings = settings.model_copy(update={"tokens_per_pass": min(settings.tokens_per_pass, TOKENS_PER_PASS)})
    arguments = TrainingArguments(
        **session.trainer_options(checkpoints, seed),
        **processes.shares(settings.batch_size, settings.batch_size, "prm.batch_size"),
        num_train_epochs=part.epochs,
        learning_rate=part.learning_rate,
        lr_scheduler_type="constant",
        remove_unused_columns=False,
    )
    return PrmTrainer(
        settings,
        model=model,
        args=arguments,
        train_dataset=questions,
        data_collator=lambda batch: update_of(batch, settings, seed, model.packs),
    )
