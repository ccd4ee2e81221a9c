"""Intervals and paired tests of one training seed: libraries' functions under the names we use."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

Z = float(norm.ppf(0.975))
POWER = 0.8
"""Of the two-sided test at 5 %, for the smallest difference that could have been seen."""


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
    """How a model compares with another one on the same questions."""

    difference: float
    """Accuracy of the model minus accuracy of the other, in [-1, 1]."""
    low: float
    high: float
    """95 % interval of the difference."""
    p_value: float
    """Two-sided."""
    detectable: float
    """Smallest true difference that this test had found in four cases of five."""
    n_better: int
    """Questions that only the model got right (over seeds: in more of them than the other)."""
    n_worse: int
    """Questions that only the other got right (over seeds: in more of them than the model)."""
    n: int


def paired(correct: Sequence[bool] | np.ndarray, other: Sequence[bool] | np.ndarray) -> Paired:
    """Compare two models that answered the same questions, given in the same order.

    The test is exact McNemar; the interval is Wald's after one more question on which the model is better and one on
    which it is worse. The two can disagree about a difference at the edge of what is significant.

    Source: Bonett & Price 2012, Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data; recommended by Fagerland, Lydersen & Laake 2014.

    Raises:
        ValueError: no questions, or not the same number of them.
    """
    if len(correct) != len(other):
        raise ValueError(f"{len(correct)} and {len(other)} answers are not pairs: give both the same questions")
    n = len(correct)
    if not n:
        raise ValueError("no question was answered, so there is nothing to compare")
    ours, theirs = np.asarray(correct, dtype=bool), np.asarray(other, dtype=bool)
    n_better, n_worse = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    centre = (n_better - n_worse) / (n + 2)
    error = sqrt(((n_better + n_worse + 2) / (n + 2) - centre**2) / (n + 2))
    return Paired(
        difference=(n_better - n_worse) / n,
        low=max(-1.0, centre - Z * error),
        high=min(1.0, centre + Z * error),
        p_value=exact_mcnemar(n_better, n_worse),
        detectable=(Z + float(norm.ppf(POWER))) * error,
        n_better=n_better,
        n_worse=n_worse,
        n=n,
    )


def exact_mcnemar(n_better: int, n_worse: int) -> float:
    """Two-sided p-value; questions on which both agree do not enter the test."""
    return float(mcnemar([[0, n_better], [n_worse, 0]], exact=True).pvalue)
