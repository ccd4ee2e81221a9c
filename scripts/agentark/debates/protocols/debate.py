"""The paper's debate: n equal agents, up to K rounds, then one call that summarises (section 3.2 and A.2).

In round 1 each agent solves the question alone. In every later round all agents at once read the replies of the
round before, look for errors and may revise. The debate ends after K rounds or as soon as they agree.

Where this differs from the paper and its reference code:
- An agent reads the last round only, its own reply among the others', instead of a dialogue that grows by every
  round (`prompt_layout: reference` has that dialogue).
- Hidden reasoning is not shown to the others; the reference shows whatever the model printed.
- "Consensus" is not defined in the paper: here it is equality of the normalised answers (`stop`).
- All agents read all others in the paper; `topology` and `share` are from Li et al. 2024, arXiv 2406.11776 (sparse
  communication), and Du et al. 2023, arXiv 2305.14325 (summaries of the others' replies).
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from agentark.debates.protocols import most_agreeing
from agentark.debates.protocols.conversation import SUMMARISER, Ask, stated_answer, visible
from agentark.engines.prompts import instructions
from agentark.grading.comparing import majority
from agentark.records.debates import AGGREGATOR, SETTLER, Turn
from agentark.records.questions import Question

REVISE = (
    "You are Agent {name}. Look for errors and missed details in the solutions of the other agents and in your own, "
    "and correct your answer if it is wrong. Write your own complete solution."
)
SUMMARISE = "These agents debated the question. Weigh their solutions and write the final one."
DIGEST = "Summarise these solutions in a few sentences: which answers there are, and the argument for each."

Topology = Literal["full", "ring", "star", "sparse"]


async def debate(
    question: Question,
    ask: Ask,
    *,
    agents: Annotated[int, Field(ge=1, description="agents a question (paper: 5)")] = 5,
    rounds: Annotated[int, Field(ge=1, description="rounds at most (paper: 3)")] = 3,
    stop: Annotated[
        Literal["none", "majority", "unanimous"],
        Field(description="agreement on the normalised answer that ends a debate early"),
    ] = "unanimous",
    topology: Annotated[
        Topology,
        Field(description="whom an agent reads: all, its two neighbours, the hub, or the next `degree` agents"),
    ] = "full",
    degree: Annotated[int, Field(ge=1, description="others that an agent reads in a sparse topology")] = 2,
    share: Annotated[
        Literal["full", "answers", "summary"],
        Field(description="what others see: whole replies, answers only, or one summary of a round by one more call"),
    ] = "full",
    aggregator: Annotated[
        Literal["llm", "vote"], Field(description="who settles on the answer: one more call, or the last round's vote")
    ] = "llm",
) -> str | None:
    """The answer is the aggregator's, or the majority of the last round where the aggregator gave none."""
    closing = instructions(question.gold_type)
    current = await asyncio.gather(*(ask(agent=agent, round=1) for agent in range(agents)))
    number = 1
    while number < rounds and not _settled(current, question, stop):
        number += 1
        digest = (
            [await ask(DIGEST, agent=0, round=number, role=SUMMARISER, reads=current)] if share == "summary" else []
        )
        current = await asyncio.gather(
            *(
                ask(
                    f"{REVISE.format(name=agent + 1)} {closing}",
                    agent=agent,
                    round=number,
                    reads=[*digest, own] if digest else _in_view(agent, current, topology, degree),
                    show=partial(_others_answer, agent, question) if share == "answers" else None,
                )
                for agent, own in enumerate(current)
            )
        )
    vote = majority([turn.answer for turn in current], question.gold_type)
    if aggregator == "vote":
        return vote
    summary = await ask(f"{SUMMARISE} {closing}", agent=AGGREGATOR, round=number, role=SETTLER, reads=current)
    return summary.answer or vote


def _settled(turns: Sequence[Turn], question: Question, stop: str) -> bool:
    most = most_agreeing(turns, question.gold_type)
    return {"none": False, "majority": most > len(turns) / 2, "unanimous": most == len(turns)}[stop]


def peers(agent: int, n_agents: int, topology: Topology, degree: int = 2) -> set[int]:
    """The others whom an agent reads."""
    others = set(range(n_agents)) - {agent}
    if topology == "ring":
        return others & {(agent - 1) % n_agents, (agent + 1) % n_agents}
    if topology == "star":
        return others if agent == 0 else {0}
    if topology == "sparse":
        return others & {(agent + step) % n_agents for step in range(1, degree + 1)}
    return others


def _in_view(agent: int, turns: Sequence[Turn], topology: Topology, degree: int) -> list[Turn]:
    in_view = peers(agent, len(turns), topology, degree) | {agent}
    return [turn for turn in turns if turn.agent in in_view]


def _others_answer(reader: int, question: Question, turn: Turn) -> str:
    """An agent remembers its own solution, and hears only answers from the others."""
    return visible(turn) if turn.agent == reader else stated_answer(turn, question.gold_type)
