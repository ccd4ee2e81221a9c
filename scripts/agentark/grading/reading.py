"""Reading answers out of replies, and gold out of data sets.

Replies are written by models, so they are treated as hostile: only their end is read, every pattern takes linear time,
and nothing is evaluated.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from agentark.grading.numbers import MAX_ANSWER_CHARS, numbers_in, read_number
from agentark.records.questions import GoldType

MAX_REPLY_CHARS = 20_000
"""Only this much of a reply's end is searched for the answer."""
MAX_FREE_CHARS = 5_000
MAX_MARKS = 50
"""So many of the last boxes and statements are tried; a looping reply has thousands."""


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
        numbers = numbers_in(raw)
        return numbers[0] if len(numbers) == 1 else None
    if gold_type in ("choice", "boolean"):
        return READERS[gold_type](raw, None)
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


def states_answer(text: str, gold_type: GoldType, n_choices: int | None = None) -> bool:
    """Whether a reply says which its answer is, by a box or a statement; its last number or line will not do."""
    said = after_reasoning(text)
    return said is not None and _marked(said[-MAX_REPLY_CHARS:], gold_type, n_choices) is not None


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
    read = READERS[gold_type]
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


def _last_number(text: str, _: int | None) -> str | None:
    return next(reversed(numbers_in(text)), None)


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


READERS: dict[GoldType, Callable[[str, int | None], str | None]] = {
    "number": read_number,
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
