"""One agent answers once: the baseline of every table."""

from agentark import config
from agentark.engines import Chat
from agentark.prompts import solve
from agentark.protocols import ask
from agentark.records import Debate, Question


async def single(question: Question, chat: Chat, settings: config.Debates, teacher: str) -> Debate:
    """One call; `settings.agents` and `settings.rounds` play no part."""
    prompt = solve(question.question, question.choices, question.gold_type)
    turn = await ask(chat, question, prompt, settings, agent=0, round=1)
    return Debate(question=question, teacher=teacher, protocol="single", turns=[turn], answer=turn.answer)
