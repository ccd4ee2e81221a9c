"""How well scores tell right steps from wrong ones, with intervals over questions.

Steps of a question stand or fall together, so that a question, not a step, is what an interval draws again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

N_BINS = 10
N_DRAWS = 1000
THRESHOLD = 0.5
"""A step that scores below it is called wrong."""


@dataclass(frozen=True)
class JudgedSteps:
    """N steps with their labels and what a judge of steps makes of them; those of a trace side by side and in order."""

    scores: np.ndarray
    """(N,) float, high for a right step; between 0 and 1 if calibration and first errors are asked for."""
    right: np.ndarray
    """(N,) bool."""
    question: np.ndarray
    """(N,) int, number of the question, from 0."""
    trace: np.ndarray
    """(N,) int, number of the trace, from 0."""


def auroc(steps: JudgedSteps, weights: np.ndarray) -> float:
    """Chance that a right step scores above a wrong one, ties counting half; NaN without both."""
    _, rank = np.unique(steps.scores, return_inverse=True)
    right, wrong = np.bincount(rank, weights * steps.right), np.bincount(rank, weights * ~steps.right)
    with np.errstate(invalid="ignore"):
        return float(right @ (np.cumsum(wrong) - wrong / 2) / (right.sum() * wrong.sum()))


def wrong_step_precision(steps: JudgedSteps, weights: np.ndarray) -> float:
    """Average precision of finding the wrong steps by their low scores: by chance, their share; NaN without any."""
    _, rank = np.unique(steps.scores, return_inverse=True)
    found, wrong = np.bincount(rank, weights), np.bincount(rank, weights * ~steps.right)
    with np.errstate(invalid="ignore"):
        precision = np.cumsum(wrong) / np.cumsum(found)
        return float(wrong @ np.where(wrong > 0, precision, 0) / wrong.sum())


def calibration_error(steps: JudgedSteps, weights: np.ndarray) -> float:
    """Expected calibration error: how far scores lie from the share of right steps, on average over ten bins."""
    which = np.minimum((steps.scores * N_BINS).astype(int), N_BINS - 1)
    gaps = np.bincount(which, weights * (steps.scores - steps.right), minlength=N_BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def first_error_f1(steps: JudgedSteps, weights: np.ndarray) -> float:
    """Harmonic mean of two shares: of traces with a wrong step, those whose first one is the first called wrong; of
    traces without, those in which none is. NaN without both kinds.

    Source: ProcessBench, arXiv 2412.06559.
    """
    starts = np.flatnonzero(np.diff(steps.trace, prepend=-1))
    first_wrong, first_called = (_first(marks, starts) for marks in (~steps.right, steps.scores < THRESHOLD))
    hit, has_error, of_trace = first_wrong == first_called, first_wrong >= 0, weights[starts]
    with np.errstate(invalid="ignore"):
        found, passed = (of_trace[kind] @ hit[kind] / of_trace[kind].sum() for kind in (has_error, ~has_error))
        return float(2 * found * passed / (found + passed)) if found + passed else 0.0


def _first(marks: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Of each trace, the place of its first marked step, or -1."""
    places = np.where(marks, np.arange(len(marks)), len(marks))
    first = np.minimum.reduceat(places, starts)
    return np.where(first < np.append(starts[1:], len(marks)), first - starts, -1)


MEASURES: dict[str, Callable[[JudgedSteps, np.ndarray], float]] = {
    "auroc": auroc, "wrong_step_precision": wrong_step_precision,
    "calibration_error": calibration_error, "first_error_f1": first_error_f1,
}  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A measure and its 95 % interval; NaN where there is nothing to measure."""

    value: float
    low: float
    high: float


def estimate(measure: Callable[[np.ndarray], float], n_questions: int, seed: int = 0) -> Estimate:
    """A measure with its cluster bootstrap interval: questions are drawn again with replacement, percentiles.

    Args:
        measure: of how often each question counts, (Q,) float.
    """
    if not n_questions:
        return Estimate(*[float("nan")] * 3)
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(n_questions, np.full(n_questions, 1 / n_questions), size=N_DRAWS)
    found = np.array([measure(drawn.astype(float)) for drawn in draws])
    found = found[~np.isnan(found)]
    low, high = np.percentile(found, [2.5, 97.5]) if len(found) else (float("nan"),) * 2
    return Estimate(measure(np.ones(n_questions)), float(low), float(high))


def measured(steps: JudgedSteps, n_questions: int) -> dict[str, Estimate]:
    """All measures of one judge."""
    return {
        name: estimate(lambda often, measure=measure: measure(steps, often[steps.question]), n_questions)
        for name, measure in MEASURES.items()
    }


def gain(steps: JudgedSteps, other: np.ndarray, n_questions: int) -> Estimate:
    """How much higher the AUROC is than that of another judge of the same steps, whose scores are (N,) float."""
    beside = replace(steps, scores=other)

    def difference(often: np.ndarray) -> float:
        weights = often[steps.question]
        return auroc(steps, weights) - auroc(beside, weights)

    return estimate(difference, n_questions)
