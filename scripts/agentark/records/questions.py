"""Questions, and those that are left out."""

import re
from typing import Literal

from agentark.records.row import Row, content_id

GoldType = Literal["number", "latex", "choice", "boolean", "text", "free"]
Split = Literal["train", "validation", "test"]


class Question(Row):
    """A question with its gold answer; `question_id` is the hash of its normalised content."""

    question_id: str
    dataset: str
    split: Split
    question: str
    gold: str
    gold_type: GoldType
    choices: list[str] | None = None
    licence: str | None = None
    origin_id: str | None = None
    """The id of the question that this one was made from, where the dataset says so."""
    other_golds: list[str] = []  # noqa: RUF012 - msgspec gives each its own
    """Answers that are as right as `gold`: of other annotators, or written otherwise."""
    context_chars: int = 0
    """So many characters of `question`, at its beginning, are what it is about: they alone may be cut to fit."""
    group: str | None = None
    """What is the same for questions about the same text, which are no independent draws."""

    reasoning: str | None = None
    """A worked solution without its answer."""

    @property
    def golds(self) -> list[str]:
        """All right answers."""
        return [self.gold, *self.other_golds]


class SkippedQuestion(Row):
    """A train question that makes no training data, and why."""

    question_id: str
    reason: str
    other_id: str
    """The question that it repeats."""
    other_set: str
    """The dataset of that question."""
    other_split: Split
    similarity: float
    """Share of three-word phrases in common, 1 = all."""


def question_id(question: str, choices: list[str] | None = None) -> str:
    """Identity of a question: its text without case and spacing, and its choices."""
    normalised = re.sub(r"\s+", " ", question).strip().casefold()
    return content_id(normalised, choices)
