"""A directed acyclic graph: an actor on every node, a critic on every edge.

Source: Qian et al. 2024, MacNet, arXiv 2406.07155. A source solves the question; along each edge a critic reads the
predecessor's solution and the successor refines it by the criticism. Several solutions that meet in a node are
weighed in one refinement. The reference code looks up the predecessors of nodes that have none left, so that no
solution travels; here each node hands on its own.
"""

import asyncio
from typing import Annotated, Literal

from pydantic import Field

from agentark.debates.protocols.conversation import Ask
from agentark.engines.prompts import instructions
from agentark.grading.comparing import majority
from agentark.records.debates import Turn
from agentark.records.questions import Question

CRITICISE = "You are the critic of Agent {name}'s solution. Name its first error and how to mend it, in a few words."
REFINE = "You are Agent {name}. Weigh these solutions and their criticism, and write a better complete solution."

Shape = Literal["chain", "star", "tree", "mesh"]


async def macnet(
    question: Question,
    ask: Ask,
    *,
    nodes: Annotated[int, Field(ge=1, description="agents, one a node (paper: 4 and more)")] = 4,
    shape: Annotated[
        Shape,
        Field(description="each node follows the one before; all follow the first; a binary tree; all before"),
    ] = "mesh",
) -> str | None:
    """The answer of the last node, or the majority of the last ones where several have no successor."""
    closing = instructions(question.gold_type)
    before = predecessors(nodes, shape)
    solutions: dict[int, asyncio.Task[Turn]] = {}

    async def node(agent: int) -> Turn:
        read = await asyncio.gather(*(solutions[i] for i in before[agent]))
        number = 1 + max((turn.round for turn in read), default=0)
        if not read:
            return await ask(agent=agent, round=number)
        criticism = await asyncio.gather(
            *(
                ask(
                    CRITICISE.format(name=turn.agent + 1),
                    agent=agent,
                    round=number,
                    role="critic",
                    reads=[turn],
                )
                for turn in read
            )
        )
        task = f"{REFINE.format(name=agent + 1)} {closing}"
        return await ask(task, agent=agent, round=number, reads=[*read, *criticism])

    async with asyncio.TaskGroup() as group:
        for agent in range(nodes):
            solutions[agent] = group.create_task(node(agent))
    inner = {i for ahead in before for i in ahead}
    sinks = [solutions[i].result().answer for i in range(nodes) if i not in inner]
    return majority(sinks, question.gold_type)


def predecessors(n_nodes: int, shape: Shape) -> list[list[int]]:
    """For each node the nodes whose solutions it refines; all have smaller numbers."""
    of = {
        "chain": lambda i: [i - 1],
        "star": lambda i: [0],
        "tree": lambda i: [(i - 1) // 2],
        "mesh": lambda i: list(range(i)),
    }[shape]
    return [[], *(of(i) for i in range(1, n_nodes))]
