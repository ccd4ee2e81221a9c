r"""Judging answers: reading them out of replies and comparing them with gold. The only place where this is done.

Verification, rewards, votes and scores all call these functions, so they cannot disagree. An answer stays text;
what it means depends on its gold type:

    number  an exact fraction: "1,234", "$7.00", "50%", "1 1/2", "\frac{3}{4}", "3 \times 10^8"
    latex   a normalised string, else an exact fraction, else whatever math-verify can prove
    choice  one capital letter
    boolean yes or no
    text    words without case, articles and punctuation, as SQuAD compares them
    free    the same words are right; what other words mean is left undecided, for a verifier

Replies are written by models, so they are treated as hostile: only their end is read, every pattern takes linear
time, nothing is evaluated, and math-verify, which `9^{9^{9^9}}` can hold up for ever, runs in a process that is
ended when its time is up. It cannot run here: it guards itself with SIGALRM, which only main threads have.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from agentark.grading.proving import prove
from agentark.records.rows import GoldType

MAX_REPLY_CHARS = 20_000
"""Only this much of a reply's end is searched for the answer."""
MAX_ANSWER_CHARS = 500
"""Longer answers are compared as they are written."""
MAX_FREE_CHARS = 5_000
MAX_MARKS = 50
"""So many of the last boxes and statements are tried; a looping reply has thousands."""


@dataclass(frozen=True)
class Grade:
    """Verdict on one reply. Undecided counts as not correct, and is told apart so that it can be counted."""

    answer: str | None
    correct: bool
    undecided: bool
    by_verifier: bool = False
    """A language model gave the verdict, since rules could not."""


def grade(text: str, gold: str, gold_type: GoldType, n_choices: int | None = None) -> Grade:
    """Judge a reply. A reply without an answer is wrong, not undecided."""
    answer = extract_answer(text, gold_type, n_choices)
    verdict = False if answer is None else equivalent(gold, answer, gold_type)
    return Grade(answer, correct=verdict is True, undecided=verdict is None)


# Reading answers


def parse_gold(raw: str, gold_type: GoldType) -> str:
    r"""The gold answer out of a data set's field: a bare answer, or a solution that marks it.

    Marks are GSM8K's `#### X`, MATH's last `\boxed{X}` and MetaMathQA's "The answer is: X".

    Raises:
        ValueError: the field holds no such answer, or several numbers and no mark.
    """
    if gold_type in ("text", "free"):
        gold = raw.strip()
    elif gold_type == "choice" and re.fullmatch(r"\s*[a-z]\s*", raw):
        gold = raw.strip().upper()
    else:
        gold = _marked(raw, gold_type, None) or _bare_gold(raw, gold_type)
    if not gold:
        raise ValueError(f"no {gold_type} answer{_GOLD_HINTS.get(gold_type, '')}")
    return gold


_GOLD_HINTS = {
    "number": ": it must hold one number, or mark it with `####`, `\\boxed{}` or `The answer is`",
    "boolean": ": it must be yes or no, true or false",
    "choice": ": it must be a letter; turn an index into one first, since some sets count from 0 and some from 1",
}


def _bare_gold(raw: str, gold_type: GoldType) -> str | None:
    if gold_type == "number":
        # Of two numbers without a mark we cannot know which is meant, and a wrong gold is worse than none.
        numbers = _numbers(raw)
        return numbers[0] if len(numbers) == 1 else None
    if gold_type in ("choice", "boolean"):
        return _READERS[gold_type](raw, None)
    return None if len(raw) > MAX_ANSWER_CHARS or "\\boxed" in raw else _read_latex(raw)


def extract_answer(text: str, gold_type: GoldType, n_choices: int | None = None) -> str | None:
    r"""The final answer of a model's reply.

    The last `\boxed{}` goes before the last statement ("The answer is X", "#### X"), and that before the last
    number, letter, formula or line. A choice's letter must be a capital: "a" is an article.

    Args:
        n_choices: how many options a choice question has; 26 if not given.

    Returns:
        None when there is no answer, or when a `<think>` block was never closed: what it holds is not yet an answer.
    """
    said = after_reasoning(text)
    if said is None:
        return None
    said = said[-MAX_REPLY_CHARS:]
    if gold_type == "number" and (boxes := list(_boxes(said))) and _NO_NUMBER.search(boxes[-1]):
        return None
    answer = _marked(said, gold_type, n_choices) or _LAST_RESORTS[gold_type](said, n_choices)
    longest = MAX_FREE_CHARS if gold_type == "free" else MAX_ANSWER_CHARS
    return answer if answer and len(answer) <= longest else None


