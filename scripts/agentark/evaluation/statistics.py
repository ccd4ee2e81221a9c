"""Intervals and paired tests behind every figure in the tables: libraries' functions under the names we use."""

from collections.abc import Sequence
from dataclasses import dataclass

from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint


def wilson(n_correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion, within [0, 1].

    Raises:
        ValueError: n is 0, or n_correct is not between 0 and n.
    """
    if n == 0:
        raise ValueError("no question was answered, so its accuracy has no interval")
    if not 0 <= n_correct <= n:
        raise ValueError(f"{n_correct} of {n} is not a proportion")
    low, high = proportion_confint(n_correct, n, alpha=1 - confidence, method="wilson")
    # Rounding can put a bound past the proportion itself, and plots refuse error bars of negative length.
    return min(float(low), n_correct / n), max(float(high), n_correct / n)


@dataclass(frozen=True)
class Paired:
    """How a model compares with its base on the same questions."""

    difference: float
    """Accuracy of the model minus accuracy of the base, in [-1, 1]."""
    p_value: float
    """Exact two-sided McNemar test."""
    n_better: int
    """Questions that only the model got right."""
    n_worse: int
    """Questions that only the base got right."""
    n: int


def paired(correct: Sequence[bool], base: Sequence[bool]) -> Paired:
    """Compare two models that answered the same questions, given in the same order.

    Raises:
        ValueError: no questions, or not the same number of them.
    """
    if len(correct) != len(base):
        raise ValueError(f"{len(correct)} and {len(base)} answers are not pairs: give both the same questions")
    if not correct:
        raise ValueError("no question was answered, so there is nothing to compare")
    n_better = sum(ours and not theirs for ours, theirs in zip(correct, base, strict=True))
    n_worse = sum(theirs and not ours for ours, theirs in zip(correct, base, strict=True))
    return Paired(
        (n_better - n_worse) / len(correct), exact_mcnemar(n_better, n_worse), n_better, n_worse, len(correct)
    )


def exact_mcnemar(n_better: int, n_worse: int) -> float:
    """Two-sided p-value; questions on which both agree do not enter the test."""
    return float(mcnemar([[0, n_better], [n_worse, 0]], exact=True).pvalue)
