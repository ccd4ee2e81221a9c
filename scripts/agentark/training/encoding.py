"""Traces as a model reads them: tokens, where their steps end, and the prompts that several have in common."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedTokenizerBase

from agentark.records.questions import GoldType
from agentark.training.rendering import render


class Asked(Protocol):
    """Any row that asks a question: `Question`, `RlPrompt`, `StepExample`."""

    question: str
    choices: list[str] | None
    gold_type: GoldType


@dataclass(frozen=True)
class EncodedTrace:
    """Tokens of one trace, and of each of its steps the first and the last one."""

    input_ids: list[int]
    steps: list[tuple[int, int]]
    n_prompt: int
    """Tokens of the prompt alone, at the beginning."""

    @property
    def step_tokens(self) -> list[int]:
        return [last for _, last in self.steps]

    @property
    def key(self) -> Hashable:
        """Equal for traces that read the same."""
        return tuple(self.input_ids), tuple(self.steps)

    def part(self, start: int, end: int, steps: Sequence[tuple[int, int]], n_prompt: int = 0) -> "EncodedTrace":
        """The tokens [start, end) with steps of theirs, behind so many tokens of the prompt's end."""
        prompt = self.input_ids[self.n_prompt - n_prompt : self.n_prompt]
        moved = [(n_prompt + max(first, start) - start, n_prompt + last - start) for first, last in steps]
        return EncodedTrace(prompt + self.input_ids[start:end], moved, n_prompt)


def encode(
    tokenizer: PreTrainedTokenizerBase, asked: Asked, text: str, steps: Sequence[tuple[int, int]]
) -> EncodedTrace:
    """A trace as the model reads it; `steps` are spans [start, end) of characters of its text."""
    rendered = render(tokenizer, asked.question, asked.choices, asked.gold_type, text)
    tokens = [(rendered.token_at(start), rendered.token_at(end - 1)) for start, end in steps]
    return EncodedTrace(rendered.input_ids, tokens, rendered.n_prompt)


def pad(traces: Sequence[EncodedTrace], pad_token_id: int) -> dict[str, Tensor]:
    """The model's inputs, padded on the right; `step_tokens` is padded with 0."""

    def padded(rows: list[list[int]], value: int) -> Tensor:
        return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)

    return {
        "input_ids": padded([trace.input_ids for trace in traces], pad_token_id),
        "attention_mask": padded([[1] * len(trace.input_ids) for trace in traces], 0),
        "step_tokens": padded([trace.step_tokens for trace in traces], 0),
    }


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


class Inputs(TypedDict, total=False):
    """A model's inputs: whole traces, or what stands behind their prompts."""

    input_ids: Tensor
    """(B, T)."""
    attention_mask: Tensor
    """(B, P + T), 0 on padding."""
    step_tokens: Tensor
    """(B, S), where each step ends among the T."""
    position_ids: Tensor
    """(B, T)."""
    prompts: Prompts


def inputs_behind(
    traces: Sequence[EncodedTrace], n_read: Sequence[int], pad_token_id: int
) -> tuple[Inputs, list[EncodedTrace]]:
    """The inputs for some traces, and what these hold of each trace.

    Args:
        n_read: of each trace, how many of its prompt's tokens are read as one with others.

    Returns:
        Whole traces without `prompts`, where no two of them have one in common.
    """
    whole = {prompt_of(trace): tuple(trace.input_ids[:n]) for trace, n in zip(traces, n_read, strict=True)}
    if len(whole) == len(traces) or min(n_read) < 1:
        return Inputs(**pad(traces, pad_token_id)), list(traces)
    width = max(n_read)
    lengths = torch.tensor([len(prompt) for prompt in whole.values()])
    places = torch.arange(width) - (width - lengths)[:, None]
    number_of = {prompt: number for number, prompt in enumerate(whole)}
    prompts = Prompts(
        input_ids=torch.tensor([[pad_token_id] * (width - len(prompt)) + [*prompt] for prompt in whole.values()]),
        attention_mask=(places >= 0).long(),
        position_ids=places.clamp(min=0),
        rows=torch.tensor([number_of[prompt_of(trace)] for trace in traces]),
    )
    left = [trace.part(n, len(trace.input_ids), trace.steps) for trace, n in zip(traces, n_read, strict=True)]
    inputs = Inputs(**pad(left, pad_token_id))
    inputs["position_ids"] = torch.arange(inputs["input_ids"].shape[1]) + torch.tensor(n_read)[:, None]
    inputs["attention_mask"] = torch.cat([prompts["attention_mask"][prompts["rows"]], inputs["attention_mask"]], dim=1)
    inputs["prompts"] = prompts
    return inputs, left


def tokens_of(inputs: Inputs) -> int:
    """How many tokens a model reads, padding left out."""
    n_own = inputs["attention_mask"][:, -inputs["input_ids"].shape[1] :].sum()
    return int(n_own + (inputs["prompts"]["attention_mask"].sum() if "prompts" in inputs else 0))


def read_prompts(model: nn.Module, prompts: Prompts) -> Cache:
    """What the model makes of the prompts, for each row that stands behind one; gradients flow through it."""
    # No logits of the prompt; a backbone has none.
    few = {} if model.get_output_embeddings() is None else {"logits_to_keep": 1}
    inputs = {name: tensor for name, tensor in prompts.items() if name != "rows"}
    past = model(**inputs, use_cache=True, **few).past_key_values
    past.batch_select_indices(prompts["rows"])
    return past


def prompt_of(trace: EncodedTrace) -> tuple[int, ...]:
    return tuple(trace.input_ids[: trace.n_prompt])
