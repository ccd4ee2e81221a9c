"""A network of agents over time, in which a ranker keeps the best and drops the rest.

Source: Liu et al. 2023, DyLAN, arXiv 2310.02170: in every round the active agents read the replies of the round
before; from the third round on only the agents that a listwise ranker puts first speak; more than two thirds with
one answer end it. The reference code masks shuffled positions instead of agents and compares whole replies word by
word; here agents are masked by their number and answers are compared by value.
"""

import asyncio
from typing import Annotated

from pydantic import Field

from agentark.debates.protocols import chosen, most_agreeing
from agentark.debates.protocols.conversation import Ask
from agentark.engines.prompts import instructions
from agentark.grading.comparing import majority
from agentark.records.debates import AGGREGATOR
from agentark.records.questions import Question

REVISE = "You are Agent {name}. Check these solutions, your own among them, and write your own complete solution."
RANK = "Rank the agents by how right their solutions are. Write only the {keep} best agents' numbers, as a list: [1, 2]"


async def dylan(
    question: Question,
    ask: Ask,
    *,
    agents: Annotated[int, Field(ge=1, description="agents at the start (paper: 4)")] = 4,
    rounds: Annotated[int, Field(ge=1, description="rounds at most (paper: 4 layers)")] = 4,
    keep: Annotated[int, Field(ge=1, description="agents that stay after the ranking (paper: 2)")] = 2,
    rank_after: Annotated[int, Field(ge=1, description="rounds before the ranking (paper: 2)")] = 2,
) -> str | None:
    """The majority of the last round."""
    closing = instructions(question.gold_type)
    active = list(range(agents))
    current = await asyncio.gather(*(ask(agent=agent, round=1) for agent in active))
    for number in range(2, rounds + 1):
        if most_agreeing(current, question.gold_type) > 2 / 3 * len(current):
            break
        if number == rank_after + 1 and len(active) > keep:
            task = RANK.format(keep=keep)
            ranker = await ask(task, agent=AGGREGATOR, round=number, role="ranker", reads=current, temperature=0.0)
            ranked = [name - 1 for name in chosen(ranker.reply, [agent + 1 for agent in active])]
            # A ranker that names too few leaves the others in their order: a short list must not end the team.
            active = sorted([*ranked, *(agent for agent in active if agent not in ranked)][:keep])
        current = await asyncio.gather(
            *(
                ask(f"{REVISE.format(name=agent + 1)} {closing}", agent=agent, round=number, reads=current)
                for agent in active
            )
        )
    return majority([turn.answer for turn in current], question.gold_type)