def after_reasoning(text: str) -> str | None:
    """A reply without its hidden reasoning: what stands after the last `</think>`.

    The opening tag may be missing, since some templates put it into the prompt. None: a block was never closed.
    """
    tags = list(re.finditer(r"<(/?)think(?:ing)?>", text, re.IGNORECASE))
    if not tags:
        return text
    return text[tags[-1].end() :] if tags[-1].group(1) else None


def _marked(text: str, gold_type: GoldType, n_choices: int | None) -> str | None:
    """The last boxed answer that can be read as `gold_type`, else the last stated one."""
    read = _READERS[gold_type]
    for box in reversed(list(_boxes(text))[-MAX_MARKS:]):
        if len(box) <= MAX_ANSWER_CHARS and (answer := read(box, n_choices)):
            return answer
    if gold_type == "choice":
        return _stated_letter(text, n_choices)
    for statement in reversed(list(_STATEMENT.finditer(text))[-MAX_MARKS:]):
        if gold_type == "free":
            return read(text[statement.end() :], n_choices)
        rest = text[statement.end() : statement.end() + MAX_ANSWER_CHARS].lstrip(" \t\r\n*_:")
        if answer := read(_CLAUSE_END.split(rest, maxsplit=1)[0], n_choices):
            return answer
    return None


# `\boxed{unknown}` and `\boxed{10 or 7}` give no number, and what stands before them is not meant.
_NO_NUMBER = re.compile(
    r"\b(?:unknown|unclear|undefined|undetermined|indeterminate|inconclusive|impossible|insufficient|cannot|none|n/a"
    r"|not\s(?:possible|enough|given|determined))\b|\d\D{0,40}\bor\b\D{0,40}\d",
    re.IGNORECASE,
)
_BOX = re.compile(r"\\boxed\s{0,3}(?:(?P<brace>\{)|(?P<bare>-?\d+(?:[.,/]\d+)*|[A-Z](?![A-Za-z])))")


def _boxes(text: str) -> Iterator[str]:
    r"""Contents of all `\boxed{}` in order. `\boxed 5` is a box, "put it in a \boxed as asked" is not."""
    # All braces are paired in one pass: scanning on from each box would take quadratic time on many open ones.
    open_braces: list[int] = []
    closing: dict[int, int] = {}
    for token in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if token.group() == "{":
            open_braces.append(token.start())
        elif token.group() == "}" and open_braces:
            closing[open_braces.pop()] = token.start()
    for box in _BOX.finditer(text):
        if box["bare"]:
            yield box["bare"]
        elif (start := box.start("brace")) in closing:
            yield text[start + 1 : closing[start]]


_TOPIC = r"(?:\s{1,3}(?:to|for|of)\s[^.:=\n]{1,80}?)?"
_NO_ANSWER = r"(?!\s+(?:not|in)?(?:correct|right|wrong|not)\b)"
_IS = rf"\s{{0,3}}(?:(?:is|was|would\s+be|should\s+be|must\s+be|remains)\b{_NO_ANSWER}|:|=)"
_STATEMENT = re.compile(rf"####|\banswer\b[\"'*_]{{0,3}}{_TOPIC}{_IS}", re.IGNORECASE)
# A full stop after a title or an initial ends no sentence.
_CLAUSE_END = re.compile(
    r"\n|(?<!\bDr)(?<!\bMr)(?<!\bMrs)(?<!\bSt)(?<!\b[A-Z])[.!?](?=\s|$)|[\s(](?:because|since|as)\s", re.IGNORECASE
)


def _numbers(text: str) -> list[str]:
    return [match.group().replace(",", "").replace("$", "") for match in _NUMBER.finditer(_plain(text))]


