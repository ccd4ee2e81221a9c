"""Text generation: one interface, several engines.

`with open_engine(folder, settings) as engine:` loads a model once; then any number of coroutines await
`engine.chat(...)` at the same time, and the engine makes batches of what is outstanding.
"""

import importlib.util
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agentark import config
from agentark.progress import Progress, say
from agentark.prompts import Message
from agentark.records import TurnStatus


@dataclass(frozen=True)
class Sampling:
    """How one reply is drawn. There is no seed here: `config.Engine.seed` seeds the engine."""

    temperature: float
    """0 = greedy."""
    max_tokens: int
    top_p: float = 1.0


@dataclass(frozen=True)
class Reply:
    """One reply and what it took."""

    text: str
    status: TurnStatus = "ok"
    """`truncated`: stopped by `max_tokens` or by the context length; `failed`: nothing was generated."""
    error: str | None = None
    """Why it failed."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """The part of the prompt that came from the prefix cache."""
    completion_tokens: int = 0
    latency_s: float = 0.0
    """From the question to the whole reply, waiting for a place in the batch included."""


Chat = Callable[[list[Message], Sampling], Awaitable[Reply]]


class Engine(Protocol):
    """What every engine can do."""

    name: str

    async def chat(self, messages: list[Message], sampling: Sampling) -> Reply:
        """Reply to a dialogue.

        What is wrong with this one request (too long a prompt) comes back as a reply with status `failed`;
        what is wrong with the engine is raised.
        """
        ...

    def close(self) -> None: ...


@contextmanager
def open_engine(folder: Path, settings: config.Engine) -> Iterator[Engine]:
    """The engine that `settings.kind` asks for, with the model of `folder` loaded."""
    kind, reason = settings.kind, "as configured"
    if kind == "auto":
        installed = importlib.util.find_spec("vllm") is not None
        kind = "vllm" if installed else "transformers"
        reason = "" if installed else "vLLM is not installed, it would be several times as fast"
    say(f"engine: {kind}" + (f" ({reason})" if reason else ""))
    # Imported here: either takes seconds, and neither need be installed for the other.
    if kind == "vllm":
        from agentark.engines.vllm import Vllm as Chosen
    else:
        from agentark.engines.transformers import Transformers as Chosen
    with closing(Chosen(Path(folder), settings)) as engine:
        yield engine


def watched(chat: Chat, progress: Progress) -> Chat:
    """The same chat; each reply's tokens show in the progress at once, long before its question is done."""

    async def watching(messages: list[Message], sampling: Sampling) -> Reply:
        reply = await chat(messages, sampling)
        progress.update(done=0, tokens=reply.completion_tokens)
        return reply

    return watching
