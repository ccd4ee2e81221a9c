"""Sequences that begin alike, read once where they do: a packed row of trees, in which a token reads what stands before
it in its own sequences.

Traces of a question share its prompt and often their first steps, planted errors all that comes before them, and
prompts the template's preamble.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TOKENS_PER_TREE = 2048 if torch.cuda.is_available() else 512
"""Attention takes the square of these, also where they do not read each other. A tree may have four times as many where
a sequence has more in common with the one before than it adds: long prompts are worth it."""


@dataclass(frozen=True)
class Forest:
    """A row of N tokens."""

    input_ids: Tensor
    """(1, N)."""
    places: dict[str, Any]
    """Where they stand, as models that read packed rows take it (`packing`); others read a single sequence."""
    parents: Tensor
    """(N,), the token that each is foretold by; -1 for those that begin a tree."""
    paths: list[Tensor]
    """(T_i,), where each sequence's tokens stand in the row."""


Trees = list[list[int]]
"""The trees of a pass, each the numbers of its sequences, those that begin alike beside each other."""


def passes(rows: Sequence[Sequence[int]], tokens: int, packs: bool) -> list[Trees]:
    """Which sequences go through a model together.

    Args:
        rows: (T_i,) token ids, one sequence each.
        tokens: how many different ones a pass has at most; a longer sequence goes alone.
        packs: whether the model reads packed rows. If not, every sequence goes alone.

    Returns:
        The trees of each pass.
    """
    found: list[Trees] = []
    in_tree = in_pass = 0
    for number in sorted(range(len(rows)), key=lambda number: rows[number]):
        row = rows[number]
        if packs and found:
            n_common = _n_common(rows[found[-1][-1][-1]], row)
            more = len(row) - n_common
            most = 4 * TOKENS_PER_TREE if n_common > more else TOKENS_PER_TREE
            if in_tree + more <= most and in_pass + more <= tokens:
                found[-1][-1].append(number)
                in_tree, in_pass = in_tree + more, in_pass + more
                continue
            if in_pass + len(row) <= tokens:
                found[-1].append([number])
                in_tree, in_pass = len(row), in_pass + len(row)
                continue
        found.append([[number]])
        in_tree = in_pass = len(row)
    return found


def grow(rows: Sequence[Sequence[int]], trees: Trees) -> Forest:
    """The row of some trees; `paths` are in the order in which these name the sequences."""
    ids: list[int] = []
    positions: list[int] = []
    parents: list[int] = []
    starts, masks, paths = [0], [], []
    for tree in trees:
        blocks: list[tuple[list[int], int, int]] = []
        before: Sequence[int] = []
        path: list[int] = []
        for number in tree:
            row = rows[number]
            n_common = _n_common(before, row)
            first, before = len(ids), row
            ids += row[n_common:]
            positions += range(n_common, len(row))
            path = path[:n_common]
            if n_common < len(row):
                parents += [path[-1] if path else -1, *range(first, len(ids) - 1)]
                blocks.append((path, first, len(ids)))
            path = [*path, *range(first, len(ids))]
            paths.append(torch.tensor(path))
        masks.append(_mask(blocks, starts[-1], len(ids)))
        starts.append(len(ids))
    places = {"position_ids": torch.tensor([positions]), "starts": starts, "masks": masks}
    return Forest(torch.tensor([ids]), places, torch.tensor(parents), paths)


def _mask(blocks: list[tuple[list[int], int, int]], start: int, end: int) -> Tensor | None:
    """(T, T), which token of a tree reads which; None for a single block, where each reads all before it."""
    if len(blocks) == 1:
        return None
    mask = torch.zeros(end - start, end - start, dtype=torch.bool)
    for path, first, last in blocks:
        own = slice(first - start, last - start)
        mask[own, torch.tensor(path, dtype=torch.long) - start] = True
        mask[own, own] = torch.ones(last - first, last - first, dtype=torch.bool).tril()
    return mask


def _n_common(one: Sequence[int], other: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
