"""From the scores of a completion's steps to one reward (`R_phi(o_i)` of paper Eq. 5, whose aggregate is not given)."""

import torch
from torch import Tensor

SOFTMIN_TEMPERATURE = 0.1


def softmin(scores: Tensor, temperature: float = SOFTMIN_TEMPERATURE) -> Tensor:
    """Mean of the scores, weighted towards the lowest; tends to the minimum as the temperature tends to 0.

    Args:
        scores: (S,) in [-1, 1].

    Returns:
        A scalar.

    Source: PURE, arXiv 2504.15275 (min-form credit assignment): sums reward a repeated correct but useless step.
    """
    return (torch.softmax(-scores / temperature, dim=0) * scores).sum()


def aggregate(step_scores: list[float], how: str) -> float:
    """One reward from the step scores of one completion.

    Args:
        step_scores: probabilities that a step is consistent, in [0, 1], in order. A completion without a step gets
            the worst reward: saying nothing must not pay.
        how: `softmin` (in [-1, 1], over 2s - 1), else `min`, `mean`, `last` or `product` (in [0, 1]).
    """
    return AGGREGATES[how](torch.tensor(step_scores or [0.0])).item()


AGGREGATES = {
    "softmin": lambda scores: softmin(2 * scores - 1),
    "min": torch.min,
    "mean": torch.mean,
    "last": lambda scores: scores[-1],
    "product": torch.prod,
}
