"""Intervals over training seeds: worked values, an independent analysis of variance, and coverage by simulation."""

from math import sqrt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, t
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from agentark.evaluation.over_seeds import interval, paired_over_seeds
from agentark.evaluation.statistics import paired, wilson

tables_of_answers = st.integers(2, 5).flatmap(
    lambda n_seeds: st.lists(st.lists(st.booleans(), min_size=n_seeds, max_size=n_seeds), min_size=1, max_size=30)
)


def test_a_difference_worked_out_by_hand() -> None:
    # Differences 1 0 / 0 0 and the questions that are added, 1 1 / -1 -1. Their mean is 1/8; sums of squares: all
    # 4.875, questions 4.375 (df 3), seeds 0.125 (df 1), rest 0.375 (df 3).
    result = paired_over_seeds(np.array([[True, False], [False, False]]), np.zeros((2, 2), bool))
    error = sqrt((4.375 / 3 + 0.125 - 0.125) / 8)
    df = (4.375 / 3) ** 2 / ((4.375 / 3) ** 2 / 3 + 0.125**2 / 1 + 0.125**2 / 3)
    assert result.difference == 0.25
    assert result.p_value == pytest.approx(2 * t.sf(0.125 / error, df))
    assert result.detectable == pytest.approx((t.ppf(0.975, df) + t.ppf(0.8, df)) * error)
    assert (result.n_better, result.n_worse, result.n) == (1, 0, 2)
    assert (result.low, result.high) == (-1, 1)


@pytest.mark.parametrize(("n_questions", "n_seeds"), [(40, 2), (25, 3), (60, 5)])
def test_the_interval_of_an_analysis_of_variance_by_another_library(n_questions: int, n_seeds: int) -> None:
    chance = np.random.default_rng(n_seeds)
    ability = chance.normal(0, 2, (n_questions, 1)) + chance.normal(0, 0.5, n_seeds)
    correct = ability + chance.normal(0, 1, (n_questions, n_seeds)) > 0
    with_four = np.vstack([correct, np.repeat([[1], [1], [0], [0]], n_seeds, axis=1)])
    long = pd.DataFrame(
        [(q, s, y) for (q, s), y in np.ndenumerate(with_four.astype(float))], columns=["question", "seed", "y"]
    )
    table = anova_lm(ols("y ~ C(question) + C(seed)", long).fit())
    squares, dfs = table["mean_sq"].to_numpy(), table["df"].to_numpy()
    combined = max(squares[0] + squares[1] - squares[2], squares[0], squares[1])
    df = max(combined**2 / (squares**2 / dfs).sum(), n_seeds - 1)
    half = t.ppf(0.975, df) * sqrt(combined / with_four.size)
    middle = with_four.mean()
    assert interval(correct) == pytest.approx((max(0, middle - half), min(1, middle + half)))


@settings(deadline=None)
@given(tables_of_answers)
def test_an_interval_holds_the_accuracy_in_whatever_order_the_answers_come(verdicts: list[list[bool]]) -> None:
    correct = np.array(verdicts)
    low, high = interval(correct)
    assert 0 <= low <= correct.mean() <= high <= 1
    assert interval(correct[::-1, ::-1]) == pytest.approx((low, high))
    against = paired_over_seeds(correct, np.zeros_like(correct))
    assert -1 <= against.low <= against.difference <= against.high <= 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60), st.integers(2, 5))
def test_seeds_that_agree_tell_no_more_than_one(verdicts: list[tuple[bool, bool]], n_seeds: int) -> None:
    ours, theirs = np.array(verdicts).T
    same, other = (np.repeat(one[:, None], n_seeds, axis=1) for one in (ours, theirs))
    low, high = interval(same)
    one_low, one_high = wilson(int(ours.sum()), len(ours))
    assert high - low >= one_high - one_low or (low, high) == (0, 1)
    over, alone = paired_over_seeds(same, other), paired(ours, theirs)
    assert over.difference == alone.difference
    assert (over.n_better, over.n_worse) == (alone.n_better, alone.n_worse)
    assert over.low <= alone.low
    assert over.high >= alone.high
    assert over.detectable >= alone.detectable


def test_the_two_models_can_change_places() -> None:
    chance = np.random.default_rng(0)
    ours, theirs = chance.random((2, 50, 3)) < 0.6
    there, back = paired_over_seeds(ours, theirs), paired_over_seeds(theirs, ours)
    assert there.p_value == pytest.approx(back.p_value)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_questions_about_one_text_are_the_clusters_of_another_library() -> None:
    chance = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), chance.integers(1, 9, 12))
    ours = np.clip(0.5 + chance.normal(0, 0.2, 12)[groups] + chance.normal(0, 0.1, len(groups)), 0, 1)
    theirs = np.clip(ours - 0.1 + chance.normal(0, 0.1, len(groups)), 0, 1)
    found = paired_over_seeds(ours[:, None], theirs[:, None], groups)
    frame = pd.DataFrame({"d": ours - theirs})
    fit = ols("d ~ 1", frame).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    assert found.p_value == pytest.approx(fit.pvalues["Intercept"])
    assert (found.low, found.high) == pytest.approx(tuple(fit.conf_int().loc["Intercept"]))


