"""Numbers as people and models write them, as exact fractions."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from agentark.records.questions import GoldType

MAX_ANSWER_CHARS = 500
"""Longer answers are compared as they are written."""


@dataclass(frozen=True)
class Number:
    """A number and how it was written."""

    value: Fraction
    is_percentage: bool
    n_decimals: int

    def meanings(self) -> set[Fraction]:
        return {self.value, self.value / 100} if self.is_percentage else {self.value}

    def rounds(self, other: "Number") -> bool:
        never_ends = (10**20) % other.value.denominator != 0
        return self.n_decimals >= 2 and never_ends and round(other.value, self.n_decimals) == self.value


_DECIMAL = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<!\w)\.\d+)"
_NUMBER = re.compile(
    rf"""
    (?:(?<![\w)\]}}^])(?<!\^\{{)(?P<sign>[-+])\$?)?     # "10-5" holds a 5, "= -$5" a -5
    (?<![A-Za-z_^\d])(?<!\^\{{)(?<!\^-)(?<!\^\{{-)      # the 2 of "x2", "m^2" and "10^-2" is no number
    (?: (?:(?P<whole>\d+)\ )? (?P<top>{_DECIMAL}) \s?/\s? (?P<bottom>{_DECIMAL})
      | (?P<decimal>{_DECIMAL}) (?:[eE](?P<exponent>[-+]?\d{{1,3}})(?!\w))? )
    (?:\s?(?P<percent>%))?
    """,
    re.VERBOSE | re.ASCII,
)


def _plain(text: str) -> str:
    r"""Numbers written as plain text: `1{,}234` as 1,234, `1\frac{1}{2}` as 1 1/2, `3 \times 10^8` as 3e8."""
    text = text.replace("\u2212", "-").replace("{,}", ",").replace("\\$", "$").replace("\\%", "%")
    text = re.sub(r"\\!\s?|(?<=\d)\\[,;: ](?=\d{3})", "", text)
    text = re.sub(r"(?<=\d)\s{0,3}(?:\\times|\\cdot|\u00d7|\*|x)\s{0,3}10\s?\^\s?\{?([-+]?\d{1,3})\}?", r"e\1", text)
    text = re.sub(r"(?<![\d.,e])10\s?\^\s?\{?([-+]?\d{1,3})\}?", r"1e\1", text)
    return re.sub(
        r"(?:(?<=\d)(\s?))?\\[dt]?frac\s?(?:\{\s?(-?\d[\d.,]{0,99})\s?\}|(\d))\s?(?:\{\s?(\d[\d.,]{0,99})\s?\}|(\d))",
        lambda match: f"{'' if match[1] is None else ' '}{match[2] or match[3]}/{match[4] or match[5]}",
        text,
    )


def numbers_in(text: str) -> list[str]:
    """All numbers of a text, as they are written but for commas and dollar signs."""
    return [match.group().replace(",", "").replace("$", "") for match in _NUMBER.finditer(_plain(text))]


def read_number(text: str, _: int | None = None) -> str | None:
    """The first number after the last equals sign: "18 = 2 * 9 dollars a day for 3 days" would end in a 3."""
    parts = reversed(re.split(r"=|\u2248|\\approx", text))
    return next((numbers[0] for numbers in map(numbers_in, parts) if numbers), None)


_PLAIN_NUMBER = re.compile(r"([-+]?)\$?(\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:\.(\d{1,11}))?", re.ASCII)


@lru_cache(maxsize=65_536)
def number_of(answer: str, gold_type: GoldType) -> Number | None:
    """The value of an answer that is a number, perhaps with a unit: always exact, never SymPy."""
    if len(answer) > MAX_ANSWER_CHARS or gold_type not in ("number", "latex"):
        return None
    if plain := _PLAIN_NUMBER.fullmatch(answer):
        # Most answers are, and need none of what follows.
        decimals = plain[3] or ""
        digits = int(plain[2].replace(",", "") + decimals)
        return Number(Fraction(-digits if plain[1] == "-" else digits, 10 ** len(decimals)), False, len(decimals))
    written = read_number(answer) if gold_type == "number" else _without_unit(answer)
    match = _NUMBER.fullmatch(written or "")
    if match is None:
        return None
    part = {name: (text or "").replace(",", "") for name, text in match.groupdict().items()}
    n_decimals = 0 if part["exponent"] else len(part["decimal"].partition(".")[2])
    if part["decimal"]:
        value = Fraction(part["decimal"]) * Fraction(10) ** int(part["exponent"] or 0)
    elif Fraction(part["bottom"]) == 0:
        return None
    else:
        value = Fraction(part["whole"] or 0) + Fraction(part["top"]) / Fraction(part["bottom"])
    # 0.8888888888888888 and 0.7499999999999999 are how floats, of data sets and of models, write 8/9 and 3/4.
    if n_decimals >= 12 and abs((near := value.limit_denominator(1000)) - value) < Fraction(1, 10**11):
        value = near
    return Number(-value if part["sign"] == "-" else value, bool(part["percent"]), n_decimals)


_UNIT = re.compile(r"(?:\\(?:text|mbox|mathrm|textrm)\s?\{[^{}]*\}|\s[A-Za-z]{3,}\.?)(?:\s?\^\s?\{?\d\}?)?$")


def _without_unit(latex: str) -> str:
    r"""`x = 5 \text{ cm}^2` as 5. Whatever else stands beside the number stays: `5x` is not a number."""
    latex = re.sub(r"\^\s?\{?\\circ\}?", "", latex).strip().strip("$").strip().removesuffix(".")
    return _plain(re.sub(r"^[A-Za-z]\s?=", "", _UNIT.sub("", latex))).strip().removeprefix("$")


def same_number(one: Number, other: Number) -> bool:
    return bool(one.meanings() & other.meanings()) or one.rounds(other) or other.rounds(one)
