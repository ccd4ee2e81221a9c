"""Grade a reply: its answer, and the verdict on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from agentark.grading.comparing import equivalent_to_any
from agentark.grading.reading import extract_answer
from agentark.records.questions import GoldType


@dataclass(frozen=True)
class Grade:
    """Verdict on one reply. Undecided counts as not correct, and is told apart so that it can be counted."""

    answer: str | None
    correct: bool
    undecided: bool
    by_verifier: bool = False
    """A language model gave the verdict, since rules could not."""


def grade(text: str, golds: Sequence[str], gold_type: GoldType, n_choices: int | None = None) -> Grade:
    """Judge a reply by all answers that are right. A reply without an answer is wrong, not undecided."""
    answer = extract_answer(text, gold_type, n_choices)
    verdict = False if answer is None else equivalent_to_any(golds, answer, gold_type)
    return Grade(answer, correct=verdict is True, undecided=verdict is None)
