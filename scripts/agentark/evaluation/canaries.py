"""Errors planted in right traces: what judges steps must like the clean trace better than the spoilt one."""

import random
import re
from collections.abc import Callable, Iterator, Sequence

PLATITUDE = "Let us think about this carefully, step by step."
NONSENSE = "The cat sat on the mat and the weather was fine."

CLEAN = "clean"
"""No error: the trace as its spoilt versions are laid out."""

Spoil = Callable[[list[str], random.Random], list[str] | None]


def changed_digit(steps: list[str], generator: random.Random) -> list[str] | None:
    """A digit of a step before the last is another one."""
    places = [(i, m.start()) for i, step in enumerate(steps[:-1]) for m in re.finditer(r"[0-9]", step)]
    if not places:
        return None
    i, at = generator.choice(places)
    digit = generator.choice([d for d in "123456789" if d != steps[i][at]])
    return [*steps[:i], steps[i][:at] + digit + steps[i][at + 1 :], *steps[i + 1 :]]


def swapped_steps(steps: list[str], generator: random.Random) -> list[str] | None:
    """Two neighbours before the last step have changed places."""
    places = [i for i in range(len(steps) - 2) if steps[i] != steps[i + 1]]
    if not places:
        return None
    i = generator.choice(places)
    return [*steps[:i], steps[i + 1], steps[i], *steps[i + 2 :]]


def repeated_step(steps: list[str], generator: random.Random) -> list[str] | None:
    """A step before the last stands twice."""
    if len(steps) < 2:
        return None
    i = generator.randrange(len(steps) - 1)
    return [*steps[: i + 1], steps[i], *steps[i + 1 :]]


def platitude(steps: list[str], generator: random.Random) -> list[str] | None:
    """A step that says nothing stands before another one."""
    i = generator.randrange(len(steps))
    return [*steps[:i], PLATITUDE, *steps[i:]]


def answer_after_nonsense(steps: list[str], generator: random.Random) -> list[str] | None:
    """The right end follows from nothing."""
    return [NONSENSE] * (len(steps) - 1) + steps[-1:] if len(steps) > 1 else None


KINDS: dict[str, Spoil] = {
    "changed_digit": changed_digit, "swapped_steps": swapped_steps, "repeated_step": repeated_step,
    "platitude": platitude, "answer_after_nonsense": answer_after_nonsense,
}  # fmt: skip


def spoilt(text: str, spans: Sequence[tuple[int, int]], seed: str) -> Iterator[tuple[str, str]]:
    """Kinds of error, each with the text that has it; kinds that the text gives no place for are left out.

    Args:
        spans: of the text's steps; in the spoilt text each step is a line.
    """
    steps = [" ".join(text[start:end].split()) for start, end in spans]
    for kind, spoil in KINDS.items():
        made = spoil(steps, random.Random(f"{seed} {kind}")) if steps else None
        if made is not None:
            yield kind, "\n".join(made)


def clean(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text as its spoilt versions are written, a line a step: layout must not tell them apart."""
    return "\n".join(" ".join(text[start:end].split()) for start, end in spans)
