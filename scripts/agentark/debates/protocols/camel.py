"""Role play: a user who knows the task gives instructions, an assistant carries them out, a critic chooses.

Source: Li et al. 2023, CAMEL, arXiv 2303.17760, with the critic in the loop: the assistant proposes several solutions
at each step and the critic picks one. The reference code reuses a stale choice; here every choice is a call of its
own. The assistant writes a whole solution each time, so that each of its turns can be graded.
"""

import asyncio
from typing import Annotated

from pydantic import Field

from agentark.debates.protocols import chosen, last_word
from agentark.debates.protocols.conversation import Ask
from agentark.engines.prompts import instructions
from agentark.records.debates import AGGREGATOR, Turn
from agentark.records.questions import Question

INSTRUCT = (
    "You are the user: you know what is asked, and the assistant solves it. Give the one next instruction that brings "
    "the solution forward. If the last solution needs nothing more, write only: done."
)
FOLLOW = "You are the assistant, Agent {name}. Follow the user's last instruction. Write the complete solution."
PICK = "You are the critic. Which of these solutions follows the instruction best and is right? Write only its number."


async def camel(
    question: Question,
    ask: Ask,
    *,
    steps: Annotated[int, Field(ge=1, description="instructions at most")] = 3,
    proposals: Annotated[int, Field(ge=1, description="solutions at each step that the critic chooses from")] = 2,
) -> str | None:
    """The chosen solution's answer. Calls: at most 2 + proposals a step; one proposal needs no critic."""
    closing = instructions(question.gold_type)
    dialogue: list[Turn] = []
    for number in range(1, steps + 1):
        instruction = await ask(INSTRUCT, agent=AGGREGATOR, round=number, role="user", reads=dialogue)
        if dialogue and last_word(instruction.reply, "done"):
            break
        said = [*dialogue, instruction]
        solutions = await asyncio.gather(
            *(
                ask(f"{FOLLOW.format(name=agent + 1)} {closing}", agent=agent, round=number, reads=said)
                for agent in range(proposals)
            )
        )
        choice = 1
        if proposals > 1:
            reads = [instruction, *solutions]
            critic = await ask(PICK, agent=AGGREGATOR, round=number, role="critic", reads=reads, temperature=0.0)
            choice = next(iter(chosen(critic.reply, range(1, proposals + 1))), 1)
        dialogue = [*said, solutions[choice - 1]]
    return dialogue[-1].answer
