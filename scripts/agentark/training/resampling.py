"""Groups whose rollouts all earn the same teach GRPO nothing: those of other questions take their places.

Source: dynamic sampling of DAPO, arXiv 2503.14476; here with a limit.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from agentark.training import processes


def alike(rewards: Tensor, group_size: int) -> list[bool]:
    """Of each group, whether its rollouts all earn the same, or nothing that counts.

    Args:
        rewards: (groups * group_size,), NaN for a rollout that nothing could judge.
    """
    groups = rewards.view(-1, group_size)
    least, most = groups.nan_to_num(torch.inf).amin(dim=1), groups.nan_to_num(-torch.inf).amax(dim=1)
    return (most - least < 1e-6).tolist()


def places(alike: Sequence[bool]) -> list[int]:
    """The groups to roll out anew, by number: those that are alike, filled up with others to as many as every process
    needs, since all take part in a rollout or none."""
    wanted = [number for number, same in enumerate(alike) if same]
    (most,) = processes.largest(len(wanted))
    return (wanted + [number for number, same in enumerate(alike) if not same])[:most]


def replaced(
    batch: dict[str, Any], fresh: dict[str, Any], rows: Sequence[tuple[int, int]], pad_id: int
) -> dict[str, Any]:
    """A batch with some of its rollouts replaced.

    Args:
        batch, fresh: rollouts as TRL's trainer makes them: prompts padded on the left, all else on the right.
        rows: which row of the batch is replaced by which one of `fresh`.
    """
    old, new = (list(column) for column in zip(*rows, strict=True))
    together = {}
    for name, mine in batch.items():
        theirs = fresh[name]
        if not isinstance(mine, Tensor) or mine.dim() == 0:
            together[name] = mine
            continue
        if mine.dim() == 2:
            width = max(mine.shape[1], theirs.shape[1])
            value = pad_id if name.endswith("_ids") else 0
            mine, theirs = (wider(rows, width, value, left=name.startswith("prompt")) for rows in (mine, theirs))
        together[name] = mine.clone()
        together[name][old] = theirs[new]
    return together


def wider(rows: Tensor, width: int, value: int, *, left: bool) -> Tensor:
    missing = width - rows.shape[1]
    return nn.functional.pad(rows, (missing, 0) if left else (0, missing), value=value)
