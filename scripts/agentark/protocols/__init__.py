"""Multi-agent protocols: how the agents talk about one question.

A protocol is a coroutine

    async def protocol(question: Question, chat: Chat, settings: config.Debates, teacher: str) -> Debate

in a module of its own. It asks by `ask(...)`, several agents at once by `asyncio.gather(ask(...), ask(...))`, and
returns all turns. Batching, resuming and accounting are not its business.
"""

from agentark import config
from agentark.engines import Chat, Sampling
from agentark.grading import extract_answer
from agentark.records import Question, Turn


def visible(reply: str) -> str:
    """The reply without its hidden reasoning (`<think>...</think>`).

    A template may have opened the block in the prompt, and a cut reply may not have closed it: so all before the
    last `</think>` and all after an open `<think>` is hidden.
    """
    after = reply.rpartition("</think>")[2]
    return after.partition("<think>")[0].strip()


async def ask(chat: Chat, question: Question, prompt: str, settings: config.Debates, *, agent: int, round: int) -> Turn:
    """One request and its record. A failed request is a turn with status `failed` and no answer."""
    reply = await chat([{"role": "user", "content": prompt}], Sampling(settings.temperature, settings.max_tokens))
    n_choices = len(question.choices) if question.choices else None
    return Turn(
        agent=agent,
        round=round,
        prompt=prompt,
        reply=reply.text,
        answer=extract_answer(visible(reply.text), question.gold_type, n_choices) if reply.status != "failed" else None,
        status=reply.status,
        error=reply.error,
        prompt_tokens=reply.prompt_tokens,
        cached_tokens=reply.cached_tokens,
        completion_tokens=reply.completion_tokens,
        latency_s=reply.latency_s,
    )
