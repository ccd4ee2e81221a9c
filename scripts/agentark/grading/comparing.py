r"""Comparing an answer with gold, and answers with one another: verification, rewards, votes and scores all ask here.

An answer stays text; what it means depends on its gold type:

    number  an exact fraction: "1,234", "$7.00", "50%", "1 1/2", "\frac{3}{4}", "3 \times 10^8"
    latex   a normalised string, else an exact fraction, else whatever math-verify can prove
    choice  one capital letter
    boolean yes or no
    text    words without case, articles and punctuation, as SQuAD compares them
    free    the same words are right; what other words mean is left undecided, for a verifier

math-verify, which `9^{9^{9^9}}` can hold up for ever, runs in a process that is ended when its time is up. It cannot
run here: it guards itself with SIGALRM, which only main threads have.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from agentark.grading.numbers import MAX_ANSWER_CHARS, number_of, same_number
from agentark.grading.proving import prove
from agentark.grading.reading import READERS
from agentark.records.questions import GoldType


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
    numbers = number_of(gold, gold_type), number_of(answer, gold_type)
    if all(numbers):
        return same_number(*numbers)
    if gold_type == "number":
        return False
    # math-verify takes words for products of letters, so that "east" is "seat", and a set for an ordered pair.
    if any(map(_is_word, keys)) or {key.lstrip("\\")[:1] for key in keys} == {"(", "{"}:
        return False
    return prove(gold, answer) if max(len(gold), len(answer)) <= MAX_ANSWER_CHARS else None


def equivalent_to_any(golds: Sequence[str], answer: str, gold_type: GoldType) -> bool | None:
    """Whether an answer means the same as one of several golds. None = it is none of those that could be decided."""
    undecided = False
    for gold in golds:
        verdict = equivalent(gold, answer, gold_type)
        if verdict:
            return True
        undecided = undecided or verdict is None
    return None if undecided else False


def is_right(answer: str | None, golds: Sequence[str], gold_type: GoldType) -> bool:
    """The verdict that scores count: no answer is wrong, and so is one that cannot be decided."""
    return answer is not None and equivalent_to_any(golds, answer, gold_type) is True


def answer_key(answer: str, gold_type: GoldType) -> str:
    """The normal form that votes and consensus count: "7.0", "7" and "$7" have the same."""
    if len(answer) > MAX_ANSWER_CHARS:
        return answer
    if number := number_of(answer, gold_type):
        return str(number.value)
    if gold_type == "latex":
        return _latex_form(answer)
    if gold_type in ("choice", "boolean"):
        return READERS[gold_type](answer, None) or answer.strip()
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
    latex = re.sub(r"\\[dt]frac", r"\frac", latex)
    latex = re.sub(r"\frac\s?(\d)\s?(\d)", r"\frac{\1}{\2}", latex)
    latex = re.sub(r"\\sqrt\s?(\d)", r"\\sqrt{\1}", latex)
    latex = "".join(latex.split())
    latex = re.sub(r"^[A-Za-z](?:=|\\in)(?=[^=]+$)", "", latex)
    latex = re.sub(r"^\(([A-Z])\)$", r"\1", latex)
    return latex.casefold() if _is_word(latex) else latex


def _is_word(form: str) -> bool:
    return len(form) >= 3 and form.isalpha()
