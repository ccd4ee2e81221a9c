"""Selection of a question's correct traces: those that reason, corrective ones first, then the most different.

Differs from the paper, where a 72B model picks (`judge` in `sets.da_selection`): features cost nothing, repeat
exactly and can be tested. As in the paper, traces are told apart by their structure and never ranked by quality.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import fmean
from typing import Literal

from rapidfuzz.distance import Indel

from agentark.records.traces import Trace

Selection = Literal["max_min", "k_medoids", "random"]

NEAR_EQUAL = 0.2
"""Word distance up to which two traces with the same equations count as one."""
NGRAM = 3
MAX_EQUATIONS = 100
"""Comparing sequences takes quadratic time, and a reply in a loop has thousands."""
MEDOID_CANDIDATES = 12
"""All choices of k among so many are tried, 924 at most."""


def different_traces(traces: Sequence[Trace], k: int, how: Selection = "max_min") -> list[Trace]:
    """Pick up to k structurally different correct traces of one question.

    By `max_min` the first reasons if there is one that does, and among those is corrective if there is one: most
    corrective replies of real debates only agree with the others, and teach to answer at once. Each further one is
    the farthest from those picked, by the equations it solves and the words it uses. `k_medoids` takes the k that lie
    nearest to all others, one for each way of solving; `random` any, as a control. A bare answer is never a further
    one: it is far from everything and has no structure.

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
    candidates = sorted((_Candidate(trace) for trace in traces if trace.correct), key=_preference)
    if k == 1 and how == "max_min":
        return [candidate.trace for candidate in candidates[:1]]
    able = [candidate for candidate in candidates if candidate.reasons]
    distinct = _without_duplicates(able) or candidates[:1]
    if how == "random":
        drawn = random.Random(traces[0].question_id if traces else "")
        chosen = drawn.sample(distinct, min(k, len(distinct)))
    elif how == "k_medoids":
        chosen = _medoids(distinct[:MEDOID_CANDIDATES], k)
    else:
        chosen = _farthest(distinct, k)
    return [candidate.trace for candidate in chosen]


def distinct_traces(traces: Sequence[Trace]) -> list[Trace]:
    """The correct traces that reason, the preferred ones first, without those that say the same as an earlier one."""
    candidates = sorted((_Candidate(trace) for trace in traces if trace.correct), key=_preference)
    return [one.trace for one in _without_duplicates([one for one in candidates if one.reasons])]


def reasons(trace: Trace) -> bool:
    """Whether a trace holds more than an answer and the sentence that announces it: an equation, or a third step."""
    return _Candidate(trace).reasons


def diversity(traces: Sequence[Trace]) -> float | None:
    """Mean distance of all pairs, 0 = the same, 1 = nothing in common; None for fewer than two."""
    pairs = list(combinations(map(_Candidate, traces), 2))
    return fmean(_distance(*pair) for pair in pairs) if pairs else None


@dataclass(frozen=True)
class _Candidate:
    trace: Trace

    @cached_property
    def equations(self) -> tuple[str, ...]:
        return _equations(self.trace.text)

    @cached_property
    def ngrams(self) -> frozenset[tuple[str, ...]]:
        return _ngrams(self.trace.text)

    @cached_property
    def reasons(self) -> bool:
        return len(self.trace.steps) > 2 or bool(self.equations)


def _preference(candidate: _Candidate) -> tuple[bool, bool, int, int, str]:
    trace = candidate.trace
    return not candidate.reasons, trace.kind != "corrective", trace.round, trace.agent, trace.trace_id


def _without_duplicates(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The candidates in their order, without those that say the same as an earlier one."""
    kept: list[_Candidate] = []
    for candidate in candidates:
        if not any(_duplicates(candidate, other) for other in kept):
            kept.append(candidate)
    return kept


def _farthest(candidates: Sequence[_Candidate], k: int) -> list[_Candidate]:
    chosen = list(candidates[: min(k, 1)])
    left = list(candidates[1:])
    nearest = {id(one): _distance(one, chosen[0]) for one in left} if chosen else {}
    while left and len(chosen) < k:
        # `max` takes the first of equals, which is the preferred one.
        best = max(left, key=lambda one: nearest[id(one)])
        left.remove(best)
        chosen.append(best)
        nearest = {id(one): min(nearest[id(one)], _distance(one, best)) for one in left}
    return chosen


def _medoids(candidates: Sequence[_Candidate], k: int) -> list[_Candidate]:
    if len(candidates) <= k:
        return list(candidates)
    apart = [[_distance(one, other) for other in candidates] for one in candidates]

    def cost(places: tuple[int, ...]) -> float:
        return sum(min(row[place] for place in places) for row in apart)

    # `min` takes the first of equals, and combinations come with the preferred ones first.
    return [candidates[place] for place in min(combinations(range(len(candidates)), k), key=cost)]


def _distance(one: _Candidate, other: _Candidate) -> float:
    """0 = the same, 1 = nothing in common: half for the sequence of equations, half for the words."""
    return (Indel.normalized_distance(one.equations, other.equations) + _word_distance(one, other)) / 2


def _word_distance(one: _Candidate, other: _Candidate) -> float:
    shared = len(one.ngrams & other.ngrams)
    return 1 - shared / (len(one.ngrams) + len(other.ngrams) - shared)


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
