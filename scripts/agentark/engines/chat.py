"""What is asked of a model and what it replies: the one interface between protocols and engines."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from agentark.engines.prompts import Message
from agentark.records.debates import TurnStatus


@dataclass(frozen=True)
class Sampling:
    """How one reply is drawn."""

    temperature: float
    """0 = greedy."""
    max_tokens: int
    top_p: float = 1.0
    seed: int | None = None
    """Of this request, for engines that can (`Engine.seeds_requests`); the others draw by `sections.Engine.seed`."""
    choices: tuple[str, ...] = ()
    """If given, the reply is the likeliest of these words, told apart by their first token; the rest is ignored."""


@dataclass(frozen=True)
class Reply:
    """One reply and what it took."""

    text: str
    status: TurnStatus = "ok"
    """`truncated`: stopped by `max_tokens` or by the context length; `failed`: nothing was generated."""
    error: str | None = None
    """Why it failed."""
    overflow: bool = False
    """Prompt and reply did not fit into the context: nothing was generated, or it ended there."""
    excess_tokens: int = 0
    """So many tokens more than the context holds are the prompt and the longest reply that was asked for, where the
    engine knows and there was an overflow."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """The part of the prompt that came from the prefix cache."""
    completion_tokens: int = 0
    chances: dict[str, float] | None = None
    """Of `Sampling.choices`, the probability of each, 1 together; None where the engine does not tell."""
    latency_s: float = 0.0
    """From the question to the whole reply, waiting for a place in the batch included."""


Chat = Callable[[list[Message], Sampling], Awaitable[Reply]]


def likeliest(logprobs: Mapping[str, float]) -> tuple[str, dict[str, float]]:
    """The likeliest choice, and the probability of each among the others.

    Args:
        logprobs: of each choice's first token, up to a constant.
    """
    most = max(logprobs.values())
    weights = {choice: math.exp(logprob - most) for choice, logprob in logprobs.items()}
    chances = {choice: weight / sum(weights.values()) for choice, weight in weights.items()}
    return max(chances, key=chances.__getitem__), chances
