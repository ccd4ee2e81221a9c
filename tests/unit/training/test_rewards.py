import pytest
import torch

from agentark.training.rewards import aggregate, softmin


def test_softmin_golden_value():
    """G3."""
    assert softmin(torch.tensor([0.9, 0.2, 0.5])).item() == pytest.approx(0.21482, abs=1e-5)


def test_softmin_tends_to_the_minimum():
    scores = torch.tensor([0.9, -0.3, 0.5])
    assert softmin(scores, temperature=0.001).item() == pytest.approx(-0.3, abs=1e-6)
    assert softmin(scores, temperature=1e6).item() == pytest.approx(scores.mean().item(), abs=1e-5)


@pytest.mark.parametrize(
    ("how", "expected"), [("min", 0.2), ("mean", 0.5), ("last", 0.5), ("product", 0.08), ("softmin", -0.59851)]
)
def test_aggregates(how, expected):
    # softmin: p = [0.6, -0.6, 0.0], weights exp(-10 p) / sum = [6.1e-6, 0.99752, 0.00247], sum of products -0.59851
    assert aggregate([0.8, 0.2, 0.5], how) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("how", ["softmin", "min", "mean", "last", "product"])
def test_a_completion_without_steps_gets_the_worst_reward(how):
    assert aggregate([], how) == aggregate([0.0], how)
    assert aggregate([], how) <= aggregate([0.01, 0.02], how)


def test_repeating_a_good_step_pays_nothing():
    """Sums would pay for it."""
    once, often = aggregate([0.9, 0.4], "softmin"), aggregate([0.9, 0.4, 0.9, 0.9, 0.9], "softmin")
    assert often == pytest.approx(once, abs=0.01)
