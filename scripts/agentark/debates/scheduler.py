"""Runs a protocol over many questions at once, or any other work that asks a model about many things.

Each question is a coroutine of its own: no question waits for another one's round, and all outstanding requests
reach the engine together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from agentark.debates.protocols.conversation import QuestionFailedError

Q = TypeVar("Q")
D = TypeVar("D")


async def run(
    questions: Iterable[Q],
    protocol: Callable[[Q], Awaitable[D]],
    on_done: Callable[[D], None],
    in_flight: int,
    on_failed: Callable[[Q, str], None],
) -> None:
    """Hold a debate on every question.

    Args:
        questions: read one by one, as places become free.
        protocol: the debate of one question.
        on_done: called with each debate as soon as it is finished, in the order in which they finish.
        in_flight: questions that debate at the same time, at most.
        on_failed: called with a question that could not be finished, and why; the others go on.

    Raises:
        Exception: whatever the protocol or a callback raises first; the other questions are abandoned at once. An
            engine reports a failed request as a reply, so an exception here is a fault that no retry would cure.
    """
    waiting = iter(questions)

    async def place() -> None:
        for question in waiting:
            try:
                debate = await protocol(question)
            except QuestionFailedError as failure:
                on_failed(question, str(failure))
            else:
                on_done(debate)

    try:
        async with asyncio.TaskGroup() as places:
            for _ in range(in_flight):
                places.create_task(place())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


LEAST, MOST, UNKNOWN = 16, 512, 256


def places(in_flight: int | None, capacity: int | None, max_model_len: int) -> int:
    """Questions to debate at the same time.

    The agents of a question share most of what they read, so a question holds about one full context in the attention
    cache. With more questions than fit, each round would find the last one's prefixes gone.

    Args:
        in_flight: as configured; decides where it is given.
        capacity: tokens that the cache holds; None = not known.
    """
    if in_flight is not None:
        return in_flight
    return UNKNOWN if capacity is None else max(LEAST, min(MOST, capacity // max_model_len))
