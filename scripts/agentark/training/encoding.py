"""Traces as a model reads them: tokens, and where their steps end."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from transformers import PreTrainedTokenizerBase

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

    def part(self, start: int, end: int, steps: Sequence[tuple[int, int]], n_prompt: int) -> "EncodedTrace":
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
