"""Published and hand-computed values of the intervals and tests."""

from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentark.evaluation.statistics import Paired, paired, wilson


def test_wilson_by_hand():
    # Centre (p + z^2/2n) / (1 + z^2/n) and half-width z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n), z = 1.959964
    assert wilson(5, 10) == pytest.approx((0.236593, 0.763407), abs=1e-6)
    assert wilson(0, 10) == pytest.approx((0.0, 0.277533), abs=1e-6)
    low, high = wilson(1187, 1319)
    assert (high - low) / 2 == pytest.approx(0.016, abs=5e-4)


@settings(deadline=None)
@given(st.integers(1, 3000), st.data())
def test_wilson_holds_the_proportion(n, data):
    n_correct = data.draw(st.integers(0, n))
    low, high = wilson(n_correct, n)
    wider = wilson(n_correct, n, confidence=0.99)
    assert 0 <= low <= n_correct / n <= high <= 1
    assert wider[0] <= low
    assert high <= wider[1]


@pytest.mark.parametrize(("n_correct", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_proportion_is_refused(n_correct, n):
    with pytest.raises(ValueError, match=r"proportion|no question"):
        wilson(n_correct, n)


def discordant(n_better: int, n_worse: int, n_both: int = 0) -> Paired:
    correct = [True] * n_better + [False] * n_worse + [True] * n_both
    base = [False] * n_better + [True] * n_worse + [True] * n_both
    return paired(correct, base)


def test_golden_mcnemar():
    result = discordant(20, 8, 72)
    assert result.p_value == pytest.approx(0.0357, abs=5e-5)
    assert (result.n_better, result.n_worse, result.n) == (20, 8, 100)
    assert result.difference == pytest.approx(0.12)


def test_golden_interval_of_a_paired_difference():
    # One child with an irritable airway before a transplantation only, seven after it only, of 21 (Bentur et al. 2009):
    # 2 and 8 of 23 after the two that are added, so -6/23 and the error sqrt((10/23 - (6/23)^2) / 23) = 0.126271.
    result = discordant(1, 7, 13)
    assert (result.low, result.high) == pytest.approx((-0.508355, -0.013384), abs=1e-5)
    # 2.801585 = 1.959964 + 0.841621
    assert result.detectable == pytest.approx(2.801585 * 0.126271, abs=1e-5)


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 5))
def test_a_paired_interval_holds_its_difference(n_better, n_worse, n_both):
    result, more = discordant(n_better, n_worse, n_both), discordant(n_better, n_worse, n_both + 100)
    assert -1 <= result.low <= result.difference <= result.high <= 1
    assert more.detectable < result.detectable


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 5))
def test_mcnemar_is_the_binomial_test_of_the_discordant(n_better, n_worse, n_both):
    n, k = n_better + n_worse, min(n_better, n_worse)
    expected = min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)
    result = discordant(n_better, n_worse, n_both)
    mirrored = discordant(n_worse, n_better, n_both)
    assert result.p_value == pytest.approx(expected)
    assert mirrored.p_value == pytest.approx(result.p_value)
    assert mirrored.difference == pytest.approx(-result.difference)


def test_unpaired_answers_are_refused():
    with pytest.raises(ValueError, match="nothing to compare"):
        paired([], [])
    with pytest.raises(ValueError, match="not pairs"):
        paired([True], [True, False])
