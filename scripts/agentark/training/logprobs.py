"""Log-probabilities of given tokens, without the logits of tokens that nobody asks for."""

import torch
from torch import Tensor, nn


def token_logps(
    model: nn.Module, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Log-probability of each next token that is labelled, and the entropy of its distribution (no gradient).

    For CPUs. TRL's fused head, which we use on GPUs, scores prompt and padding as well there, and accumulates its
    gradients in float32 products: half of a small model's training time. Here the head sees a position only if some
    row of the batch has a label for it.

    Args:
        model: causal language model that takes `logits_to_keep`.
        input_ids: (B, T).
        attention_mask: (B, T), 0 on padding.
        labels: (B, T), -100 where no log-probability is wanted.
        temperature: the logits are divided by it.

    Returns:
        Two (B, T-1) float32, zero where the label of the next token is -100.
    """
    targets = labels[:, 1:]
    wanted = targets != -100
    kept = wanted.any(dim=0).nonzero().squeeze(1)
    logits = model(input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=kept, use_cache=False).logits
    logits = logits[wanted[:, kept]].float() / temperature
    logps = torch.log_softmax(logits, dim=-1)
    with torch.no_grad():
        entropy = -(logps.exp() * logps).sum(dim=-1)
    chosen = logps.gather(1, targets[wanted].unsqueeze(1)).squeeze(1)
    empty = torch.zeros(targets.shape, device=logits.device)
    return empty.masked_scatter(wanted, chosen), empty.masked_scatter(wanted, entropy)