def _read_number(text: str, _: int | None = None) -> str | None:
    """The first number after the last equals sign: "18 = 2 * 9 dollars a day for 3 days" would end in a 3."""
    parts = reversed(re.split(r"=|\u2248|\\approx", text))
    return next((numbers[0] for numbers in map(_numbers, parts) if numbers), None)


def _last_number(text: str, _: int | None) -> str | None:
    return next(reversed(_numbers(text)), None)


def _read_latex(text: str, _: int | None = None) -> str | None:
    latex = text.strip().removesuffix(".").strip()
    math = _MATH.match(latex)
    latex = (next(filter(None, math.groups())) if math else latex.strip("$*")).strip()
    return latex if re.search(r"\w", latex) else None


_MATH = re.compile(r"(?<!\\)\$\$?([^$\n]{1,300})\$|\\\(([^\n]{1,300}?)\\\)|\\\[([^\n]{1,300}?)\\\]")


def _last_formula(text: str, _: int | None) -> str | None:
    formulas = [next(filter(None, match.groups())) for match in _MATH.finditer(text)]
    return _read_latex(formulas[-1]) if formulas else _last_number(text, None)


def _read_text(text: str, _: int | None = None) -> str | None:
    words = re.sub(r"\\text\s?\{([^{}]*)\}", r"\1", text).strip(" \t\r\n.,;:!*_`'\"$")
    return words[:MAX_ANSWER_CHARS] or None


def _read_boolean(text: str, _: int | None = None) -> str | None:
    match = re.match(r"\W{0,9}(yes|no|true|false)\b", _without_markup(text[:100]), re.IGNORECASE)
    return {"yes": "yes", "true": "yes", "no": "no", "false": "no"}[match[1].casefold()] if match else None


def _first_or_last_boolean(text: str, _: int | None) -> str | None:
    """ "Yes, because ..." or "... So no." In the middle of a reply the words weigh reasons."""
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    last = re.search(
        r"\b(?:so|thus|therefore|hence|is|it's)[\s,:]{1,3}(yes|no|true|false)\W*$", lines[-1], re.IGNORECASE
    )
    return _read_boolean(last[1]) if last else _read_boolean(lines[-1]) or _read_boolean(lines[0])


def _read_free(text: str, _: int | None = None) -> str | None:
    return text.strip(" \t\r\n*_`")[:MAX_FREE_CHARS] or None


def _last_line(text: str, _: int | None) -> str | None:
    return next((line for line in map(_read_text, reversed(text.splitlines())) if line), None)


@dataclass(frozen=True)
class _LetterPatterns:
    alone: re.Pattern[str]
    stated: re.Pattern[str]
    mentioned: re.Pattern[str]


@lru_cache
def _letter_patterns(n_choices: int | None) -> _LetterPatterns:
    """Patterns for A to the last option's letter. Letters are case-sensitive, the words around them are not."""
    last = chr(ord("A") + min(n_choices or 26, 26) - 1)
    # "B cell" and "A patient" are words of an answer, "B because" and "(B) cell" are letters.
    links = "because|since|as|and|or|for|with|which|due|based|given|is|was|in|from"
    letter = rf"[\"'({{\[]{{0,2}}([A-{last}])(?![\w'\u2019+-])(?!\ +(?!(?:{links})\b)[a-z])"
    option = r"(?:(?:option|choice|letter|answer)\s+)?"
    hedge = r"(?:(?:most\s+likely|likely|probably|clearly|therefore|indeed|still|now|the)\s+){0,3}"
    stated = rf"""
        (?i:\#\#\#\#|\b(?:answer|option|choice)\b["']?{_TOPIC}{_IS}:?)\s{{0,3}}(?i:{hedge}{option}){letter}
        | (?i:\b(?:so|thus|therefore|hence|but|choose|pick|select|go\ with)\b,?\s(?:(?:it\s|it')?i?s\s)?{option})
          {letter}(?=[)\]}}]?\s{{0,3}}(?:[.,;!\n]|$|because\b|since\b))
        | {letter}[)\]}}]?(?i:\s+is\s+(?:the\s+)?(?:most\s+likely\s+)?(?:correct|right|best|answer)\b)
        | ^[ \t]{{0,8}}{letter}[)\]}}.]{{0,2}}[ \t]{{0,8}}$
    """
    return _LetterPatterns(
        alone=re.compile(rf"^\W{{0,9}}(?i:{option}){letter}"),
        stated=re.compile(stated, re.VERBOSE | re.MULTILINE),
        mentioned=re.compile(rf"\(([A-{last}])\)|^[ \t]{{0,8}}([A-{last}])[).:](?=\s)", re.MULTILINE),
    )


