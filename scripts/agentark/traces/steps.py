"""Split a text into reasoning steps, as spans of characters.

Differs from the reference: it finds ends by token, so another tokenizer, a full stop merged with a newline, or
CRLF moves or loses them. Training and scoring both cut here, so a step means the same to both.
"""

import re
from collections.abc import Iterable

Span = tuple[int, int]
"""[start, end) in characters."""

MIN_STEP_ALNUM = 6
"""Letters and digits that make a step, unless an equation does: "x = 5" is one, "Step 1" and "#### 18" are not."""

# A full stop inside "3.5" has no space behind it; after a title, an initial or "e.g." it ends no sentence.
_SENTENCE_END = re.compile(r"(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bSt)(?<!\b[A-Za-z])[.!?][\"')\]]?(?=\s)")


def split_steps(text: str) -> list[Span]:
    """Cut a text into reasoning steps: its lines, or its sentences if it is one paragraph.

    A fragment too short to be a step, or one that only leads in ("We get:"), joins the one after it; the last joins
    the one before it.

    Returns:
        Spans in order, not overlapping, without spaces at their ends, that cover everything but spaces.
        Empty for a text without any.
    """
    steps = _merged(text, _stripped(text, (match.span() for match in re.finditer(r"[^\r\n]+", text))))
    if len(steps) == 1:
        ends = [match.end() for match in _SENTENCE_END.finditer(text)]
        steps = _merged(text, _stripped(text, zip([0, *ends], [*ends, len(text)], strict=True)))
    return steps


def _stripped(text: str, spans: Iterable[Span]) -> list[Span]:
    """The spans without spaces at their ends; empty ones vanish."""
    fragments = []
    for start, end in spans:
        fragment = text[start:end]
        start += len(fragment) - len(fragment.lstrip())
        end = start + len(fragment.strip())
        if start < end:
            fragments.append((start, end))
    return fragments


def _merged(text: str, fragments: list[Span]) -> list[Span]:
    """Join fragments until each span is a step."""
    steps: list[Span] = []
    step_start, n_alnum = None, 0
    for start, end in fragments:
        fragment = text[start:end]
        n_alnum += sum(map(str.isalnum, fragment))
        if n_alnum == 0 and steps:
            # A closing bracket of displayed mathematics, a rule of dashes: what it belongs to stands before it.
            steps[-1] = (steps[-1][0], end)
            continue
        step_start = start if step_start is None else step_start
        is_whole = n_alnum >= MIN_STEP_ALNUM or (n_alnum > 0 and "=" in fragment)
        if is_whole and not fragment.rstrip("*_").endswith((":", ",")):
            steps.append((step_start, end))
            step_start, n_alnum = None, 0
    if step_start is not None:
        steps[-1:] = [(steps[-1][0] if steps else step_start, fragments[-1][1])]
    return steps
