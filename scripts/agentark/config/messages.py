"""Error messages about a configuration, in words that name the key and the cure."""

import difflib
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that nothing has."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else f" (known: {', '.join(known) or 'none'})"


def explain(item: Any, root: type[BaseModel]) -> str:
    """One sentence for one of pydantic's errors about a mapping that was read as `root`."""
    path = [str(part) for part in item["loc"] if part not in ("function-before",)]
    key = ".".join(path)
    value = item["input"]
    if item["type"] == "extra_forbidden":
        section = _section_at(path[:-1], root)
        return f"{key}: unknown key{did_you_mean(path[-1], section.model_fields if section else [])}"
    if item["type"] == "missing":
        return f"{key}: missing; add it"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"{key}: {message}" if key else message  # of the whole config: it names its keys itself
    return f"{key}: {message} (it is {value!r})"


def _section_at(path: list[str], root: type[BaseModel]) -> type[BaseModel] | None:
    """The section at a path of keys; names in mappings and places in lists are stepped over."""
    section: type[BaseModel] | None = root
    for part in path:
        if section and part in section.model_fields:
            section = _section_in(section.model_fields[part].annotation)
    return section


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section inside `dict[str, X]`, `list[X]` or `X | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part))), None)
