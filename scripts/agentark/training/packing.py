"""Examples one behind the other in a row, without padding: positions begin anew with each, and each reads itself alone.

Block-diagonal masks would do the same for the square of a row's length; here attention goes through PyTorch's kernels
once for each example, or for each tree of those that begin alike (`trees`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate, pairwise
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

_NAME = "each_example_by_itself"
FAMILIES = {
    "gemma", "gemma3_text", "gpt2", "granite", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3", "qwen3_moe",
    "smollm3",
}  # fmt: skip
"""Those of which tests/unit/training/test_packing.py shows that nothing but attention reads other tokens. In other
models something may: a state (Mamba, RecurrentGemma), linear attention (Qwen3-Next), a mask that is learnt (Doge)."""


def prepare(model: PreTrainedModel) -> bool:
    """Let a model read packed rows.

    Returns:
        Whether it does: it is of a family that is known to, and its attention is PyTorch's.
    """
    if model.config.model_type not in FAMILIES or model.config._attn_implementation != "sdpa":
        return False
    model.set_attn_implementation(_NAME)
    return True


def packs(model: PreTrainedModel) -> bool:
    """Whether it reads packed rows, and no others."""
    return model.config._attn_implementation == _NAME


@contextmanager
def unpacked(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """While it reads other rows, as in generation."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    packed = packs(base)
    if packed:
        base.set_attn_implementation("sdpa")
    yield
    if packed:
        base.set_attn_implementation(_NAME)


def places(rows: list[Tensor]) -> dict[str, Any]:
    """Where tokens of a packed row stand.

    Args:
        rows: (T_i,) token ids, one tensor an example.

    Returns:
        `position_ids` (1, sum T_i), and `starts`, N + 1 numbers: where each example begins, and where the last one
        ends.
    """
    return {
        "position_ids": torch.cat([torch.arange(len(row)) for row in rows])[None],
        "starts": list(accumulate(map(len, rows), initial=0)),
    }


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    starts: list[int],
    masks: list[Tensor | None] | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """(1, H, T, D) each; returns (1, T, H, D).

    Args:
        masks: (T_i, T_i), for each part of the row that is no sequence but a tree of them, which token reads which.
    """
    read = []
    for (start, end), mask in zip(pairwise(starts), masks or [None] * (len(starts) - 1), strict=True):
        if sliding_window is not None and end - start > sliding_window:
            if mask is None:
                mask = torch.ones(end - start, end - start, dtype=torch.bool, device=query.device).tril()
            place = mask.sum(dim=1)
            mask = mask & (place[:, None] - place < sliding_window)
        part = [states[:, :, start:end] for states in (query, key, value)]
        read.append(sdpa_attention_forward(module, *part, mask, **options)[0])
    return torch.cat(read, dim=1), None


AttentionInterface.register(_NAME, _attend)
