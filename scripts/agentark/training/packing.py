"""Examples one behind the other in a row, without padding: positions begin anew with each, and each reads itself alone.

Block-diagonal masks would do the same for the square of a row's length; here attention goes through PyTorch's kernels
once for each example.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

_NAME = "each_example_by_itself"
_LAYERS = {"full_attention", "sliding_attention"}


def prepare(model: PreTrainedModel) -> bool:
    """Let a model read packed rows, if every one of its layers is attention that takes another implementation.

    Returns:
        Whether it does; a model that mixes tokens in other ways (state spaces, linear or chunked attention) does not.
    """
    layers = getattr(model.config.get_text_config(), "layer_types", None) or _LAYERS
    if model.config._attn_implementation != "sdpa" or not model._supports_attention_backend or set(layers) - _LAYERS:
        return False
    model.set_attn_implementation(_NAME)
    return True


@contextmanager
def unpacked(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """While it reads other rows, as in generation."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    packs = base.config._attn_implementation == _NAME
    if packs:
        base.set_attn_implementation("sdpa")
    yield
    if packs:
        base.set_attn_implementation(_NAME)


def places(rows: list[Tensor]) -> dict[str, Tensor]:
    """Where tokens of a packed row stand.

    Args:
        rows: (T_i,) token ids, one tensor an example.

    Returns:
        `position_ids` (1, sum T_i), and `starts` (N + 1,): where each example begins, and where the last one ends.
    """
    lengths = [len(row) for row in rows]
    return {
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "starts": torch.tensor([0, *lengths]).cumsum(0),
    }


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    starts: list[int],
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """(1, H, T, D) each; returns (1, T, H, D)."""
    read = []
    for start, end in pairwise(starts):
        mask = None
        if sliding_window is not None and end - start > sliding_window:
            place = torch.arange(end - start, device=query.device)
            behind = place[:, None] - place
            mask = (behind >= 0) & (behind < sliding_window)
        part = [states[:, :, start:end] for states in (query, key, value)]
        read.append(sdpa_attention_forward(module, *part, mask, **options)[0])
    return torch.cat(read, dim=1), None


AttentionInterface.register(_NAME, _attend)
