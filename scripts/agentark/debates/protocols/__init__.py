"""Multi-agent protocols: what the agents of one question say to one another.

A protocol is a coroutine in a module of its own:

    async def relay(question: Question, ask: Ask, *, agents: Annotated[int, Field(ge=1)] = 5) -> str | None:

It speaks by `await ask(task, agent=..., round=..., reads=turns)`, through several agents at once by `asyncio.gather`,
and returns the final answer. Its keyword-only parameters, their types and defaults, are its settings in the config
(`debates.options`). Batching, prompts' layout, seeds, caching, resuming and accounting are not its business.
"""

import importlib
import importlib.util
import inspect
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import pydantic

from agentark.config.section import Section
from agentark.debates.protocols.conversation import Ask
from agentark.errors import UserError
from agentark.grading.comparing import answer_key
from agentark.records.debates import SOLVER, Debate, Turn
from agentark.records.questions import GoldType, Question

Protocol = Callable[..., Awaitable[str | None]]

NAMES = (
    "single",
    "self_consistency",
    "debate",
    "mad",
    "dylan",
    "agentverse",
    "camel",
    "macnet",
    "mav",
    "reflect",
)


@cache
def find(name: str) -> Protocol:
    """A protocol by its name in the config.

    Args:
        name: one of `NAMES`, or `FILE.py:FUNCTION` or `PACKAGE.MODULE:FUNCTION` for a user's own.

    Raises:
        UserError: there is no such protocol, or it is not one.
    """
    if name in NAMES:
        return getattr(importlib.import_module(f"{__name__}.{name}"), name)
    place, _, function = name.rpartition(":")
    if not place:
        raise UserError(f"`{name}` is no protocol; take one of {', '.join(NAMES)}, or your own as FILE.py:FUNCTION")
    module = _from_file(Path(place)) if place.endswith(".py") else _from_package(place)
    found = getattr(module, function, None)
    if not inspect.iscoroutinefunction(found):
        raise UserError(f"{place}: no `async def {function}(question, ask, ...)` in it; docs/protocols.md shows one")
    return found


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the path of the protocol's Python file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever is wrong with it, it is the user's file
        raise UserError(f"{path}: {type(error).__name__}: {error}; mend the protocol's file") from error
    return module


def _from_package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{name}: not importable ({error}); install it, or give FILE.py:FUNCTION") from error


def source(name: str) -> Path:
    """The file that a protocol stands in."""
    return Path(inspect.getfile(find(name)))


class _Settings(Section):
    """A protocol's author writes its defaults, so they are checked too."""

    model_config = pydantic.ConfigDict(validate_default=True)


@cache
def settings_of(name: str) -> type[Section]:
    """A protocol's keyword-only parameters as a typed model; unknown and mistyped settings are refused."""
    function = find(name)
    hints = get_type_hints(function, include_extras=True)
    fields = {
        key: (hints.get(key, Any), ... if parameter.default is parameter.empty else parameter.default)
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    return pydantic.create_model(function.__name__, __base__=_Settings, **fields)


async def hold(question: Question, name: str, options: dict[str, Any], ask: Ask, teacher: str) -> Debate:
    """One question through one protocol.

    Raises:
        QuestionFailedError: a request got no reply.
    """
    try:
        answer = await find(name)(question, ask, **options)
    except ExceptionGroup as group:  # of a protocol that asks in a TaskGroup
        raise _first(group) from None
    return Debate(
        question=question,
        teacher=teacher,
        protocol=name.rpartition(":")[2],
        turns=(turns := ask.transcript()),
        consensus_round=consensus_round(turns, question.gold_type),
        answer=answer,
    )


def _first(group: ExceptionGroup) -> Exception:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


def consensus_round(turns: Sequence[Turn], gold_type: GoldType) -> int | None:
    """The first round in which several solvers spoke and all gave the same answer."""
    rounds: dict[int, list[Turn]] = {}
    for turn in turns:
        if turn.role == SOLVER:
            rounds.setdefault(turn.round, []).append(turn)
    for number, said in sorted(rounds.items()):
        if len(said) > 1 and most_agreeing(said, gold_type) == len(said):
            return number
    return None


# What several protocols need


def most_agreeing(turns: Sequence[Turn], gold_type: GoldType) -> int:
    """How many of the turns share the most frequent answer. No answer agrees with no other."""
    keys = Counter(answer_key(turn.answer, gold_type) for turn in turns if turn.answer is not None)
    return max(keys.values(), default=0)


def last_word(reply: str, *words: str) -> str | None:
    """The one of some words that stands last in a reply, whatever its case; None when none does."""
    found = re.findall(rf"\b(?:{'|'.join(words)})\b", reply, re.IGNORECASE)
    return found[-1].lower() if found else None


def chosen(reply: str, allowed: Sequence[int]) -> list[int]:
    """The numbers of the last list in a reply that are allowed, each once, in its order: "[3, 1]", "Agent 2"."""
    lists = re.findall(r"\d{1,4}(?:\s*(?:,|and|>)\s*(?:and\s+)?(?:\w+\s+)?\d{1,4})*", reply[-2000:])
    numbers = [int(number) for number in re.findall(r"\d{1,4}", lists[-1])] if lists else []
    return list(dict.fromkeys(number for number in numbers if number in allowed))
