"""Which correct traces of a question teach the most: those that reason, corrective ones first, then different ones.

Differs from the paper, where a 72B model picks: features cost nothing, repeat exactly and can be tested. As in
the paper, traces are told apart by their structure and never ranked by quality.
"""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from agentark.records import Trace
from agentark.steps import split_steps

NEAR_EQUAL = 0.2
"""Word distance up to which two traces with the same equations count as one."""
NGRAM = 3
MAX_EQUATIONS = 100
"""Comparing sequences takes quadratic time, and a reply in a loop has thousands."""


def different_traces(traces: list[Trace], k: int) -> list[Trace]:
    """Pick up to k structurally different correct traces of one question.

    The first reasons if there is one that does, and among those is corrective if there is one: most corrective
    replies of real debates only agree with the others, and teach to answer at once. Each further one is the farthest
    from those picked, by the equations it solves and the words it uses. A bare answer is never a further one: it is
    far from everything and has no structure.

    Args:
        traces: of one question, in any order; wrong ones are passed over.
        k: at most so many.

    Returns:
        Traces, no two of which have the same equations and nearly the same words. The same for every order of
        `traces`.

    Raises:
        ValueError: the traces are of several questions.

    Source: AgentArk, arXiv 2602.03955, sections 3.2 and 3.3.2.
    """
    if len({trace.question_id for trace in traces}) > 1:
        raise ValueError("different_traces compares the traces of one question, not of several")
    candidates = sorted((_Candidate.of(trace) for trace in traces if trace.correct), key=_preference)
    chosen = candidates[: min(k, 1)]
    left = [candidate for candidate in candidates if candidate.reasons]
    while chosen and len(chosen) < k:
        left = [candidate for candidate in left if not _duplicates(candidate, chosen[-1])]
        if not left:
            break
        # `max` takes the first of equals, which is the preferred one.
        chosen.append(max(left, key=lambda candidate: min(_distance(candidate, other) for other in chosen)))
    return [candidate.trace for candidate in chosen]


def reasons(trace: Trace) -> bool:
    """Whether a trace holds more than an answer and the sentence that announces it: an equation, or a third step."""
    return bool(_equations(trace.text)) or len(split_steps(trace.text)) > 2


@dataclass(frozen=True)
class _Candidate:
    trace: Trace
    equations: tuple[str, ...]
    ngrams: frozenset[tuple[str, ...]]
    reasons: bool

    @classmethod
    def of(cls, trace: Trace) -> "_Candidate":
        return cls(trace, _equations(trace.text), _ngrams(trace.text), reasons(trace))


def _preference(candidate: _Candidate) -> tuple[bool, bool, int, int, str]:
    trace = candidate.trace
    return not candidate.reasons, trace.kind != "corrective", trace.round, trace.agent, trace.trace_id


def _distance(one: _Candidate, other: _Candidate) -> float:
    """0 = the same, 1 = nothing in common: half for the sequence of equations, half for the words."""
    equations = SequenceMatcher(None, one.equations, other.equations, autojunk=False).ratio()
    return (1 - equations + _word_distance(one, other)) / 2


def _word_distance(one: _Candidate, other: _Candidate) -> float:
    return 1 - len(one.ngrams & other.ngrams) / len(one.ngrams | other.ngrams)


def _duplicates(one: _Candidate, other: _Candidate) -> bool:
    return one.equations == other.equations and _word_distance(one, other) <= NEAR_EQUAL


def _ngrams(text: str) -> frozenset[tuple[str, ...]]:
    # Without numbers: they have their say in the equations.
    words = re.findall(r"[^\W\d]+", text.casefold())
    # A text shorter than one n-gram is its own.
    return frozenset(tuple(words[i : i + NGRAM]) for i in range(max(1, len(words) - NGRAM + 1)))


_OPERATORS = {"\\times": "*", "\\cdot": "*", "\\div": "/", "\u00d7": "*", "\u00f7": "/", "\u2212": "-"}
_SIDE = r"\d+(?:\.\d+)?(?:[-+*/]\d+(?:\.\d+)?){0,30}"
_EQUATION = re.compile(rf"(?<![\w.])({_SIDE})=({_SIDE})(?!\w)")


def _equations(text: str) -> tuple[str, ...]:
    """The calculations of a text in order, as "12+45=57": without units, and with sums and products sorted."""
    text = re.sub(r"<<[^<>]{0,200}>>", "", text)
    for written, operator in _OPERATORS.items():
        text = text.replace(written, operator)
    text = re.sub(r"(?<=\d),(?=\d{3})|\\text\s?\{[^{}]{0,50}\}|[$()]", "", text)
    # "28 pieces - 12 pieces = 16" is the calculation 28-12=16.
    text = re.sub(r"(?<=\d)(?:\s[A-Za-z]{1,20}){1,3}(?=\s?[-+*/=])", "", text)
    text = re.sub(r"\s?([-+*/=])\s?", r"\1", text)
    equations = [f"{_sorted(left)}={right}" for left, right in _EQUATION.findall(text) if re.search(r"[-+*/]", left)]
    return tuple(equations[:MAX_EQUATIONS])


def _sorted(side: str) -> str:
    operators = set(re.findall(r"[-+*/]", side))
    return operators.pop().join(sorted(re.split(r"[+*]", side))) if operators in ({"+"}, {"*"}) else side
