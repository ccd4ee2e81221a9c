"""Two sides and a judge: one agent argues for an answer, the other against it, a judge ends it when convinced.

Source: Liang et al. 2023, "Encouraging Divergent Thinking ... through Multi-Agent Debate", arXiv 2305.19118. Agents
speak one after the other, as there; the judge reads the whole dialogue after every round. The reference code reads
the judge's JSON with `eval`; here the judge writes an answer or the word "undecided".
"""

from typing import Annotated

from pydantic import Field

from agentark.debates.protocols import last_word
from agentark.debates.protocols.conversation import Ask
from agentark.engines.prompts import instructions
from agentark.records.debates import AGGREGATOR, SETTLER, Turn
from agentark.records.questions import Question

DISAGREE = "You are Agent 2. You disagree with Agent 1: find what is wrong or missing, and give your own solution."
REPLY = "You are Agent {name}. Answer the other side's last argument: keep what is right, and mend what is wrong."
JUDGE = "You are the judge. If one side has shown that its answer is right, state it; if not, write only: undecided."
DECIDE = "You are the judge, and the debate is over. Choose the better supported answer."


async def mad(
    question: Question,
    ask: Ask,
    *,
    rounds: Annotated[int, Field(ge=1, description="rounds at most (paper: 3)")] = 3,
) -> str | None:
    """The judge's answer, else the affirmative side's last one. Calls: at most 3 a round."""
    closing = instructions(question.gold_type)
    said: list[Turn] = []
    for number in range(1, rounds + 1):
        said.append(
            await ask(agent=0, round=1)
            if number == 1
            else await ask(f"{REPLY.format(name=1)} {closing}", agent=0, round=number, reads=said)
        )
        against = DISAGREE if number == 1 else REPLY.format(name=2)
        said.append(await ask(f"{against} {closing}", agent=1, round=number, reads=said))
        last = number == rounds
        task = f"{DECIDE if last else JUDGE} {closing}"
        verdict = await ask(task, agent=AGGREGATOR, round=number, role=SETTLER, reads=said, temperature=0.0)
        if verdict.answer is not None and (last or last_word(verdict.reply, "undecided") is None):
            return verdict.answer
    return said[-2].answer
