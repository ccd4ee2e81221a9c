"""Bind a teacher's agents to their models: from its settings to the coroutine that the scheduler runs."""

from collections.abc import Awaitable, Callable
from typing import Any

from agentark.config.debates import Debates
from agentark.config.models import Team
from agentark.debates import protocols
from agentark.debates.protocols.conversation import Ask, Member
from agentark.engines.chat import Chat
from agentark.records.debates import Debate
from agentark.records.questions import Question


def at_work(
    teacher: str, team: Team, settings: Debates, chat: Callable[[str], Chat], seed: int
) -> Callable[..., Awaitable[Debate]]:
    """`await hold(question)` is the teacher's protocol on one question.

    `hold(question, "self_consistency", {"samples": 7})` is another protocol by the same agents.

    Args:
        chat: what asks a model, by its name.
    """
    members = [
        Member(
            model=member.model,
            chat=chat(member.model),
            temperature=settings.temperature if member.temperature is None else member.temperature,
            max_tokens=member.max_tokens or settings.max_tokens,
            persona=member.persona,
        )
        for member in team.members
    ]

    async def hold(
        question: Question, protocol: str = settings.protocol, options: dict[str, Any] = settings.options
    ) -> Debate:
        ask = Ask(question, members, layout=settings.prompt_layout, overflow=settings.overflow, seed=seed)
        return await protocols.hold(question, protocol, options, ask, teacher)

    return hold
