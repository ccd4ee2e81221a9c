"""Debate logs of other projects, read into one shape: who said what in which round.

Two public shapes are chat histories of every agent in a JSON file: a list of `{question, answer, agent_contexts}`, and
a mapping `{question: [agent_contexts, gold, ...]}`, where an agent's context is its messages `[{role, content}, ...]`.
The third is for everybody else: JSONL, one debate a line, `{question, gold, choices, turns}`, where an agent may speak
in some rounds only.

Logs are hostile: how large a file, a line and a debate may be is bounded, and one bad debate spoils no other.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import msgspec

from agentark.errors import UserError
from agentark.grading.comparing import majority
from agentark.grading.reading import extract_answer
from agentark.records.debates import Debate, Turn
from agentark.records.quarantine import Quarantine
from agentark.records.questions import Question

MAX_FILE_BYTES = 2 << 30
"""Of a JSON file, which is read as a whole."""
MAX_LINE_BYTES = 64 << 20
MAX_TURNS = 300
"""Of one debate; every prompt is searched for the replies of all agents before it: a minute at the worst."""
KEYS_SHOWN, KEY_CHARS = 8, 40

_HALF_A_CHARACTER = re.compile("[\ufffd\ud800-\udfff]")
"""What stands for bytes that are not UTF-8, and lone surrogates."""


@dataclass(frozen=True)
class Said:
    """One turn as logged."""

    agent: int
    round: int
    prompt: str
    reply: str


@dataclass(frozen=True)
class Log:
    """One debate as logged."""

    question: str
    gold: str
    turns: list[Said]
    """Round by round, in each by agent."""
    where: str
    choices: list[str] | None = None


class BadLogError(ValueError):
    """A logged debate that cannot be used, for the reason in the message."""


class MisfitError(BadLogError):
    """A logged debate that has not the shape of its file."""

    def __init__(self, reason: str, has: str = "") -> None:
        """
        Args:
            reason: the same for all debates with this fault, so that they can be counted.
            has: more about this one.
        """
        super().__init__(reason)
        self.has = has


# What files hold; keys that are not named here are left alone.

_Gold = str | bool | int | float


class _Message(msgspec.Struct):
    role: str
    content: str


_Contexts = list[list[_Message]]


class _Chats(msgspec.Struct):
    question: str
    answer: _Gold
    agent_contexts: _Contexts


class _Spoken(msgspec.Struct):
    agent: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)] | str
    round: Annotated[int, msgspec.Meta(ge=1, le=MAX_TURNS)]
    reply: str
    prompt: str = ""


class _Turns(msgspec.Struct):
    question: str
    gold: _Gold
    turns: list[_Spoken]
    choices: list[str | int | float] | None = None


_LINES = msgspec.json.Decoder(_Turns)


def files(path: Path) -> list[Path]:
    """The log files at a path: itself, or the `.json` and `.jsonl` files of a folder.

    Raises:
        UserError: there are none.
    """
    found = sorted([*path.glob("*.json"), *path.glob("*.jsonl")]) if path.is_dir() else [path] if path.is_file() else []
    if not found:
        raise UserError(
            f"{path}: no debate logs there; debates.logs is the path of a JSON or JSONL file, or of a folder of them"
        )
    return found


def read(path: Path, rejected: Quarantine) -> Iterator[Log]:
    """All debates of a file or folder; of JSONL one line is held at a time.

    Args:
        rejected: takes the debates that cannot be read, or differ in shape from the others of their file.

    Raises:
        UserError: a file is not JSON, or no debate has the shape that it should.
    """
    n_read, n_misfits, first = 0, 0, ""
    for file in files(path):
        logs = []
        for where, entry, read_one in _lines(file) if file.suffix == ".jsonl" else _entries(file):
            n_read += 1
            rejected.n_rows += 1
            try:
                log = read_one(where, entry)
            except BadLogError as error:
                rejected.add(where, str(error), _beginning(entry))
                if isinstance(error, MisfitError):
                    n_misfits += 1
                    first = first or f"{where}: the first entry has {error}{error.has}"
            else:
                if file.suffix == ".jsonl":
                    yield log
                else:
                    logs.append(log)
        usual = Counter(map(_n_agents, logs)).most_common(1)
        for log in logs:
            if _n_agents(log) == usual[0][0]:
                yield log
            else:
                rejected.add(log.where, "another number of agents than the other debates of its file", log.question)
    if n_misfits and n_misfits == n_read:
        raise UserError(f"{first}; config/README.md shows the shapes of debate logs")


def _n_agents(log: Log) -> int:
    return len({turn.agent for turn in log.turns})


def _beginning(entry: Any) -> str:
    if isinstance(entry, bytes):
        return entry[:1000].decode("utf-8", "replace")
    try:
        return json.dumps(entry)
    except RecursionError:
        return ""


Entry = tuple[str, Any, Callable[[str, Any], Log]]
"""Its place, what stands there, and how it is read."""


def _lines(file: Path) -> Iterator[Entry]:
    number = 0
    with file.open("rb") as handle:
        while line := handle.readline(MAX_LINE_BYTES + 1):
            number += 1
            yield f"{file}, line {number}", line, _of_line
            # The rest of a line that is too long.
            while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                line = handle.readline(MAX_LINE_BYTES + 1)


def _entries(file: Path) -> Iterator[Entry]:
    if file.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"{file}: larger than 2 GiB; split it into several files in one folder, or write JSONL")
    try:
        # What is not UTF-8 becomes U+FFFD, and spoils its own debate only.
        content = json.loads(file.read_bytes().decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not JSON ({error}); give whole debate logs") from error
    if not isinstance(content, dict | list):
        raise UserError(f"{file}: neither a list nor a mapping of debates; config/README.md shows the shapes")
    entries, read_one = (content.items(), _of_pair) if isinstance(content, dict) else (content, _of_chats)
    for number, entry in enumerate(entries, start=1):
        yield f"{file}, debate {number}", entry, read_one


def _of_line(where: str, line: bytes) -> Log:
    if len(line) > MAX_LINE_BYTES:
        raise BadLogError(f"a line of more than {MAX_LINE_BYTES:,} bytes")
    text = line.decode("utf-8", "replace")
    try:
        logged = _LINES.decode(text)
    except msgspec.ValidationError as error:
        raise _misfit(error, _Turns, _keys(text)) from None
    except (msgspec.DecodeError, RecursionError):
        raise MisfitError("no valid JSON" if line.strip() else "nothing but an empty line") from None
    agents = [turn.agent for turn in logged.turns]
    if any(isinstance(agent, str) for agent in agents):
        numbers = {agent: number for number, agent in enumerate(dict.fromkeys(agents))}
        agents = [numbers[agent] for agent in agents]
    turns = [Said(agent, turn.round, turn.prompt, turn.reply) for agent, turn in zip(agents, logged.turns, strict=True)]
    choices = [str(choice) for choice in logged.choices or []]
    return _log(where, logged.question, logged.gold, turns, choices or None)


def _keys(text: str) -> list[str]:
    try:
        return list(msgspec.json.decode(text, type=dict[str, msgspec.Raw]))
    except msgspec.ValidationError:
        return []


def _of_chats(where: str, entry: Any) -> Log:
    try:
        logged = msgspec.convert(entry, _Chats)
    except msgspec.ValidationError as error:
        raise _misfit(error, _Chats, entry if isinstance(entry, dict) else ()) from None
    return _log(where, logged.question, logged.answer, _dialogues(logged.agent_contexts))


def _of_pair(where: str, pair: tuple[str, Any]) -> Log:
    question, entry = pair
    if not isinstance(entry, list):
        raise MisfitError("no list of contexts and gold")
    try:
        # Some projects log more behind the two.
        contexts, gold = msgspec.convert(entry[:2], tuple[_Contexts, _Gold])
    except msgspec.ValidationError as error:
        raise _misfit(error) from None
    return _log(where, question, gold, _dialogues(contexts))


def _misfit(
    error: msgspec.ValidationError, wanted: type[msgspec.Struct] | None = None, keys: Iterable[str] = ()
) -> MisfitError:
    """
    Args:
        wanted: what an object should have been.
        keys: those that it has.
    """
    has = sorted(keys)
    missed = [f.name for f in msgspec.structs.fields(wanted) if f.required and f.name not in has] if has else []
    if missed:
        shown = ", ".join(f"`{key[:KEY_CHARS]}`" for key in has[:KEYS_SHOWN])
        return MisfitError("no " + ", ".join(f"`{name}`" for name in missed), f"; it has {shown}")
    # One reason for all turns, agents and messages.
    return MisfitError("another shape: " + re.sub(r"\[\d+\]", "[...]", str(error)))


def _dialogues(contexts: _Contexts) -> list[Said]:
    """The chats of all agents, who speak in every round."""
    dialogues = [_pairs(context) for context in contexts]
    if len({len(dialogue) for dialogue in dialogues}) > 1:
        raise BadLogError("agents that miss a round")
    return [
        Said(agent, number, prompt, reply)
        for agent, dialogue in enumerate(dialogues)
        for number, (prompt, reply) in enumerate(dialogue, start=1)
    ]


def _pairs(context: list[_Message]) -> list[tuple[str, str]]:
    """An agent's messages as (prompt, reply) pairs; system messages are part of the next prompt."""
    pairs, prompt = [], []
    for message in context:
        if message.role == "assistant":
            pairs.append(("\n\n".join(prompt), message.content))
            prompt = []
        else:
            prompt.append(message.content)
    return pairs


