"""Selection of different traces by a judge, a language model (paper 3.3.2 and A.4; there Qwen2.5-72B-Instruct).

The judge reads the question, gold and the correct traces, numbered, and names those that differ in method. Its reply
is a list of numbers and nothing is guessed from anything else: a reply that is none is asked for once more, then the
features of `selection` pick, and that is counted (T10).
"""

import re
from collections.abc import Sequence

from agentark.engines.chat import Chat, Sampling
from agentark.engines.prompts import Message, question_text
from agentark.records.traces import Trace

MAX_TRACES, MAX_TRACE_CHARS = 8, 2_000
"""Together some 5,000 tokens."""
TRIES = 2
TASK = (
    "Choose up to {k} of these solutions that reach the answer in different ways: other identities or heuristics, "
    "other assumptions, another order of steps, another intermediate result. Other words for the same steps are not "
    "another way. Do not rank them by quality. Reply with the numbers as a list and nothing else, for example [1, 3]."
)
_LIST = re.compile(r"\[\s{0,9}\d{1,3}(?:\s{0,9},\s{0,9}\d{1,3}){0,20}\s{0,9}\]")


async def judged(traces: Sequence[Trace], k: int, chat: Chat) -> list[Trace] | None:
    """The traces that the judge picks; None when it gave no list of valid numbers.

    Args:
        traces: correct ones of one question, no two alike; the first `MAX_TRACES` are shown.
        k: at most so many are picked.
    """
    shown = list(traces)[:MAX_TRACES]
    for number in range(TRIES):
        # The first time greedily; a second greedy reply would be the same.
        reply = await chat(messages(shown, k), Sampling(0.0 if number == 0 else 0.7, max_tokens=64, seed=number))
        if chosen := read(reply.text, len(shown), k):
            return [shown[place - 1] for place in chosen]
    return None


def messages(traces: Sequence[Trace], k: int) -> list[Message]:
    numbered = [f"Solution {i}:\n{trace.text[-MAX_TRACE_CHARS:]}" for i, trace in enumerate(traces, start=1)]
    question = question_text(traces[0].question, traces[0].choices)
    parts = [f"Question:\n{question}", f"Answer:\n{traces[0].gold}", *numbered, TASK.format(k=k)]
    return [{"role": "user", "content": "\n\n".join(parts)}]


def read(reply: str, n_traces: int, k: int) -> list[int] | None:
    """The last list in a reply; None when there is none, or it names what is not there, twice, or more than k."""
    lists = _LIST.findall(reply[-2000:])
    if not lists:
        return None
    numbers = [int(number) for number in re.findall(r"\d+", lists[-1])]
    valid = len(numbers) == len(set(numbers)) <= k and all(1 <= number <= n_traces for number in numbers)
    return numbers if valid else None
