"""Reward models' scores of steps."""

from typing import Literal

from agentark.records.row import Row


class StepLikelihoods(Row):
    """How likely the steps of a trace are under the model that reward models start from."""

    benchmark: str
    trace_id: str
    log_probabilities: list[float]
    """Of each step, the mean over its tokens."""


class ScoredTrace(Row):
    """What a reward model makes of one trace, or of one with an error planted in it."""

    variant: str
    teacher: str
    train_set: str
    model: str
    """The one whose weights the reward model started from."""
    seed: int
    benchmark: str
    source: Literal["debate", "labelled"]
    """A turn of a debate, whose answer competes with the others'; or a trace of a step benchmark."""
    trace_id: str
    question_id: str
    planted: str | None
    """The planted error; `clean` is the same trace in the same layout without any; None = as it was written."""
    answer: str | None
    """In its normal form, which votes count."""
    correct: bool
    right: list[bool]
    """A label for each of the first steps: those behind them, and all steps of a planted error, have none."""
    lengths: list[int]
    """Characters of each step."""
    scores: list[float]
    log_probabilities: list[float]
    """Of each step, the mean over its tokens under the untrained model; none of those with a planted error."""
    rewards: dict[str, float]
    """Every aggregate of the scores."""
    n_windows: int
    """More than 1 where the trace is longer than the reward model reads at once."""
