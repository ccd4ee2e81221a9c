"""An engine whose replies come from a function: for tests, and to try a protocol without a model."""

import asyncio
from collections.abc import Callable
from typing import Any

from agentark.engines.chat import Reply, Sampling
from agentark.engines.prompts import Message


class Scripted:
    """Asks `script(messages, sampling)` for each reply; a text counts as a finished reply, a token a word."""

    name = "scripted"
    seeds_requests = True
    capacity = None

    def __init__(self, script: Callable[[list[Message], Sampling], str | Reply]) -> None:
        self._script = script
        self.facts: dict[str, Any] = {"engine": self.name}

    async def chat(self, messages: list[Message], sampling: Sampling) -> Reply:
        # Gives way as a real engine does, so that coroutines interleave in tests as they do in earnest.
        await asyncio.sleep(0)
        reply = self._script(messages, sampling)
        if isinstance(reply, Reply):
            return reply
        n_words = sum(len(message["content"].split()) for message in messages)
        return Reply(reply, prompt_tokens=n_words, completion_tokens=len(reply.split()))

    def close(self) -> None:
        pass
