"""What an answer does on its way, counted without a judge: equations that are right, checks of itself, mended errors.

An equation is `a op b = c`, of up to nine numbers with `+ - * /` in any of their spellings and nothing else on either
side; the grader says whether it holds, who lets a rounded result pass. A check is said ("let me check", "to verify"),
and so is an error ("wait", "that is wrong"); an error is mended where a wrong equation stands before such words and a
right one with the same left side behind them.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from agentark.grading.numbers import Number, number_of, same_number

MAX_CHARS = 20_000
"""Of an answer's beginning: a loop has more, and says nothing new."""

_NUMBER = r"-?\$?(?:\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:\.\d{1,12})?%?"
_OPERATOR = r"\s{0,3}([-+*/\u00d7\u00b7\u00f7\u2212x]|\\times|\\cdot|\\div)\s{0,3}"
# What is right of the equals sign is looked at, not taken: in "2 + 3 = 5 + 4 = 9" it begins the next one. Powers, mixed
# numbers and products with letters are more than their first number.
_EQUATION = re.compile(
    rf"(?<![\w.,$%)\]}}^/*+-])(?P<left>{_NUMBER}(?:{_OPERATOR}{_NUMBER}){{1,8}})\s{{0,3}}=\s{{0,3}}"
    rf"(?=(?P<right>{_NUMBER}(?:{_OPERATOR}{_NUMBER}){{0,8}})"
    r"(?![ \t]{0,2}[\d^]|[.,]\d|[ \t]{0,2}[a-zA-Z](?![a-zA-Z])))",
    re.ASCII,
)
_FIRST, _REST = re.compile(_NUMBER, re.ASCII), re.compile(rf"{_OPERATOR}({_NUMBER})", re.ASCII)
_SPELLINGS = {
    "\\times": "*",
    "\\cdot": "*",
    "\\div": "/",
    "\u00d7": "*",
    "\u00b7": "*",
    "\u00f7": "/",
    "\u2212": "-",
    "x": "*",
}
_GOES_BEFORE = re.compile(r"(?:[-+*/^\u00d7\u00b7\u00f7\u2212]|\\times|\\cdot|\\div|(?<=[\s\d])x)\s{0,3}$")
"""Behind one of these a left side is the end of a longer one: "x - 2 + 3 = 1"."""
_MARKUP = re.compile(r"^[ \t]{0,8}[-*+\u2022][ \t]{1,8}|(?<![\w)])\*\*|\*\*(?![\w(])", re.MULTILINE)
"""Bullets and bold type."""
_CHECK = re.compile(
    r"\b(?:let(?:'s|\s(?:me|us))\s(?:now\s|also\s)?(?:double[-\s]?)?(?:check|verify)|double[-\s]check|to\s(?:check|verify)|verifying"
    r"|check(?:ing)?\s(?:the|our|my|this|that)\s(?:answer|work|result|solution|calculation))\b",
    re.IGNORECASE,
)
_ERROR = re.compile(
    r"\b(?:wait|oops|mistake|mistaken|(?:that|this)(?:\s(?:is|was|can)\s?not\s(?:be\s)?right|\s(?:is|was)\s(?:wrong|incorrect)"
    r"|'s\s(?:wrong|not\sright)|\s(?:isn't|wasn't|can't\sbe)\sright)|made\san\serror|let\sme\s(?:re-?do|re-?calculate|re-?compute"
    r"|correct))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Behaviours:
    """What one answer does."""

    equations: int
    right_equations: int
    checks: bool
    """It says that it checks."""
    finds_error: bool
    """It says that something was wrong."""
    mends_error: bool
    """And it was, and is right then."""


def behaviours(output: str) -> Behaviours:
    text = _MARKUP.sub("", output[:MAX_CHARS])
    starts = (match for match in _EQUATION.finditer(text) if not _GOES_BEFORE.search(_before(text, match.start())))
    found = [(match.start(), _value(match["left"]), match["right"]) for match in starts]
    held = [(start, left, _holds(left, right)) for start, left, right in found if left is not None]
    errors = [match.start() for match in _ERROR.finditer(text)]
    wrong_before = {left for start, left, holds in held if not holds and any(start < error for error in errors)}
    right_behind = {left for start, left, holds in held if holds and errors and start > errors[0]}
    return Behaviours(
        equations=len(held),
        right_equations=sum(holds for _, _, holds in held),
        checks=_CHECK.search(text) is not None,
        finds_error=bool(errors),
        mends_error=bool(wrong_before & right_behind),
    )


def _before(text: str, place: int) -> str:
    """As much of what stands before a place as the longest operator and the spaces behind it."""
    return text[max(0, place - 10) : place]


def _value(left: str) -> Fraction | None:
    """Of `a op b op c`, products before sums; None where something is divided by 0."""
    first = _FIRST.match(left)
    total, product = Fraction(0), _fraction(first[0])
    for match in _REST.finditer(left, first.end()):
        operator, number = _SPELLINGS.get(match[1], match[1]), _fraction(match[2])
        if operator == "*":
            product *= number
        elif operator == "+":
            total, product = total + product, number
        elif operator == "-":
            total, product = total + product, -number
        elif number:
            product /= number
        else:
            return None
    return total + product


def _fraction(written: str) -> Fraction:
    number = number_of(written, "number")
    return number.value / 100 if number.is_percentage else number.value


def _holds(left: Fraction, right: str) -> bool:
    """Whether the left side is the first number on the right, or all that stands there."""
    exact = Number(left, is_percentage=False, n_decimals=0)
    return _value(right) == left or same_number(exact, number_of(_FIRST.match(right)[0], "number"))
