"""Independent samples and a vote: what the debate's calls are worth without any talk.

Source: Wang et al. 2023, arXiv 2203.11171; `pick: llm` is the universal self-consistency of Chen et al. 2023,
arXiv 2311.17311, where the model itself picks the most consistent reply.
"""

import asyncio
from typing import Annotated, Literal

from pydantic import Field

from agentark.debates.protocols import chosen
from agentark.debates.protocols.conversation import Ask
from agentark.grading.comparing import majority
from agentark.records.debates import AGGREGATOR
from agentark.records.questions import Question

PICK = "Which of these solutions agrees best with the others? Write only its agent's number."


async def self_consistency(
    question: Question,
    ask: Ask,
    *,
    samples: Annotated[int, Field(ge=1, description="independent solutions")] = 5,
    pick: Annotated[
        Literal["majority", "llm"], Field(description="the vote, or one more call that picks")
    ] = "majority",
) -> str | None:
    """`samples` calls of the same prompt, one more to pick."""
    turns = await asyncio.gather(*(ask(agent=agent, round=1) for agent in range(samples)))
    vote = majority([turn.answer for turn in turns], question.gold_type)
    if pick == "majority":
        return vote
    judge = await ask(PICK, agent=AGGREGATOR, round=1, role="judge", reads=turns, temperature=0.0)
    numbers = chosen(judge.reply, range(1, samples + 1))
    return turns[numbers[0] - 1].answer if numbers else vote
