"""How well scores tell right steps from wrong ones, with intervals over questions.

Steps of a question stand or fall together, so that a question, not a step, is what an interval draws again. A measure
takes the steps once and gives a function of how often each of them counts, which an interval asks a thousand times.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import rankdata

N_BINS = 10
N_DRAWS = 1000
N_THRESHOLDS = 100

OfWeights = Callable[[np.ndarray], float]
"""(N,) float, how often each step counts -> value; NaN where there is nothing to tell."""


@dataclass(frozen=True)
class JudgedSteps:
    """N steps with their labels and what a judge of steps makes of them; those of a trace side by side and in order."""

    scores: np.ndarray
    """(N,) float, high for a right step; between 0 and 1 if calibration is asked for."""
    right: np.ndarray
    """(N,) bool."""
    question: np.ndarray
    """(N,) int, number of the question, from 0."""
    trace: np.ndarray
    """(N,) int, number of the trace, from 0."""

    @cached_property
    def rank(self) -> np.ndarray:
        """(N,) int, equal scores have the same."""
        return np.unique(self.scores, return_inverse=True)[1]

    @cached_property
    def starts(self) -> np.ndarray:
        """(T,) int, the first step of each trace."""
        return np.flatnonzero(np.diff(self.trace, prepend=-1))

    @cached_property
    def place(self) -> np.ndarray:
        """(N,) int, number of the step in its trace, from 0."""
        lengths = np.diff(self.starts, append=len(self.trace))
        return np.arange(len(self.trace)) - np.repeat(self.starts, lengths)


def auroc(steps: JudgedSteps) -> OfWeights:
    """Chance that a right step scores above a wrong one, ties counting half."""

    def of(weights: np.ndarray) -> float:
        right, wrong = (np.bincount(steps.rank, weights * kind) for kind in (steps.right, ~steps.right))
        return _share(right @ (np.cumsum(wrong) - wrong / 2), right.sum() * wrong.sum())

    return of


def wrong_step_precision(steps: JudgedSteps) -> OfWeights:
    """Average precision of finding the wrong steps by their low scores: by chance, their share."""

    def of(weights: np.ndarray) -> float:
        found, wrong = np.bincount(steps.rank, weights), np.bincount(steps.rank, weights * ~steps.right)
        up_to = np.cumsum(found)
        precision = np.divide(np.cumsum(wrong), up_to, out=np.zeros_like(up_to), where=up_to > 0)
        return _share(wrong @ precision, wrong.sum())

    return of


def calibration_error(steps: JudgedSteps) -> OfWeights:
    """Expected calibration error: how far scores lie from the share of right steps, on average over ten bins."""
    which = np.minimum((steps.scores * N_BINS).astype(int), N_BINS - 1)

    def of(weights: np.ndarray) -> float:
        gaps = np.bincount(which, weights * (steps.scores - steps.right), minlength=N_BINS)
        return _share(np.abs(gaps).sum(), weights.sum())

    return of


def first_error_f1(steps: JudgedSteps) -> OfWeights:
    """Harmonic mean of two shares: of traces with a wrong step, those whose first one is the first called wrong; of
    traces without, those in which none is.

    A step is called wrong below a threshold that is best on the other half of the questions.

    Source: ProcessBench, arXiv 2412.06559, which takes the best threshold of one of its parts for all of them.
    """
    first_wrong = _first(~steps.right, steps)
    has_error = first_wrong >= 0

    def with_threshold(threshold: float | np.ndarray) -> OfWeights:
        hit = _first(steps.scores < threshold, steps) == first_wrong

        def of(weights: np.ndarray) -> float:
            of_trace = weights[steps.starts]
            found, passed = (
                _share(of_trace[kind] @ hit[kind], of_trace[kind].sum()) for kind in (has_error, ~has_error)
            )
            return 2 * found * passed / (found + passed) if found + passed else found + passed

        return of

    return with_threshold(_best_on_other_half(steps, with_threshold))


def step_f1(steps: JudgedSteps) -> OfWeights:
    """Mean of the F1 of finding the right steps and of the F1 of finding the wrong ones; thresholds as for
    `first_error_f1`.

    Source: PRMBench's PRMScore, arXiv 2501.03124, section 3.3.
    """

    def with_threshold(threshold: float | np.ndarray) -> OfWeights:
        called = steps.scores >= threshold

        def of(weights: np.ndarray) -> float:
            return sum(
                _share(2 * (weights @ (said & true)), weights @ said + weights @ true)
                for said, true in ((called, steps.right), (~called, ~steps.right))
            ) / 2  # fmt: skip

        return of

    return with_threshold(_best_on_other_half(steps, with_threshold))


def length_bias(lengths: np.ndarray) -> Callable[[JudgedSteps], OfWeights]:
    """Rank correlation of a step's score with its length, (N,) characters."""
    return lambda steps: _rank_correlation(steps.scores, lengths)


