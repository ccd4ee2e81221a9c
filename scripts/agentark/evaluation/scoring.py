"""Debates, votes and single answers as evaluation rows: the grader's verdict and what the answer cost."""

from agentark.evaluation.text_scores import text_scores
from agentark.grading.comparing import is_right
from agentark.records.debates import SETTLER, Debate, Turn
from agentark.records.evaluations import EvaluationRow

METRIC = {"text": "f1", "free": "rouge_l"}
"""What benchmarks with answers in words are judged by: a few words by F1, as SQuAD; more of them by ROUGE-L."""


def evaluation_row(
    debate: Debate,
    *,
    model: str,
    variant: str,
    recipe: str | None,
    seconds: float,
    seed: int,
    teacher: str | None = None,
    train_set: str | None = None,
) -> EvaluationRow:
    """Score what a protocol settled on (flaw E1: never the first answer in the joined log).

    No answer is a wrong answer (flaw E2), and so is one that the grader cannot decide.

    Args:
        recipe: trainings of the model, one after another, joined by `-`.
        seconds: wall seconds of the protocol divided by its questions: in a batch, one question's own time means
            nothing.
    """
    question, answer, turns = debate.question, debate.answer, debate.turns
    return EvaluationRow(
        model=model,
        method=method_of(recipe),
        recipe=recipe,
        variant=variant,
        teacher=teacher,
        train_set=train_set,
        protocol=debate.protocol,
        benchmark=question.dataset,
        question_id=question.question_id,
        origin_id=question.origin_id,
        output=turns[-1].reply if turns else "",
        answer=answer,
        correct=is_right(answer, question.golds, question.gold_type),
        latency_s=_latency(turns),
        group=question.group,
        metric=METRIC.get(question.gold_type, "accuracy"),
        scores=text_scores(answer, question.golds) if question.gold_type in METRIC else {},
        truncated=any(turn.status == "truncated" for turn in turns),
        context_cut=any(turn.context_cut for turn in turns),
        calls=len(turns),
        prompt_tokens=sum(turn.prompt_tokens for turn in turns),
        completion_tokens=sum(turn.completion_tokens for turn in turns),
        seconds=seconds,
        seed=seed,
    )


def method_of(recipe: str | None) -> str:
    """The last training of a recipe; `base` is untrained."""
    return recipe.rpartition("-")[2] if recipe else "base"


def _latency(turns: list[Turn]) -> float:
    """The longest way through the turns: each waits for those that it reads, and for the rounds before its own."""
    ends: list[float] = []
    for turn in turns:
        before = list(zip(ends, turns, strict=False))
        begins = [end for place, (end, other) in enumerate(before) if place in turn.reads or other.round < turn.round]
        begins += ends if turn.role == SETTLER else []
        ends.append(max(begins, default=0.0) + turn.latency_s)
    return max(ends, default=0.0)
