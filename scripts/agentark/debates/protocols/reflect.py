"""Reflect, critique, refine: agents question themselves before they judge a few others, and say why they change.

Source: Srivastava et al. 2025, "Debate, Train, Evolve", arXiv 2505.15734, its RCR prompting. There an agent criticises
two peers and must give a new reason to change its answer, which keeps weak agents from following the crowd.
"""

import asyncio
from typing import Annotated

from pydantic import Field

from agentark.debates.protocols import most_agreeing
from agentark.debates.protocols.conversation import Ask
from agentark.engines.prompts import instructions
from agentark.grading.comparing import majority
from agentark.records.questions import Question

REFLECT = (
    "You are Agent {name}. First reflect: name one possible error in your own solution. Then critique: name one "
    "doubtful step of each other agent. Then refine: keep your answer, or change it only for a reason that you state. "
    "End with your complete solution."
)


async def reflect(
    question: Question,
    ask: Ask,
    *,
    agents: Annotated[int, Field(ge=1, description="agents a question (paper: 3)")] = 3,
    rounds: Annotated[int, Field(ge=1, description="rounds at most (paper: up to 5)")] = 3,
    critiques: Annotated[int, Field(ge=1, description="others whom an agent criticises (paper: 2)")] = 2,
) -> str | None:
    """The last round's majority; unanimity ends the debate early."""
    closing = instructions(question.gold_type)
    current = await asyncio.gather(*(ask(agent=agent, round=1) for agent in range(agents)))
    for number in range(2, rounds + 1):
        if most_agreeing(current, question.gold_type) == agents:
            break
        current = await asyncio.gather(
            *(
                ask(
                    f"{REFLECT.format(name=agent + 1)} {closing}",
                    agent=agent,
                    round=number,
                    reads=[current[i] for i in sorted({(agent + step) % agents for step in range(critiques + 1)})],
                )
                for agent in range(agents)
            )
        )
    return majority([turn.answer for turn in current], question.gold_type)
