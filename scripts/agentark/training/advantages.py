"""Advantages of single tokens: what the steps from there on earn, against the rest of the group (PURE's algorithm).

Differs from PURE (arXiv 2504.15275) and the paper's code: tokens that end a step, the end of the turn among them, are
trained like any other; theirs get an advantage of 0, so that stopping is never learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from agentark.training.rewards import SOFTMIN_TEMPERATURE

Credit = Literal["min_form", "clip", "delta"]
CLIP_ABOVE = 0.5
"""Probability that a step is right above which `clip` rewards nothing."""


@dataclass(frozen=True)
class ScoredRollout:
    """One completion: the scores of its steps, where they end, and what else it earned."""

    scores: list[float]
    """(S,), in [0, 1]."""
    ends: list[int]
    """(S,), the last token of each step; what follows the last step's end belongs to it."""
    n_tokens: int
    at_end: float = 0.0
    """Weighted sum of the rewards that are given once, at the last token."""


def step_rewards(scores: Tensor, credit: Credit) -> Tensor:
    """A reward for each step.

    Args:
        scores: (S,) in [0, 1].
        credit: `min_form`: p = 2s - 1, weighted by softmax(-p / 0.1), so that they sum to nearly the least p (PURE).
            `clip`: min(s - 0.5, 0), so that right steps earn nothing, however many; `delta`: s_t - s_{t+1}, the last
            one s_S, so that what a token's later steps earn is its own step's score, however many follow (both
            arXiv 2410.15115).

    Returns:
        (S,).
    """
    if credit == "clip":
        return (scores - CLIP_ABOVE).clamp(max=0)
    if credit == "delta":
        return scores - torch.cat([scores[1:], scores.new_zeros(1)])
    p = 2 * scores - 1
    return torch.softmax(-p / SOFTMIN_TEMPERATURE, dim=0) * p


def token_advantages(group: Sequence[ScoredRollout], credit: Credit, process_weight: float = 1.0) -> list[Tensor]:
    """Returns of each token of a question's rollouts, against the mean of the others.

    With `min_form` the baseline of a step is what the other rollouts earned a token, times its tokens (PURE): by the
    step, few long ones would pay. With `clip` and `delta`, whose rewards do not sum to one step's, it would pay for
    length or against it; there, and for what is given at the end, it is the others' mean (RLOO).

    Args:
        group: (G,), at least two.

    Returns:
        (T_i,) each. Not whitened: `whiten` does that over all groups of an update.
    """
    # A completion without a step gets the worst reward: saying nothing must not pay.
    ends = [
        [*rollout.ends[: len(rollout.scores) - 1], rollout.n_tokens - 1] if rollout.scores else [rollout.n_tokens - 1]
        for rollout in group
    ]
    earned = [
        process_weight * step_rewards(torch.tensor(rollout.scores or [0.0], dtype=torch.float64), credit)
        for rollout in group
    ]
    totals, lengths = [rewards.sum() for rewards in earned], [rollout.n_tokens for rollout in group]
    at_end = [rollout.at_end for rollout in group]
    advantages = []
    for i, rollout in enumerate(group):
        others = len(group) - 1
        per_token = (sum(totals) - totals[i]) / max(sum(lengths) - lengths[i], 1) if credit == "min_form" else 0.0
        at_once = 0.0 if credit == "min_form" else (sum(totals) - totals[i]) / others
        rewards = torch.zeros(rollout.n_tokens, dtype=torch.float64)
        last = torch.tensor(ends[i])
        n_tokens = torch.diff(last, prepend=torch.tensor([-1]))
        rewards.index_add_(0, last, earned[i] - per_token * n_tokens)
        rewards[-1] += at_end[i] - (sum(at_end) - at_end[i]) / others - at_once
        advantages.append(rewards.flip(0).cumsum(0).flip(0))
    return advantages


def whiten(advantages: Sequence[Tensor]) -> list[Tensor]:
    """All tokens together, with mean 0 and deviation 1; zeros where all are equal.

    Args:
        advantages: (T_i,) each.
    """
    every = torch.cat(list(advantages))
    deviation = every.std(correction=0)
    if deviation < 1e-8:
        return [torch.zeros_like(values) for values in advantages]
    return [(values - every.mean()) / deviation for values in advantages]