@pytest.mark.parametrize(("n_texts", "most"), [(1, 0), (2, 0.08), (3, 0.08), (5, 0.08), (20, 0.08)])
def test_of_few_texts_little_is_called_a_difference(n_texts: int, most: float) -> None:
    """Two models that are alike, on texts that suit one or the other: how often a test at 5 % says that they differ."""
    chance = np.random.default_rng(n_texts)
    groups = np.repeat(np.arange(n_texts), 20)
    found = 0
    for _ in range(500):
        suits = chance.normal(0, 0.2, n_texts)[groups]
        ours, theirs = (chance.random(len(groups)) < 0.5 + sign * suits for sign in (1, -1))
        found += paired_over_seeds(ours[:, None], theirs[:, None], groups).p_value < 0.05
    assert found / 500 <= most


def test_of_one_text_nothing_is_known_about_others() -> None:
    groups = np.array([7, 7])
    for values in (np.array([[0.5], [0.6]]), np.array([[True], [False]])):
        assert interval(values, groups) == (0, 1)
        assert paired_over_seeds(values, np.zeros_like(values), groups).p_value == 1


def test_each_question_a_text_of_its_own_is_no_group_at_all() -> None:
    ours, theirs = np.random.default_rng(1).random((2, 40, 3))
    assert paired_over_seeds(ours, theirs, np.arange(40)) == paired_over_seeds(ours, theirs)
    with_texts = paired_over_seeds(ours, theirs, np.repeat(np.arange(8), 5))
    assert with_texts.difference == paired_over_seeds(ours, theirs).difference


class Population:
    """Questions of different difficulty and seeds of different luck; its true accuracies are known.

    An answer is right where the model's level and the effects of question, of the question on this model, of the
    training seed and of chance are above 0 together, all normal.
    """

    EASE, SUITS = 2.0, 0.6
    """Standard deviations of a question's ease and of how it suits one model."""

    def __init__(self, n_questions: int, n_seeds: int, luck: float = 0.06) -> None:
        """`luck`: standard deviation of a seed; 0.06 is a point of accuracy."""
        self.luck = luck
        self.chance = np.random.default_rng(1000 * n_questions + n_seeds)
        self.shape = n_questions, n_seeds

    def drawn(self, level: float, base_level: float) -> tuple[np.ndarray, np.ndarray]:
        """Answers of a trained model under each seed, and of its base, on the same questions."""
        n_questions, n_seeds = self.shape
        ease = self.chance.normal(0, self.EASE, (n_questions, 1))
        suits = self.chance.normal(0, self.SUITS, (n_questions, 1))
        luck = self.chance.normal(0, self.luck, n_seeds)
        correct = level + ease + suits + luck + self.chance.normal(0, 1, self.shape) > 0
        base = base_level + ease + self.chance.normal(0, 1, (n_questions, 1)) > 0
        return correct, np.repeat(base, n_seeds, axis=1)

    def accuracy(self, level: float) -> float:
        return float(norm.cdf(level / sqrt(self.EASE**2 + self.SUITS**2 + self.luck**2 + 1)))

    def base_accuracy(self, level: float) -> float:
        return float(norm.cdf(level / sqrt(self.EASE**2 + 1)))


@pytest.mark.parametrize(
    ("n_questions", "n_seeds", "luck"),
    [
        (100, 2, 0.06),
        (100, 3, 0.06),
        (100, 5, 0.06),
        (1000, 2, 0.06),
        (1000, 3, 0.06),
        (1000, 5, 0.06),
        (1000, 5, 0.25),
    ],
)
def test_intervals_cover_what_is_true(n_questions: int, n_seeds: int, luck: float) -> None:
    population = Population(n_questions, n_seeds, luck)
    level, base_level = 1.6, 1.2
    accuracy = population.accuracy(level)
    difference = accuracy - population.base_accuracy(base_level)
    n_studies = 500
    covered = covered_difference = covered_as_if_all_apart = 0
    for _ in range(n_studies):
        correct, base = population.drawn(level, base_level)
        low, high = interval(correct)
        covered += low <= accuracy <= high
        low, high = wilson(int(correct.sum()), correct.size)
        covered_as_if_all_apart += low <= accuracy <= high
        result = paired_over_seeds(correct, base)
        covered_difference += result.low <= difference <= result.high
    # 95 % of 500 studies, and three standard errors of such a count.
    assert 0.92 <= covered / n_studies <= 0.99
    assert 0.92 <= covered_difference / n_studies <= 0.99
    # The same studies, had every answer been to a question of its own.
    assert covered_as_if_all_apart / n_studies < 0.9


def test_a_model_that_is_its_base_seldom_differs_from_it() -> None:
    population = Population(300, 3)
    level = 1.2 * sqrt((population.EASE**2 + population.SUITS**2 + population.luck**2 + 1) / (population.EASE**2 + 1))
    found = sum(paired_over_seeds(*population.drawn(level, 1.2)).p_value < 0.05 for _ in range(500))
    assert 0.01 <= found / 500 <= 0.08
