import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agentark.training.advantages import ScoredRollout, step_rewards, token_advantages, whiten


def written_out(group: list[ScoredRollout], weight: float) -> list[list[float]]:
    """PURE's steps 3 to 8 (paper.md, section 7), loop by loop."""
    step_values, totals = [], []
    for rollout in group:
        p = [2 * score - 1 for score in rollout.scores]
        exps = [math.exp(-value / 0.1) for value in p]
        values = [weight * e / sum(exps) * value for e, value in zip(exps, p, strict=True)]
        step_values.append(values)
        totals.append(sum(values))
    found = []
    for i, rollout in enumerate(group):
        others = [j for j in range(len(group)) if j != i]
        baseline = sum(totals[j] for j in others) / sum(group[j].n_tokens for j in others)
        rewards = [0.0] * rollout.n_tokens
        ends = [*rollout.ends[:-1], rollout.n_tokens - 1]
        begin = 0
        for value, end in zip(step_values[i], ends, strict=True):
            rewards[end] += value - baseline * (end + 1 - begin)
            begin = end + 1
        rewards[-1] += rollout.at_end - statistics.fmean(group[j].at_end for j in others)
        found.append([sum(rewards[k:]) for k in range(rollout.n_tokens)])
    return found


@st.composite
def rollouts(draw: st.DrawFn) -> ScoredRollout:
    n_tokens = draw(st.integers(3, 12))
    ends = sorted(draw(st.sets(st.integers(0, n_tokens - 1), min_size=1, max_size=3)))
    scores = draw(st.lists(st.floats(0, 1), min_size=len(ends), max_size=len(ends)))
    return ScoredRollout(scores, ends, n_tokens, draw(st.sampled_from([0.0, 1.0])))


@given(st.lists(rollouts(), min_size=2, max_size=5), st.sampled_from([1.0, 0.5]))
def test_returns_are_those_of_the_formulas_written_out(group, weight):
    """T8."""
    found = token_advantages(group, "min_form", weight)
    for ours, theirs in zip(found, written_out(group, weight), strict=True):
        assert ours.tolist() == pytest.approx(theirs, abs=1e-9)


def test_step_rewards_of_the_least_step_are_golden():
    """G3, whose p are those of scores (p + 1) / 2."""
    rewards = step_rewards(torch.tensor([0.95, 0.6, 0.75]), "min_form")
    assert rewards.tolist() == pytest.approx([0.00078, 0.19035, 0.02369], abs=1e-5)


def test_baselines_are_golden():
    """G4: one step each, whose scores make R = [0.2, -0.4, 0.6]."""
    lengths = [10, 20, 10]
    group = [ScoredRollout([s], [n - 1], n) for s, n in zip([0.6, 0.3, 0.8], lengths, strict=True)]
    baselines = [
        (total - row[0].item()) / n
        for total, row, n in zip([0.2, -0.4, 0.6], token_advantages(group, "min_form"), lengths, strict=True)
    ]
    assert baselines == pytest.approx([0.00667, 0.04, -0.00667], abs=1e-5)


def test_what_is_given_at_the_end_is_compared_with_the_others():
    """G5; equal steps of equal length leave nothing else."""
    group = [ScoredRollout([0.7], [3], 4, at_end=solved) for solved in (1, 0, 0, 1)]
    found = [row.tolist() for row in token_advantages(group, "min_form")]
    for row, expected in zip(found, [0.6667, -0.6667, -0.6667, 0.6667], strict=True):
        assert row == pytest.approx([expected] * 4, abs=1e-4)


def test_right_steps_earn_nothing_by_number_when_clipped():
    assert step_rewards(torch.tensor([0.9, 0.5, 0.2]), "clip").tolist() == pytest.approx([0, 0, -0.3])


@pytest.mark.parametrize("n_steps", [1, 3])
def test_right_steps_more_or_fewer_return_the_same_when_clipped(n_steps):
    rival = ScoredRollout([0.2], [9], 10)
    right = ScoredRollout([0.9] * n_steps, [10 * n + 9 for n in range(n_steps)], 10 * n_steps)
    assert token_advantages([right, rival], "clip")[0].tolist() == pytest.approx([0.3] * 10 * n_steps)


def test_differences_of_scores_return_the_next_step_s_score():
    returns = step_rewards(torch.tensor([0.9, 0.4, 0.7]), "delta").flip(0).cumsum(0).flip(0)
    assert returns.tolist() == pytest.approx([0.9, 0.4, 0.7])


def test_a_completion_without_steps_is_as_bad_as_a_wrong_one():
    silent, wrong = ScoredRollout([], [], 1), ScoredRollout([0.0], [0], 1)
    other = ScoredRollout([0.9], [4], 5)
    found = [token_advantages([one, other], "min_form") for one in (silent, wrong)]
    assert [row.tolist() for row in found[0]] == [row.tolist() for row in found[1]]
    assert found[0][0][0] < 0


def test_whitened_tokens_have_mean_0_and_deviation_1():
    """R3: over all tokens, those with an advantage of 0 among them."""
    rows = whiten([torch.tensor([0.0, 1.0, 3.0]), torch.tensor([0.0])])
    every = torch.cat(rows)
    assert every.mean().item() == pytest.approx(0, abs=1e-6)
    assert every.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert [len(row) for row in rows] == [3, 1]
    assert whiten([torch.full((2,), 0.4), torch.full((1,), 0.4)])[0].tolist() == [0, 0]
