"""One question through a protocol, with scripted agents."""

import asyncio
import hashlib
import re
from collections.abc import Callable

from agentark.debates import protocols
from agentark.debates.protocols.conversation import Ask, Member
from agentark.engines.chat import Chat, Reply, Sampling
from agentark.engines.prompts import solve
from agentark.engines.scripted import Scripted
from agentark.records.debates import SOLVER, Debate, Turn
from agentark.records.questions import Question

QUESTION = Question(
    question_id="q", dataset="toy", split="train", question="What is 2 + 3?", gold="5", gold_type="number"
)
ALONE = solve(QUESTION.question, None, "number")
MARK = re.compile(r"m[0-9a-f]{12}")

Script = Callable[[str, Sampling], str | Reply]


def held(name: str, script: Script, question: Question = QUESTION, **options: object) -> Debate:
    """One question through a protocol; `script(prompt, sampling)` speaks for every agent."""
    return with_chat(
        name, Scripted(lambda messages, sampling: script(messages[-1]["content"], sampling)).chat, **options
    )


def with_chat(
    name: str,
    chat: Chat,
    *,
    question: Question = QUESTION,
    layout: str = "shared",
    overflow: str = "drop_oldest",
    team: list[Member] | None = None,
    **options: object,
) -> Debate:
    settings = protocols.settings_of(name).model_validate(options).model_dump()
    ask = Ask(question, team or [Member("m", chat, 0.7, 40)], layout=layout, overflow=overflow)
    return asyncio.run(protocols.hold(question, name, settings, ask, "teacher"))


def marked(prompt: str, sampling: Sampling) -> str:
    """A reply that can be told from every other one, and depends on nothing but the request."""
    digest = hashlib.sha256(f"{prompt}{sampling.seed}".encode()).hexdigest()
    return f"m{digest[:12]}. The answer is {int(digest[:2], 16)}."


def in_order(*replies: str | Reply) -> Script:
    """The same replies in the order of asking; the last one for all further calls."""
    left = list(replies)
    return lambda prompt, sampling: left.pop(0) if len(left) > 1 else left[0]


def solutions(row: Debate) -> list[Turn]:
    return [turn for turn in row.turns if turn.role == SOLVER]
