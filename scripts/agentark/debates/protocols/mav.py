"""Several solutions, several verifiers that look at one aspect each; the most approved solution wins.

Source: Lifshitz et al. 2025, "Multi-Agent Verification", arXiv 2502.20379 (BoN-MAV: the score of a solution is the
number of its approvals, each a binary verdict of one aspect verifier).
"""

import asyncio
from typing import Annotated

from pydantic import Field

from agentark.debates.protocols import last_word
from agentark.debates.protocols.conversation import Ask
from agentark.records.debates import Turn
from agentark.records.questions import Question

ASPECTS = [
    "every calculation is right",
    "every step follows from the ones before it",
    "nothing that the question states is missed or changed",
    "the answer is what the question asks for, in its unit",
]
VERIFY = "Check one thing about this solution: whether {aspect}. Reason briefly, then write only: yes or no."


async def mav(
    question: Question,
    ask: Ask,
    *,
    solutions: Annotated[int, Field(ge=1, description="independent solutions (paper: up to 16)")] = 4,
    aspects: Annotated[list[str], Field(min_length=1, description="what each verifier looks at")] = ASPECTS,
) -> str | None:
    """The answer with the most approvals; of equals the first. Calls: solutions * (1 + aspects)."""

    async def approved(agent: int) -> tuple[Turn, int]:
        solution = await ask(agent=agent, round=1)
        verdicts = await asyncio.gather(
            *(
                ask(
                    VERIFY.format(aspect=aspect),
                    agent=agent * len(aspects) + place,
                    round=1,
                    role="verifier",
                    reads=[solution],
                    temperature=0.0,
                )
                for place, aspect in enumerate(aspects)
            )
        )
        return solution, sum(last_word(turn.reply, "yes", "no") == "yes" for turn in verdicts)

    scored = await asyncio.gather(*(approved(agent) for agent in range(solutions)))
    answered = [(turn, n) for turn, n in scored if turn.answer is not None]
    return max(answered, key=lambda pair: pair[1])[0].answer if answered else None
