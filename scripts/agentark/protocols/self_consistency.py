"""Independent samples and a vote: the baseline with as many calls as a debate has agents.

Source: Wang et al. 2023, arXiv 2203.11171.
"""

import asyncio

from agentark import config
from agentark.engines import Chat
from agentark.grading import majority
from agentark.prompts import solve
from agentark.protocols import ask
from agentark.records import Debate, Question


async def self_consistency(question: Question, chat: Chat, settings: config.Debates, teacher: str) -> Debate:
    """`settings.agents` samples of the same prompt; `settings.rounds` plays no part."""
    prompt = solve(question.question, question.choices, question.gold_type)
    turns = await asyncio.gather(
        *(ask(chat, question, prompt, settings, agent=agent, round=1) for agent in range(settings.agents))
    )
    answer = majority([turn.answer for turn in turns], question.gold_type)
    return Debate(question=question, teacher=teacher, protocol="self_consistency", turns=turns, answer=answer)
