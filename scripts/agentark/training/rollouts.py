"""Rollouts on CPUs, where arithmetic is what takes the time: a prompt that several completions share is read once.

For one process, whose model is no wrapper that must see each forward pass. Or by vLLM, which on CPUs takes over weights
in its own way.
"""

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor
from transformers import Cache, GenerationConfig, PreTrainedModel
from trl.generation.vllm_generation import VLLMGeneration

from agentark.training.logprobs import token_logps


class Prompts(TypedDict):
    """Q prompts for B rows, padded on the left, so that every row's own tokens begin in the same column."""

    input_ids: Tensor
    """(Q, P)."""
    attention_mask: Tensor
    """(Q, P), 0 on padding."""
    position_ids: Tensor
    """(Q, P)."""
    rows: Tensor
    """(B,), which of them stands before a row."""


@torch.no_grad()
def sample(
    model: PreTrainedModel, prompt_ids: Sequence[list[int]], settings: GenerationConfig, end_ids: Sequence[int]
) -> list[list[int]]:
    """One completion a prompt, up to its first end-of-turn token and with it.

    Args:
        prompt_ids: (B,) prompts, several of which may be the same.
    """
    width = max(map(len, prompt_ids))
    ids = torch.tensor([[settings.pad_token_id] * (width - len(prompt)) + list(prompt) for prompt in prompt_ids])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompt_ids])
    was_training = model.training
    model.eval()
    past = read_prompts(model, prompts_of(ids[:, :-1], mask[:, :-1]))
    found = model.generate(input_ids=ids, attention_mask=mask, past_key_values=past, generation_config=settings)
    model.train(was_training)
    completions = []
    for row in found[:, width:].tolist():
        end = next((place for place, token in enumerate(row) if token in end_ids), len(row) - 1)
        completions.append(row[: end + 1])
    return completions


def hand_over_weights(engine: VLLMGeneration) -> None:
    """The policy's weights, to vLLM on a CPU: it has packed its own for its kernels, where TRL's way finds no place.

    A copy of each: what an adapter was added to is taken apart again while vLLM still reads.
    """
    runner = engine.llm.llm_engine.model_executor.driver_worker.model_runner
    dtype = runner.model_config.dtype
    runner.reload_weights(
        weights_iterator=((name, value.to(dtype, copy=True)) for name, value in engine._iter_named_params())
    )
    engine.llm.reset_prefix_cache()


def completion_logps(
    model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor, n_completion: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of completions' tokens, and the entropies of their distributions (without gradient).

    Args:
        input_ids: (B, P + C), prompts padded on the left, completions on the right.
        attention_mask: (B, P + C), 0 on padding.
        n_completion: C.

    Returns:
        Both (B, C) float32, zero on padding.
    """
    # The first token of a completion is foretold by the prompt's last one.
    n_read = input_ids.shape[1] - n_completion - 1
    prompts = prompts_of(input_ids[:, :n_read], attention_mask[:, :n_read])
    own = input_ids[:, n_read:]
    labels = own.masked_fill(attention_mask[:, n_read:] == 0, -100)
    labels[:, 0] = -100
    places = attention_mask[:, :n_read].sum(dim=1, keepdim=True) + torch.arange(own.shape[1])
    logps, entropies = token_logps(
        model,
        own,
        labels,
        temperature,
        with_entropy=True,
        past=read_prompts(model, prompts),
        attention_mask=attention_mask,
        position_ids=places,
    )
    return logps, entropies


def prompts_of(ids: Tensor, mask: Tensor) -> Prompts:
    """The different ones of (B, P) prompts, padded on the left."""
    both, rows = torch.unique(torch.stack([ids, mask], dim=2), dim=0, return_inverse=True)
    different, attention_mask = both.unbind(dim=2)
    places = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
    return Prompts(input_ids=different, attention_mask=attention_mask, position_ids=places, rows=rows)


def read_prompts(model: PreTrainedModel, prompts: Prompts) -> Cache:
    """What the model makes of the prompts, for each row that stands behind one; gradients flow through it."""
    inputs = {name: tensor for name, tensor in prompts.items() if name != "rows"}
    past = model(**inputs, use_cache=True, logits_to_keep=1).past_key_values
    past.batch_select_indices(prompts["rows"])
    return past
