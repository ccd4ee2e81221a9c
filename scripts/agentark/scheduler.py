"""Runs a protocol over many questions at once.

Each question is a coroutine of its own: no question waits for another one's round, and all outstanding requests
reach the engine together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from agentark.records import Debate, Question


async def run(
    questions: Iterable[Question],
    protocol: Callable[[Question], Awaitable[Debate]],
    on_done: Callable[[Debate], None],
    in_flight: int,
) -> None:
    """Hold a debate on every question.

    Args:
        questions: read one by one, as places become free.
        protocol: the debate of one question.
        on_done: called with each debate as soon as it is finished, in the order in which they finish.
        in_flight: questions that debate at the same time, at most.

    Raises:
        Exception: whatever the protocol or `on_done` raises first; the other questions are abandoned at once. An
            engine reports a failed request as a reply, so an exception here is a fault that no retry would cure.
    """
    waiting = iter(questions)

    async def place() -> None:
        for question in waiting:
            on_done(await protocol(question))

    try:
        async with asyncio.TaskGroup() as places:
            for _ in range(in_flight):
                places.create_task(place())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
