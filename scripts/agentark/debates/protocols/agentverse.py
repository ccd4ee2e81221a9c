"""Recruit experts, solve, let them criticise until they agree, evaluate; if it fails, begin again with the feedback.

Source: Chen et al. 2023, AgentVerse, arXiv 2308.10848, its vertical decision-making (one solver, several reviewers).
The reference code never clears earlier criticism, so that agreement cannot end its loop; here only the reviews of
the current solution count.
"""

import asyncio
from typing import Annotated

from pydantic import Field

from agentark.debates.protocols import last_word
from agentark.debates.protocols.conversation import Ask
from agentark.engines.prompts import instructions
from agentark.records.debates import AGGREGATOR, Turn
from agentark.records.questions import Question

RECRUIT = "Name {n} kinds of experts who should check a solution of this question, one a line, a few words each."
SOLVE = "Use the reviews and the evaluation, where there are any, and write a better complete solution."
REVIEW = "You are this expert: {expert}. Check the solution. Name its first error; if it has none, write only: agree."
EVALUATE = (
    "Is the last solution right? Say in one sentence what is wrong, if anything; then write only: right or wrong."
)


async def agentverse(
    question: Question,
    ask: Ask,
    *,
    experts: Annotated[int, Field(ge=1, description="reviewers that are recruited (paper: 2 to 4)")] = 3,
    reviews: Annotated[int, Field(ge=1, description="times a solution is reviewed before it is evaluated")] = 2,
    attempts: Annotated[int, Field(ge=1, description="evaluations at most (paper: 3)")] = 3,
) -> str | None:
    """The last solution's answer. Calls: 1 + attempts * (reviews * (1 + experts) + 1) at most."""
    closing = instructions(question.gold_type)
    recruiter = await ask(RECRUIT.format(n=experts), agent=AGGREGATOR, round=1, role="recruiter")
    names = [line.strip(" -*.0123456789")[:80] for line in recruiter.reply.splitlines()]
    names = [name for name in names if name] or ["a careful checker"]
    solution, feedback = await ask(agent=0, round=1), []
    number = 1
    for attempt in range(attempts):
        for _ in range(reviews):
            if feedback:
                number += 1
                reads = [solution, *feedback]
                solution = await ask(f"{SOLVE} {closing}", agent=0, round=number, reads=reads)
            feedback = await asyncio.gather(
                *(
                    ask(
                        REVIEW.format(expert=names[i % len(names)]),
                        agent=i + 1,
                        round=number,
                        role="reviewer",
                        reads=[solution],
                    )
                    for i in range(experts)
                )
            )
            if all(_agrees(turn) for turn in feedback):
                break
        verdict = await ask(EVALUATE, agent=AGGREGATOR, round=number, role="judge", reads=[solution], temperature=0.0)
        if last_word(verdict.reply, "right", "wrong") == "right" or attempt == attempts - 1:
            break
        feedback = [*feedback, verdict]
    return solution.answer


def _agrees(review: Turn) -> bool:
    return last_word(review.reply, "agree", "disagree") == "agree"
