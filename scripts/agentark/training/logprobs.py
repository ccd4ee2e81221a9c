"""Log-probabilities of given tokens, without the logits of tokens that nobody asks for."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Cache


def token_logps(
    model: nn.Module,
    input_ids: Tensor,
    labels: Tensor,
    temperature: float = 1.0,
    with_entropy: bool = False,
    past: Cache | None = None,
    **places: Any,
) -> tuple[Tensor, Tensor | None]:
    """Log-probability of each next token that is labelled, and the entropy of its distribution (no gradient).

    For CPUs. TRL's fused head, which we use on GPUs, scores prompt and padding as well there, and accumulates its
    gradients in float32 products: a third of a small model's training time. Here the head sees a position only if
    some row of the batch has a label for it.

    Args:
        model: causal language model that takes `logits_to_keep`.
        input_ids: (B, T).
        labels: (B, T), -100 where no log-probability is wanted.
        temperature: the logits are divided by it.
        past: what the model has read before, of each row.
        places: where the tokens stand, as the model takes it: `attention_mask` (B, T), 0 on padding, or (B, P + T)
            behind P tokens that it has read; `position_ids` (B, T); or those of `packing`.

    Returns:
        Both (B, T-1) float32, zero where the next token has no label.
    """
    targets = labels[:, 1:]
    kept = (targets != -100).any(dim=0).nonzero().squeeze(1)
    read = {"use_cache": False} if past is None else {"past_key_values": past}
    logits = model(input_ids=input_ids, logits_to_keep=kept, **places, **read).logits
    logits = logits.float() / temperature if temperature != 1.0 else logits.float()
    # Unlabelled positions among the kept ones stay in: to take them out, and their gradients back in, costs two
    # copies of all logits.
    nll = functional.cross_entropy(logits.transpose(1, 2), targets[:, kept], reduction="none", ignore_index=-100)
    logps = torch.zeros(targets.shape, device=nll.device).index_copy(1, kept, -nll)
    if not with_entropy:
        return logps, None
    with torch.no_grad():
        kept_logps = torch.log_softmax(logits, dim=-1)
        entropy = -(kept_logps.exp() * kept_logps).sum(dim=-1) * (targets[:, kept] != -100)
        return logps, torch.zeros_like(logps).index_copy(1, kept, entropy)