def _log(where: str, question: str, gold: _Gold, turns: list[Said], choices: list[str] | None = None) -> Log:
    if not turns:
        raise BadLogError("no replies")
    if len(turns) > MAX_TURNS:
        raise BadLogError(f"more than {MAX_TURNS:,} turns")
    if len({(turn.round, turn.agent) for turn in turns}) < len(turns):
        raise BadLogError("an agent that speaks twice in one round")
    texts = [question, str(gold), *(choices or []), *(text for turn in turns for text in (turn.prompt, turn.reply))]
    if any(_HALF_A_CHARACTER.search(text) for text in texts):
        raise BadLogError("bytes that are not UTF-8")
    return Log(
        question=question.strip(),
        gold=str(gold),
        turns=sorted(turns, key=lambda turn: (turn.round, turn.agent)),
        where=where,
        choices=choices,
    )


def debate(log: Log, question: Question, teacher: str) -> Debate:
    """A log as a Debate record of a known question; the final answer is the last round's majority vote."""
    n_choices = len(question.choices) if question.choices else None
    turns: list[Turn] = []
    latest: dict[int, int] = {}
    for number, said in groupby(log.turns, key=lambda turn: turn.round):
        before = sorted(latest.values())
        for one in said:
            latest[one.agent] = len(turns)
            turns.append(
                Turn(
                    agent=one.agent,
                    round=number,
                    prompt=one.prompt,
                    reply=one.reply,
                    answer=extract_answer(one.reply, question.gold_type, n_choices),
                    reads=[p for p in before if turns[p].agent == one.agent or _quotes(one.prompt, turns[p].reply)],
                )
            )
    last = [turn.answer for turn in turns if turn.round == log.turns[-1].round]
    return Debate(
        question=question,
        teacher=teacher,
        protocol="imported",
        turns=turns,
        answer=majority(last, question.gold_type),
    )


def _quotes(prompt: str, reply: str) -> bool:
    return bool(reply.strip()) and reply.strip() in prompt