def _without_markup(text: str) -> str:
    return re.sub(r"\\(?:text|textbf|textrm|mathrm|mathbf)\s?(?=\{)|[*`$]", "", text)


def _first_group(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group)


def _read_letter(text: str, n_choices: int | None) -> str | None:
    match = _letter_patterns(n_choices).alone.search(_without_markup(text))
    return match.group(1) if match else None


def _stated_letter(text: str, n_choices: int | None) -> str | None:
    matches = list(_letter_patterns(n_choices).stated.finditer(_without_markup(text)))
    return _first_group(matches[-1]) if matches else None


def _only_letter(text: str, n_choices: int | None) -> str | None:
    """The one option that is mentioned. Of several without a statement we cannot know which is meant."""
    letters = {_first_group(match) for match in _letter_patterns(n_choices).mentioned.finditer(_without_markup(text))}
    return letters.pop() if len(letters) == 1 else None


_READERS: dict[GoldType, Callable[[str, int | None], str | None]] = {
    "number": _read_number,
    "latex": _read_latex,
    "choice": _read_letter,
    "boolean": _read_boolean,
    "text": _read_text,
    "free": _read_free,
}
_LAST_RESORTS: dict[GoldType, Callable[[str, int | None], str | None]] = {
    "number": _last_number,
    "latex": _last_formula,
    "choice": _only_letter,
    "boolean": _first_or_last_boolean,
    "text": _last_line,
    "free": _read_free,
}


# Comparing answers


def equivalent(gold: str, answer: str, gold_type: GoldType) -> bool | None:
    """Whether an answer means the same as gold. None = undecided, for formulas and free text only.

    A percentage equals both its number and its hundredth, and a decimal of two places or more equals the
    never-ending fraction that it rounds: both ways of writing are asked for by one data set or another.
    """
    keys = answer_key(gold, gold_type), answer_key(answer, gold_type)
    if keys[0] == keys[1]:
        return True
    if gold_type in ("choice", "boolean", "text"):
        return False
    if gold_type == "free":
        return None
    numbers = _number(gold, gold_type), _number(answer, gold_type)
    if all(numbers):
        return _same_number(*numbers)
    if gold_type == "number":
        return False
    # math-verify takes words for products of letters, so that "east" is "seat", and a set for an ordered pair.
    if any(map(_is_word, keys)) or {key.lstrip("\\")[:1] for key in keys} == {"(", "{"}:
        return False
    return prove(gold, answer) if max(len(gold), len(answer)) <= MAX_ANSWER_CHARS else None


def is_right(answer: str | None, gold: str, gold_type: GoldType) -> bool:
    """The verdict that scores count: no answer is wrong, and so is one that cannot be decided."""
    return answer is not None and equivalent(gold, answer, gold_type) is True


def answer_key(answer: str, gold_type: GoldType) -> str:
    """The normal form that votes and consensus count: "7.0", "7" and "$7" have the same."""
    if len(answer) > MAX_ANSWER_CHARS:
        return answer
    if number := _number(answer, gold_type):
        return str(number.value)
    if gold_type == "latex":
        return _latex_form(answer)
    if gold_type in ("choice", "boolean"):
        return _READERS[gold_type](answer, None) or answer.strip()
    return _words(answer)


def token_f1(gold: str, answer: str | None) -> float:
    """SQuAD's F1: how many words answer and gold have in common, 1 = the same words in any order."""
    theirs, ours = _words(gold).split(), _words(answer or "").split()
    shared = (Counter(theirs) & Counter(ours)).total()
    return 2 * shared / (len(theirs) + len(ours)) if shared else float(theirs == ours)