def position_bias(steps: JudgedSteps) -> OfWeights:
    """Rank correlation of a step's score with its place in the trace."""
    return _rank_correlation(steps.scores, steps.place)


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> OfWeights:
    """Spearman's; ranks are those of all steps."""
    one, other = rankdata(one), rankdata(other)

    def of(weights: np.ndarray) -> float:
        total = weights.sum()
        a, b = (values - _share(weights @ values, total) for values in (one, other))
        return _share(weights @ (a * b), math.sqrt((weights @ a**2) * (weights @ b**2)))

    return of


def _best_on_other_half(steps: JudgedSteps, measure: Callable[[float], OfWeights]) -> np.ndarray:
    """For each step the threshold, (N,), that is best on the questions of the other half.

    Questions are numbered by their ids, which are hashes: even and odd ones are as good as drawn.
    """
    thresholds = np.unique(np.quantile(steps.scores, np.linspace(0, 1, N_THRESHOLDS)))
    thresholds = np.append(thresholds, np.nextafter(thresholds[-1], np.inf))  # all steps are called wrong
    odd = steps.question % 2
    values = [[measure(threshold)(weights) for threshold in thresholds] for weights in (odd, 1 - odd)]
    best = [thresholds[np.argmax(np.nan_to_num(found))] for found in values]
    return np.where(odd, best[1], best[0])


def _first(marks: np.ndarray, steps: JudgedSteps) -> np.ndarray:
    """Of each trace, the place of its first marked step, or -1."""
    places = np.where(marks, np.arange(len(marks)), len(marks))
    first = np.minimum.reduceat(places, steps.starts)
    return np.where(first < np.append(steps.starts[1:], len(marks)), first - steps.starts, -1)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


MEASURES: dict[str, Callable[[JudgedSteps], OfWeights]] = {
    "auroc": auroc, "wrong_step_precision": wrong_step_precision, "calibration_error": calibration_error,
    "first_error_f1": first_error_f1, "step_f1": step_f1,
}  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A measure and its 95 % interval; NaN where there is nothing to measure."""

    value: float
    low: float
    high: float


def estimate(measure: OfWeights, n_questions: int, seed: int = 0) -> Estimate:
    """A measure with its cluster bootstrap interval: questions are drawn again with replacement, percentiles.

    Args:
        measure: of how often each question counts, (Q,) float.
    """
    if not n_questions:
        return Estimate(*[math.nan] * 3)
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(n_questions, np.full(n_questions, 1 / n_questions), size=N_DRAWS)
    found = np.array([measure(drawn.astype(float)) for drawn in draws])
    found = found[~np.isnan(found)]
    low, high = np.percentile(found, [2.5, 97.5]) if len(found) else (math.nan,) * 2
    return Estimate(measure(np.ones(n_questions)), float(low), float(high))


def of_questions(steps: JudgedSteps, measure: Callable[[JudgedSteps], OfWeights]) -> OfWeights:
    """A measure of steps as a function of how often each question counts, (Q,) float."""
    of = measure(steps)
    return lambda often: of(often[steps.question])
