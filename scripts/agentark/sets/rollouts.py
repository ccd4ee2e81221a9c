"""Monte Carlo step values: the share of continuations from a step that end right (Math-Shepherd, arXiv 2312.08935).

A step from which no continuation ends right is wrong; hard labels serve better than shares (Lessons, arXiv
2501.07301). The last step of a trace leaves nothing to continue, so the trace's own verdict is its value.
"""

import asyncio
from collections.abc import Sequence

from agentark.debates.protocols.conversation import QuestionFailedError
from agentark.engines.chat import Chat, Sampling
from agentark.engines.prompts import solve_messages
from agentark.grading.grades import grade
from agentark.records.sets import StepValues
from agentark.records.traces import Trace
from agentark.traces.steps import Span

MAX_TOKENS, TEMPERATURE = 1024, 0.7


async def values(trace: Trace, text: str, steps: Sequence[Span], n: int, chat: Chat) -> StepValues:
    """Continue a trace n times from the end of each of its steps.

    Args:
        text: of the trace as a completion, of which `steps` are spans.

    Returns:
        For each step, how many of the continuations end with the right answer.

    Raises:
        QuestionFailedError: a request failed.
    """
    n_choices = len(trace.choices) if trace.choices else None

    async def right(step: int, number: int) -> bool:
        prefix = text[: steps[step][1]]
        asked = [
            *solve_messages(trace.question, trace.choices, trace.gold_type),
            {"role": "assistant", "content": prefix},
        ]
        reply = await chat(asked, Sampling(TEMPERATURE, MAX_TOKENS, seed=number))
        if reply.status == "failed":
            raise QuestionFailedError(reply.error or "no reply")
        # The continuation alone, for a prefix holds numbers that are no answer; unless the model finds it finished.
        said = reply.text if reply.text.strip() else prefix
        return grade(said, trace.golds, trace.gold_type, n_choices).correct

    async def count(step: int) -> int:
        return sum(await asyncio.gather(*(right(step, number) for number in range(n))))

    counts = await asyncio.gather(*(count(step) for step in range(len(steps) - 1)))
    return StepValues(trace_id=trace.trace_id, n=n, right=[*counts, n * trace.correct])
