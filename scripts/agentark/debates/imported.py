"""Debate logs of other projects, read into one shape.

Two public shapes, both chat histories of every agent: a list of `{question, answer, agent_contexts}`, and a mapping
`{question: [agent_contexts, gold]}`, where an agent's context is its messages `[{role, content}, ...]`.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentark.errors import UserError
from agentark.grading.comparing import majority
from agentark.grading.reading import extract_answer
from agentark.records.debates import Debate, Turn
from agentark.records.quarantine import Quarantine
from agentark.records.questions import Question

MAX_FILE_BYTES = 2 << 30


@dataclass(frozen=True)
class Log:
    """One debate as logged: per agent, its (prompt, reply) pairs in the order of the rounds."""

    question: str
    gold: str
    dialogues: list[list[tuple[str, str]]]
    where: str


def files(path: Path) -> list[Path]:
    """The log files at a path: itself, or the `.json` files of a folder.

    Raises:
        UserError: there are none.
    """
    found = sorted(path.glob("*.json")) if path.is_dir() else [path] if path.is_file() else []
    if not found:
        raise UserError(f"{path}: no debate logs there; debates.logs is the path of a JSON file or a folder of them")
    return found


def read(path: Path, rejected: Quarantine) -> Iterator[Log]:
    """All debates of a file or folder.

    Args:
        rejected: takes the debates that cannot be read, or differ in shape from the others of their file.

    Raises:
        UserError: a file is not JSON or of neither shape.
    """
    for file in files(path):
        if file.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{file}: larger than 2 GiB; split it into several files in one folder")
        try:
            # What is not UTF-8 becomes U+FFFD, and spoils its own debate only.
            content = json.loads(file.read_bytes().decode("utf-8", "replace"))
        except ValueError as error:
            raise UserError(f"{file}: not JSON ({error}); give whole debate logs") from error
        logs = []
        for where, question, entry in _entries(content, file):
            rejected.n_rows += 1
            try:
                logs.append(_log(where, question, entry))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                reason = str(error) if isinstance(error, BadLogError) else "neither of the two shapes"
                rejected.add(where, reason, json.dumps(entry, default=str))
        usual = Counter(len(log.dialogues) for log in logs).most_common(1)
        for log in logs:
            if len(log.dialogues) == usual[0][0]:
                yield log
            else:
                rejected.add(log.where, "another number of agents than the other debates of its file", log.question)


class BadLogError(ValueError):
    """A logged debate that cannot be used, for the reason in the message."""


def _entries(content: Any, file: Path) -> Iterator[tuple[str, str | None, Any]]:
    if not isinstance(content, dict | list):
        raise UserError(f"{file}: neither a list nor a mapping of debates; see config/README.md for the two shapes")
    pairs = content.items() if isinstance(content, dict) else ((None, entry) for entry in content)
    for number, (question, entry) in enumerate(pairs, start=1):
        yield f"{file}, debate {number}", question, entry


def _log(where: str, question: str | None, entry: Any) -> Log:
    if question is None:
        question, gold, contexts = entry["question"], entry["answer"], entry["agent_contexts"]
    else:
        contexts, gold = entry
    dialogues = [_pairs(context) for context in contexts]
    if not dialogues or not dialogues[0]:
        raise BadLogError("no replies")
    if len({len(dialogue) for dialogue in dialogues}) != 1:
        raise BadLogError("agents that miss a round")
    said = "".join([str(question), *(text for dialogue in dialogues for pair in dialogue for text in pair)])
    if "\ufffd" in said or any("\ud800" <= letter <= "\udfff" for letter in said):
        raise BadLogError("bytes that are not UTF-8")
    return Log(question=str(question).strip(), gold=str(gold), dialogues=dialogues, where=where)


def _pairs(context: list[dict[str, str]]) -> list[tuple[str, str]]:
    """An agent's messages as (prompt, reply) pairs; system messages are part of the next prompt."""
    pairs, prompt = [], []
    for message in context:
        role, text = message["role"], message["content"]
        if not isinstance(text, str):
            raise TypeError(f"content of a {role} message is {type(text).__name__}")
        if role == "assistant":
            pairs.append(("\n\n".join(prompt), text))
            prompt = []
        else:
            prompt.append(text)
    return pairs


def debate(log: Log, question: Question, teacher: str) -> Debate:
    """A log as a Debate record of a known question; the final answer is the last round's majority vote."""
    n_choices, n_agents = len(question.choices) if question.choices else None, len(log.dialogues)
    turns = [
        Turn(
            agent=agent,
            round=number,
            prompt=prompt,
            reply=reply,
            answer=extract_answer(reply, question.gold_type, n_choices),
            reads=[
                (number - 2) * n_agents + other
                for other, dialogue in enumerate(log.dialogues)
                if number > 1 and (other == agent or _quotes(prompt, dialogue[number - 2][1]))
            ],
        )
        for number, replies in enumerate(zip(*log.dialogues, strict=True), start=1)
        for agent, (prompt, reply) in enumerate(replies)
    ]
    last = [turn.answer for turn in turns if turn.round == len(log.dialogues[0])]
    return Debate(
        question=question,
        teacher=teacher,
        protocol="imported",
        turns=turns,
        answer=majority(last, question.gold_type),
    )


def _quotes(prompt: str, reply: str) -> bool:
    return bool(reply.strip()) and reply.strip() in prompt
