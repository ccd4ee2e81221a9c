"""Labels of steps by a judge, a language model: it names the first wrong step of a trace, as people did for
ProcessBench (arXiv 2412.06559), and all after that counts as wrong.

The judge reads question, gold and the numbered steps. Its reply ends with a number in brackets; one that does not is
asked for once more, then the trace has no labels.
"""

import re
from collections.abc import Sequence

from agentark.debates.protocols.conversation import QuestionFailedError
from agentark.engines.chat import Chat, Sampling
from agentark.engines.prompts import Message, question_text
from agentark.records.sets import StepValues
from agentark.records.traces import Trace
from agentark.traces.steps import Span

MAX_TOKENS, TRIES = 1024, 2
TASK = (
    "Go through the steps one by one. Which is the first that is wrong, or that follows from nothing before it? Finish "
    "with its number in brackets, for example [2], or with [0] if every step is right."
)
_NUMBER = re.compile(r"\[\s{0,9}(\d{1,4})\s{0,9}\]")


async def values(trace: Trace, text: str, steps: Sequence[Span], chat: Chat) -> StepValues | None:
    """What the judge finds of each step; None when its replies name no step.

    Args:
        text: of the trace as a completion, of which `steps` are spans.

    Raises:
        QuestionFailedError: a request failed.
    """
    asked = messages(trace, text, steps)
    for number in range(TRIES):
        # The first time greedily; a second greedy reply would be the same.
        reply = await chat(asked, Sampling(0.0 if number == 0 else 0.7, MAX_TOKENS, seed=number))
        if reply.status == "failed":
            raise QuestionFailedError(reply.error or "no reply")
        first_wrong = read(reply.text, len(steps))
        if first_wrong is not None:
            n_right = first_wrong - 1 if first_wrong else len(steps)
            return StepValues(trace_id=trace.trace_id, n=1, right=[int(i < n_right) for i in range(len(steps))])
    return None


def messages(trace: Trace, text: str, steps: Sequence[Span]) -> list[Message]:
    numbered = [f"Step {i}: {text[start:end].strip()}" for i, (start, end) in enumerate(steps, start=1)]
    parts = [f"Question:\n{question_text(trace.question, trace.choices)}", f"Answer:\n{trace.gold}"]
    return [{"role": "user", "content": "\n\n".join([*parts, "Solution:\n" + "\n".join(numbered), TASK])}]


def read(reply: str, n_steps: int) -> int | None:
    """The number of the first wrong step, 0 = there is none; None when the reply's last brackets name no step."""
    found = _NUMBER.findall(reply[-2000:])
    return int(found[-1]) if found and int(found[-1]) <= n_steps else None
