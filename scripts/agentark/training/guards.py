"""What stops a policy that games its reward: validation on questions kept for it, and the way back to the best one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from agentark.config.grpo import Guards
from agentark.running.progress import say
from agentark.training import processes, weights

SAMPLES = 8


@dataclass(frozen=True)
class Answer:
    """One validation question's completion, as the policy samples it."""

    question_id: str
    question: str
    text: str
    token_ids: list[int]
    n_steps: int
    correct: bool
    process: float | None


@dataclass(frozen=True)
class Validation:
    """How a policy does on the validation questions after `step` updates; means over its answers."""

    step: int
    questions: int
    correct: float
    process: float | None
    tokens: float
    steps: float
    distinct: float
    """Share of a completion's 4-grams of tokens that are different ones."""
    kl: float | None
    """To the start policy, a token, in the update before; none without a KL term."""

    @classmethod
    def of(cls, step: int, answers: Sequence[Answer], kl: float | None) -> "Validation":
        return cls(
            step=step,
            questions=len(answers),
            correct=fmean(answer.correct for answer in answers),
            process=None if answers[0].process is None else fmean(answer.process for answer in answers),
            tokens=fmean(len(answer.token_ids) for answer in answers),
            steps=fmean(answer.n_steps for answer in answers),
            distinct=fmean(distinct_4_grams(answer.token_ids) for answer in answers),
            kl=kl,
        )


def distinct_4_grams(tokens: Sequence[int]) -> float:
    """Share of a text's 4-grams that are different ones; 1 for a text too short to have two."""
    grams = [tuple(tokens[i : i + 4]) for i in range(len(tokens) - 3)]
    return len(set(grams)) / len(grams) if grams else 1.0


def best_of(history: Sequence[Validation]) -> Validation:
    """The first of those with the most right answers."""
    return max(history, key=lambda validation: validation.correct)


def why_stop(history: Sequence[Validation], guards: Guards) -> str | None:
    """What is wrong with the policy that the last validation saw; None if nothing is.

    Fewer right answers count when they are fewer than chance explains, `patience` validations in a row: among many, the
    best is lucky, and those after it are not.
    """
    first, best, last = history[0], best_of(history), history[-1]
    latest = history[-guards.patience :]
    if all(each.step > best.step and fewer(each, best) for each in latest):
        rose = last.process is not None and all(each.process > best.process for each in latest)
        game = ", while the process reward rose: it is being gamed" if rose else ""
        return f"validation accuracy fell from {best.correct:.1%} at update {best.step} to {last.correct:.1%}{game}"
    if guards.max_kl is not None and last.kl is not None and last.kl > guards.max_kl:
        return f"KL to the start policy is {last.kl:.3g} a token, above grpo.guards.max_kl {guards.max_kl:g}"
    if last.distinct < guards.min_distinct * first.distinct:
        return (
            f"completions repeat themselves: {last.distinct:.0%} of their 4-grams differ, {first.distinct:.0%} at first"
        )
    for what, before, now in (("tokens", first.tokens, last.tokens), ("steps", first.steps, last.steps)):
        if not before / guards.max_drift <= now <= before * guards.max_drift:
            return f"completions went from {before:.1f} to {now:.1f} {what}"
    return None


def fewer(now: Validation, best: Validation) -> bool:
    """Whether right answers are fewer by more than two standard errors of the difference.

    Each share is taken with one right and one wrong answer more (Agresti and Caffo 2000): among 128 right ones, a wrong
    one is no sign of anything.
    """
    shares = [(each.correct * each.questions + 1) / (each.questions + 2) for each in (now, best)]
    variance = sum(p * (1 - p) / (each.questions + 2) for p, each in zip(shares, (now, best), strict=True))
    return shares[0] < shares[1] - 2 * math.sqrt(variance)


class Guard(TrainerCallback):
    """Keeps every validation and the weights of the best one, and ends a training that `why_stop` speaks against."""

    def __init__(
        self, model: PreTrainedModel, answers: Callable[[], list[Answer]], guards: Guards | None, folder: Path
    ) -> None:
        self.model, self.answers, self.guards, self.folder = model, answers, guards, folder
        self.history: list[Validation] = []
        self.samples: list[dict[str, Any]] = []
        """Completions of the same questions at every validation."""
        self.stopped: str | None = None
        """Why, if it did."""

    @property
    def best(self) -> Validation:
        """Whose policy the student is if the training is stopped: not the one that spoke against it."""
        return best_of(self.history[:-1] if self.stopped else self.history)

    def weights_of(self, validation: Validation) -> Path:
        return self.folder / f"best-{validation.step}.safetensors"

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # A checkpoint holds the trainer's log, and so what was seen before it.
        self.history = [Validation(**row["validation"]) for row in state.log_history if "validation" in row]
        self.samples = [sample for row in state.log_history for sample in row.get("samples", [])]
        # A training that had to stop at a validation saved what it had, and left that validation out.
        is_due = state.global_step % args.eval_steps == 0
        args.eval_on_start = is_due and state.global_step not in [row.step for row in self.history]

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        answers = self.answers()
        kl = next((row["kl"] for row in reversed(state.log_history) if "kl" in row), None)
        found = Validation.of(state.global_step, answers, kl)
        samples = [
            {
                "step": found.step,
                "question_id": answer.question_id,
                "question": answer.question,
                "text": answer.text,
                "correct": answer.correct,
            }
            for answer in answers[:SAMPLES]
        ]
        state.log_history[-1] |= {"validation": asdict(found), "samples": samples}
        self.history.append(found)
        self.samples += samples
        reward = "" if found.process is None else f", process reward {found.process:.3f}"
        say(f"validation   update {found.step}: {found.correct:.1%} of {found.questions} right{reward}")
        if self.guards is None:
            return
        self.stopped = why_stop(self.history, self.guards)
        if self.stopped:
            say(f"grpo         stopped at update {found.step}, back to {self.best.step}: {self.stopped}")
            control.should_training_stop = True
        elif self.best is found:
            weights.keep(self.model, self.weights_of(found))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # Until now, a training that is killed might have gone on from a validation before this one.
        if self.guards is not None and self.history:
            for path in self.folder.glob("best-*.safetensors"):
                if path != self.weights_of(self.best) and processes.is_first():
                    path.unlink(missing_ok=True)

    def facts(self) -> dict[str, Any]:
        """For the manifest: how the training ended, and what its policy is."""
        of = self.best if self.stopped else self.history[-1]
        return {
            "stopped": self.stopped,
            "stopped_at": self.history[-1].step if self.stopped else None,
            "policy_of_update": of.step,
            "validation_accuracy": {
                "first": self.history[0].correct,
                "last": self.history[-1].correct,
                "kept": of.correct,
            },
        }