def majority(answers: list[str | None], gold_type: GoldType) -> str | None:
    """The most frequent answer as it was first written; of equally frequent ones the first. None is no vote."""
    votes: Counter[str] = Counter()
    first_written: dict[str, str] = {}
    for answer in answers:
        if answer is not None:
            key = answer_key(answer, gold_type)
            votes[key] += 1
            first_written.setdefault(key, answer)
    return first_written[votes.most_common(1)[0][0]] if votes else None


@dataclass(frozen=True)
class _Number:
    value: Fraction
    is_percentage: bool
    n_decimals: int

    def meanings(self) -> set[Fraction]:
        return {self.value, self.value / 100} if self.is_percentage else {self.value}

    def rounds(self, other: "_Number") -> bool:
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


_PLAIN_NUMBER = re.compile(r"([-+]?)\$?(\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:\.(\d{1,11}))?", re.ASCII)


@lru_cache(maxsize=65_536)
def _number(answer: str, gold_type: GoldType) -> _Number | None:
    """The value of an answer that is a number, perhaps with a unit: always exact, never SymPy."""
    if len(answer) > MAX_ANSWER_CHARS or gold_type not in ("number", "latex"):
        return None
    if plain := _PLAIN_NUMBER.fullmatch(answer):
        # Most answers are, and need none of what follows.
        decimals = plain[3] or ""
        digits = int(plain[2].replace(",", "") + decimals)
        return _Number(Fraction(-digits if plain[1] == "-" else digits, 10 ** len(decimals)), False, len(decimals))
    written = _read_number(answer) if gold_type == "number" else _without_unit(answer)
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
    return _Number(-value if part["sign"] == "-" else value, bool(part["percent"]), n_decimals)


_UNIT = re.compile(r"(?:\\(?:text|mbox|mathrm|textrm)\s?\{[^{}]*\}|\s[A-Za-z]{3,}\.?)(?:\s?\^\s?\{?\d\}?)?$")


def _without_unit(latex: str) -> str:
    r"""`x = 5 \text{ cm}^2` as 5. Whatever else stands beside the number stays: `5x` is not a number."""
    latex = re.sub(r"\^\s?\{?\\circ\}?", "", latex).strip().strip("$").strip().removesuffix(".")
    return _plain(re.sub(r"^[A-Za-z]\s?=", "", _UNIT.sub("", latex))).strip().removeprefix("$")


def _same_number(one: _Number, other: _Number) -> bool:
    return bool(one.meanings() & other.meanings()) or one.rounds(other) or other.rounds(one)


def _words(answer: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles, single blanks."""
    words = unicodedata.normalize("NFKC", answer).casefold()
    bare = "".join(letter for letter in words if not unicodedata.category(letter).startswith("P"))
    return " ".join(re.sub(r"\b(?:a|an|the)\b", " ", bare).split()) or " ".join(words.split())


def _latex_form(latex: str) -> str:
    """One spelling of a formula: without layout, units' markup and the name before an equals sign."""
    latex = latex.strip().strip("$").strip().removesuffix(".").replace("\u2212", "-")
    latex = re.sub(r"\\(?:text|textbf|textrm|mathrm|mathbf|mbox|operatorname)\s?\{([^{}]*)\}", r"\1", latex)
    latex = re.sub(r"\\(?:left|right|displaystyle|quad|qquad)(?![A-Za-z])|\\[,;:! ]|~|\^\s?\{?\\circ\}?", " ", latex)
    latex = re.sub(r"\\[dt]frac", r"\\frac", latex)
    latex = re.sub(r"\\frac\s?(\d)\s?(\d)", r"\\frac{\1}{\2}", latex)
    latex = re.sub(r"\\sqrt\s?(\d)", r"\\sqrt{\1}", latex)
    latex = "".join(latex.split())
    latex = re.sub(r"^[A-Za-z](?:=|\\in)(?=[^=]+$)", "", latex)
    latex = re.sub(r"^\(([A-Z])\)$", r"\1", latex)
    return latex.casefold() if _is_word(latex) else latex


def _is_word(form: str) -> bool:
    return len(form) >= 3 and form.isalpha()
