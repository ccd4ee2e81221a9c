"""Host several models for one job: servers side by side, local models in memory one at a time.

Coroutines ask any model at any time. What is meant for a model that is not loaded waits until the loaded one has
nothing left to do: with hundreds of questions in flight that is a whole round of all of them, so models are seldom
exchanged. An engine that dies is opened once more, and its outstanding requests are asked again.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from agentark.engines.chat import Chat, Reply, Sampling
from agentark.engines.opening import Engine
from agentark.engines.prompts import Message
from agentark.errors import UserError
from agentark.running.progress import say

GRACE_S = 0.05
"""So long a model must have been idle before it is exchanged: who just got a reply may have another question."""


class Host:
    """Use it as a context manager: it closes what it opened.

    Args:
        local: what opens the engine of each model that takes this machine's memory.
        servers: the same for models that run elsewhere.
    """

    def __init__(self, local: Mapping[str, Callable[[], Engine]], servers: Mapping[str, Callable[[], Engine]]) -> None:
        self._local, self._openers = local, {**local, **servers}
        self._open: dict[str, Engine] = {}
        self._outstanding: Counter[str] = Counter()
        self._changed = asyncio.Condition()
        self._restarted: set[str] = set()
        self._facts: dict[str, dict[str, Any]] = {}
        for model in [*servers, *list(local)[:1]]:
            self._load(model)

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, *_: object) -> None:
        for model in list(self._open):
            self._unload(model)

    def __contains__(self, model: str) -> bool:
        return model in self._openers

    def chat(self, model: str) -> Chat:
        """What asks the model of this name."""
        return partial(self._ask, model)

    @property
    def seeds_requests(self) -> bool:
        """Whether every engine can draw by a request's seed."""
        return all(engine.seeds_requests for engine in self._open.values())

    @property
    def capacity(self) -> int | None:
        """Tokens that the smallest attention cache holds; None = not known."""
        return min((engine.capacity for engine in self._open.values() if engine.capacity is not None), default=None)

    @property
    def facts(self) -> dict[str, dict[str, Any]]:
        """What there is to tell of every engine that was opened, by model."""
        return dict(sorted(self._facts.items()))

    async def _ask(self, model: str, messages: list[Message], sampling: Sampling) -> Reply:
        while True:
            engine = self._open.get(model) or await self._exchanged_for(model)
            self._outstanding[model] += 1
            try:
                return await engine.chat(messages, sampling)
            except UserError:
                raise
            except Exception as fault:
                self._restart(model, engine, fault)
            finally:
                self._outstanding[model] -= 1
                if len(self._local) > 1 and not self._outstanding[model]:
                    async with self._changed:
                        self._changed.notify_all()

    async def _exchanged_for(self, model: str) -> Engine:
        """The engine of a local model, once the loaded one has nothing left to do."""
        async with self._changed:
            while model not in self._open:
                if not self._busy():
                    await asyncio.sleep(GRACE_S)
                if self._busy():
                    await self._changed.wait()
                else:
                    for loaded in self._open.keys() & self._local.keys():
                        self._unload(loaded)
                    self._load(model)
                    self._changed.notify_all()
            return self._open[model]

    def _busy(self) -> bool:
        return any(self._outstanding[model] for model in self._open if model in self._local)

    def _restart(self, model: str, engine: Engine, fault: Exception) -> None:
        """Open a model's engine once more; its other requests, which fail by the same fault, find it opened."""
        if self._open.get(model) is not engine:
            return
        what = f"{type(fault).__name__}: {str(fault)[:500]}"
        if model in self._restarted:
            raise UserError(
                f"the engine of {model} died a second time ({what}); what is finished is kept. Give the job more "
                "memory or lower engine.in_flight or engine.max_model_len, then run the same command again"
            ) from fault
        self._restarted.add(model)
        say(f"engine: {model} died ({what}), opening it once more")
        self._unload(model)
        self._load(model)

    def _load(self, model: str) -> None:
        engine = self._open[model] = self._openers[model]()
        self._facts[model] = engine.facts

    def _unload(self, model: str) -> None:
        # A dead engine may not close as it should, and that is no reason to stop.
        with suppress(Exception):
            self._open.pop(model).close()
