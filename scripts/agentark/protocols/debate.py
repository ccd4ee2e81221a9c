"""The paper's debate: n equal agents, up to K rounds, then one call that summarises (section 3.2 and A.2).

In round 1 each agent solves the question alone. In every later round all agents at once read the replies of the
round before, look for errors and may revise. The debate ends after K rounds or as soon as they agree.

Where this differs from the paper and its reference code:
- A round is one user message that carries the question and all replies of the last round, the agent's own among
  them, instead of a dialogue that grows by every round. Nothing is lost that the agents act on, prompts keep
  their length, and the dialogue of an agent is still in its turns.
- The replies stand first, in the same order for all agents, and what is said to one agent alone stands last: the
  n prompts share their prefix, which the engine computes once. Own reply first took twice the time.
- Hidden reasoning is not shown to the others; the reference shows whatever the model printed.
- "Consensus" is not defined in the paper: here it is equality of the normalised answers (`debates.stop`).
"""

import asyncio
from collections import Counter

from agentark import config
from agentark.engines import Chat
from agentark.grading import answer_key, majority
from agentark.prompts import question_text, solve
from agentark.protocols import ask, visible
from agentark.records import AGGREGATOR, Debate, Question, Turn

REVISE = (
    "You are Agent {name}. Look for errors and missed details in the solutions of the other agents and in your own, "
    "and correct your answer if it is wrong. Write your own complete solution."
)
SUMMARISE = "These agents debated the question. Weigh their solutions and write the final one."


async def debate(question: Question, chat: Chat, settings: config.Debates, teacher: str) -> Debate:
    """`settings.agents` agents, at most `settings.rounds` rounds, and the aggregator's turn.

    The answer is the aggregator's, or the majority of the last round where the aggregator gave none. A failed
    turn is left out of what the others read; when all turns of a round failed, the debate is over.
    """
    prompts = [solve(question.question, question.choices, question.gold_type)] * settings.agents
    turns: list[Turn] = []
    consensus_round = None
    for number in range(1, settings.rounds + 1):
        current = await asyncio.gather(
            *(ask(chat, question, prompt, settings, agent=agent, round=number) for agent, prompt in enumerate(prompts))
        )
        turns += current
        if consensus_round is None and agreed(current, question, "unanimous"):
            consensus_round = number
        if agreed(current, question, settings.stop) or not any(turn.status != "failed" for turn in current):
            break
        prompts = [after_reading(current, question, REVISE.format(name=agent + 1)) for agent in range(settings.agents)]

    answer = majority([turn.answer for turn in current], question.gold_type)
    if any(turn.status != "failed" for turn in current):
        prompt = after_reading(current, question, SUMMARISE)
        summary = await ask(chat, question, prompt, settings, agent=AGGREGATOR, round=number)
        turns.append(summary)
        answer = answer if summary.answer is None else summary.answer
    return Debate(
        question=question,
        teacher=teacher,
        protocol="debate",
        turns=turns,
        consensus_round=consensus_round,
        answer=answer,
    )


def agreed(turns: list[Turn], question: Question, rule: str) -> bool:
    """Whether the agents of a round agree: all of them, or more than half. No answer agrees with no other."""
    keys = Counter(answer_key(turn.answer, question.gold_type) for turn in turns if turn.answer is not None)
    most = max(keys.values(), default=0)
    return {"none": False, "majority": most > len(turns) / 2, "unanimous": most == len(turns)}[rule]


def after_reading(turns: list[Turn], question: Question, task: str) -> str:
    """The message that shows a round's replies and then sets a task."""
    text = question_text(question.question, question.choices)
    # The closing words of the first round again: how to reason and how to state the answer.
    closing = solve(question.question, question.choices, question.gold_type).removeprefix(text).strip()
    replies = [f"Agent {turn.agent + 1}:\n{visible(turn.reply)}" for turn in turns if turn.status != "failed"]
    return "\n\n".join([text, *replies, f"{task} {closing}"])
