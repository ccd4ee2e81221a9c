"""Measures of step scores: by hand, by definition, and how often their intervals hold the truth."""

import numpy as np
import pytest

from agentark.evaluation import step_quality
from agentark.evaluation.step_quality import JudgedSteps, auroc, estimate, of_questions


def judged(scores: list[float], right: list[int], question: list[int] | None = None, trace: list[int] | None = None):
    n = len(scores)
    return JudgedSteps(
        np.array(scores, dtype=float),
        np.array(right, dtype=bool),
        np.array(question or [0] * n),
        np.array(trace or [0] * n),
    )


def value(name: str, steps: JudgedSteps, weights: list[float] | None = None) -> float:
    return step_quality.MEASURES[name](steps)(np.array(weights or np.ones(len(steps.scores))))


@pytest.mark.parametrize(
    ("scores", "right", "expected"),
    [([0.9, 0.8, 0.3, 0.1], [1, 0, 1, 0], 0.75), ([0.5, 0.5], [1, 0], 0.5), ([0.1, 0.2, 0.9], [0, 0, 1], 1.0)],
)
def test_auroc(scores, right, expected):
    assert value("auroc", judged(scores, right)) == expected


@pytest.mark.parametrize("right", [[1, 1], [0, 0]])
def test_without_both_kinds_of_steps_there_is_nothing_to_tell(right):
    steps = judged([0.2, 0.9], right)
    assert np.isnan(value("auroc", steps))
    assert np.isnan(estimate(of_questions(steps, auroc), 1).low)


def test_average_precision_of_wrong_steps():
    """Wrong steps stand at places 1 and 3 from below: (1/1 + 2/3) / 2. Ties are one threshold."""
    assert value("wrong_step_precision", judged([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1])) == pytest.approx(5 / 6)
    assert value("wrong_step_precision", judged([0.5] * 4, [0, 1, 1, 1])) == pytest.approx(0.25)


def test_calibration_error():
    """Half of the steps score 0.95 and are right in half of the cases; the others 0.05, and never."""
    assert value("calibration_error", judged([0.95, 0.95, 0.05, 0.05], [1, 0, 0, 0])) == pytest.approx(0.25)


def test_first_error():
    """Two traces with an error, one found at its place; two without, one passed; the same in both halves, so that each
    gives the other the threshold that says so."""
    scores, right, trace = [0.9, 0.2, 0.1, 0.9, 0.9, 0.9, 0.9, 0.3], [1, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 2, 3, 3]
    steps = judged(scores * 2, right * 2, question=[0] * 8 + [1] * 8, trace=[*trace, *(t + 4 for t in trace)])
    # Between 0.2 and 0.3 both traces without an error are passed.
    assert value("first_error_f1", steps) == pytest.approx(2 * 0.5 * 1 / 1.5)
    # The first error is missed below 0.1, and found before its place above.
    assert value("first_error_f1", judged([0.1, 0.1], [1, 0], trace=[0, 1], question=[0, 1])) == 0.0


def test_a_threshold_is_chosen_on_the_other_half():
    """Right steps score 0.4 and 0.6 in even questions, 0.8 and 1 in odd ones: what serves one half fails the other."""
    right, question = [0, 1] * 20, np.repeat(np.arange(20), 2)
    low = [0.4 + 0.2 * r + 0.4 * (q % 2) for q, r in zip(question, right, strict=True)]
    both = [0.4 + 0.2 * r for r in right]
    trace = list(range(40))
    assert value("first_error_f1", judged(both, right, list(question), trace)) == 1
    assert value("step_f1", judged(both, right, list(question), trace)) == 1
    assert value("first_error_f1", judged(low, right, list(question), trace)) == pytest.approx(0.5)


def test_step_f1():
    """With one threshold for all: two of three right steps found, one wrong one taken for right."""
    scores, right = [0.9, 0.9, 0.1, 0.9, 0.1], [1, 1, 1, 0, 0]
    steps = judged(scores * 2, right * 2, question=[0] * 5 + [1] * 5, trace=[0] * 5 + [1] * 5)
    assert value("step_f1", steps) == pytest.approx((2 * 2 / (3 + 3) + 2 * 1 / (2 + 2)) / 2)


def test_position_and_length_bias():
    steps = judged([0.1, 0.2, 0.3, 0.1, 0.2, 0.3], [1] * 6, trace=[0, 0, 0, 1, 1, 1])
    assert step_quality.position_bias(steps)(np.ones(6)) == pytest.approx(1)
    of = step_quality.length_bias(np.array([30, 20, 10, 30, 20, 10]))(steps)
    assert of(np.ones(6)) == pytest.approx(-1)


WEIGHED = ["auroc", "wrong_step_precision", "calibration_error"]
"""The others choose thresholds, which more copies of a question may move."""


@pytest.mark.parametrize("name", WEIGHED)
def test_a_weight_is_a_number_of_copies(name):
    generator = np.random.default_rng(0)
    question = np.repeat(np.arange(12), 5)
    scores, right = generator.random(60).round(1), generator.random(60) < 0.6
    weights = generator.integers(0, 3, 12)
    measure = step_quality.MEASURES[name]
    ours = measure(JudgedSteps(scores, right, question, question))(weights[question].astype(float))
    copies = np.concatenate([np.flatnonzero(question == q) for q in range(12) for _ in range(weights[q])])
    trace = np.repeat(np.arange(weights.sum()), 5)
    theirs = measure(JudgedSteps(scores[copies], right[copies], trace, trace))(np.ones(len(copies)))
    assert ours == pytest.approx(theirs)


def test_the_interval_draws_questions_not_steps():
    """Ten copies of a question's steps tell no more than one: the interval must not shrink."""
    generator = np.random.default_rng(1)
    question = np.repeat(np.arange(30), 4)
    right = generator.random(120) < 0.5
    scores = right * 0.3 + generator.random(120)
    steps = JudgedSteps(scores, right, question, question)
    copied = JudgedSteps(*(np.repeat(column, 10) for column in (scores, right, question, question)))
    one, ten = (estimate(of_questions(found, auroc), 30) for found in (steps, copied))
    assert (ten.value, ten.low, ten.high) == pytest.approx((one.value, one.low, one.high))
    assert one.low < one.value < one.high


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Scores of right steps are normal and 1 above those of wrong ones, with a shift that a question's steps share: the
    AUROC over all steps is Phi(1 / sqrt(2 (1 + 0.5^2)))."""
    from scipy.stats import norm

    truth = norm.cdf(1 / np.sqrt(2 * 1.25))
    generator = np.random.default_rng(2)
    held = 0
    for _ in range(60):
        question = np.repeat(np.arange(100), 4)
        right = generator.random(400) < 0.5
        scores = right + generator.normal(size=400) + np.repeat(0.5 * generator.normal(size=100), 4)
        steps = JudgedSteps(scores, right, question, question)
        found = estimate(of_questions(steps, auroc), 100)
        held += found.low <= truth <= found.high
    assert 53 <= held <= 60
