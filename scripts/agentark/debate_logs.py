"""Debate logs of other projects, read into one shape.

Two public shapes, both chat histories of every agent: a list of `{question, answer, agent_contexts}`, and a mapping
`{question: [agent_contexts, gold]}`, where an agent's context is its messages `[{role, content}, ...]`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentark.errors import UserError
from agentark.grading import extract_answer, majority
from agentark.records import Debate, Question, Turn

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


def read(path: Path) -> Iterator[Log]:
    """All debates of a file or folder.

    Raises:
        UserError: a file is not JSON or of neither shape; names the file and the entry.
    """
    for file in files(path):
        if file.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{file}: larger than 2 GiB; split it into several files in one folder")
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{file}: not JSON ({error}); give whole debate logs") from error
        yield from _logs(content, file)


def _logs(content: Any, file: Path) -> Iterator[Log]:
    if isinstance(content, dict):
        entries = [(question, entry) for question, entry in content.items()]
    elif isinstance(content, list):
        entries = [(None, entry) for entry in content]
    else:
        raise UserError(f"{file}: neither a list nor a mapping of debates; see config/README.md for the two shapes")
    for number, (question, entry) in enumerate(entries, start=1):
        where = f"{file}, debate {number}"
        try:
            if question is None:
                question, gold, contexts = entry["question"], entry["answer"], entry["agent_contexts"]
            else:
                contexts, gold = entry
            dialogues = [_pairs(context) for context in contexts]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{where}: not a logged debate ({error!r}); see config/README.md for the two shapes"
            ) from error
        if not dialogues or len({len(dialogue) for dialogue in dialogues}) != 1 or not dialogues[0]:
            raise UserError(f"{where}: the agents have different numbers of replies; complete or delete that debate")
        yield Log(question=str(question).strip(), gold=str(gold), dialogues=dialogues, where=where)


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
    n_choices = len(question.choices) if question.choices else None
    turns = [
        Turn(
            agent=agent,
            round=number,
            prompt=prompt,
            reply=reply,
            answer=extract_answer(reply, question.gold_type, n_choices),
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
