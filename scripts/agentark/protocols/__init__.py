"""Multi-agent protocols: how the agents talk about one question.

A protocol is a coroutine

    async def protocol(question: Question, chat: Chat, settings: config.Debates, teacher: str) -> Debate

in a module of its own. It asks by `ask(...)`, several agents at once by `asyncio.gather(ask(...), ask(...))`, and
returns all turns. Batching, resuming and accounting are not its business.
"""

import re

from agentark import config
from agentark.engines import Chat, Sampling
from agentark.grading import extract_answer
from agentark.records import Question, Turn

_THINK = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)


def visible(reply: str) -> str:
    """The reply without its hidden reasoning: what stands after the last `</think>`.

    The opening tag may be missing, since some templates put it into the prompt. A block that was never closed hides
    the whole reply, as it does from the grader.
    """
    tags = list(_THINK.finditer(reply))
    if not tags:
        return reply.strip()
    return reply[tags[-1].end() :].strip() if tags[-1].group(1) else ""


async def ask(chat: Chat, question: Question, prompt: str, settings: config.Debates, *, agent: int, round: int) -> Turn:
    """One request and its record. A failed request is a turn with status `failed` and no answer."""
    reply = await chat([{"role": "user", "content": prompt}], Sampling(settings.temperature, settings.max_tokens))
    n_choices = len(question.choices) if question.choices else None
    return Turn(
        agent=agent,
        round=round,
        prompt=prompt,
        reply=reply.text,
        answer=None if reply.status == "failed" else extract_answer(reply.text, question.gold_type, n_choices),
        status=reply.status,
        error=reply.error,
        prompt_tokens=reply.prompt_tokens,
        cached_tokens=reply.cached_tokens,
        completion_tokens=reply.completion_tokens,
        latency_s=reply.latency_s,
    )
