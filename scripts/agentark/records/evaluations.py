"""Scored answers."""

from typing import Literal

from agentark.records.row import Row


class EvaluationRow(Row):
    """One model (or protocol) on one test question."""

    model: str
    method: str
    """The last training: `rsft`, `da`, `pad` or a control; `base` is untrained."""
    recipe: str | None
    """All trainings, one after another: `rsft-pad`; None is untrained."""
    variant: str
    """Whose settings it was made with: `main`, or a variant's name where that differs."""
    teacher: str | None
    train_set: str | None
    protocol: str
    """`single`, `self_consistency`, `first_round_vote`, `debate`."""
    benchmark: str
    question_id: str
    output: str
    answer: str | None
    correct: bool
    truncated: bool
    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    """Wall seconds of the protocol over all its questions, divided by their number."""
    seed: int
    context_cut: bool = False
    """Part of what the question is about did not fit into a prompt."""
    origin_id: str | None = None
    """The question that this one was made from."""
    latency_s: float = 0.0
    """From the question to the answer: of each round the slowest reply, waiting for a place in the batch included."""
    group: str | None = None
    """What the question shares with others about the same text."""
    metric: str = "accuracy"
    """What the benchmark is judged by: `accuracy`, or one of `scores`."""
    scores: dict[str, float] = {}  # noqa: RUF012 - msgspec gives each its own
    """Of an answer in words, how near it comes to gold (`evaluation.text_scores`)."""


class PerplexityRow(Row):
    """How likely a worked solution is under one model that reads its question."""

    model: str
    recipe: str | None
    variant: str
    teacher: str | None
    train_set: str | None
    protocol: Literal["single"]
    benchmark: str
    question_id: str
    group: str | None
    seed: int
    nats: float
    """Minus the sum of the log-probabilities of the reasoning's tokens, natural logarithm."""
    tokens: int
    bytes: int
    """Of the reasoning in UTF-8, the same for every tokenizer."""
