"""Questions that say the same: two of one train set, or one to train on and one to score on.

Four rules, the first that fits names the pair (flaw E12):

    same words      the same words, numbers and operators in the same order, whatever else stands between them
    origin          made from a question of the benchmark (`datasets.NAME.origin`), as MetaMathQA's are from GSM8K's
    13-gram         thirteen words in a row in common, the usual sign of copied text
    near-duplicate  at least half of all three-word phrases in common, and the same numbers

The last compares numbers because a generator or a teacher asks the same story with other numbers: that is another
question with another answer. MinHash finds the candidates; the share of phrases is then counted exactly.
"""

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
from datasketch import MinHash

from agentark.records import Question, SkippedQuestion

Rule = Literal["same words", "origin", "13-gram", "near-duplicate"]

LONG, SHORT = 13, 3
NEAR, NEAR_WITHIN = 0.5, 0.8
"""Shares of three-word phrases: of a benchmark's question, and of another train question, which hurts less."""
BANDS, ROWS = 32, 4
"""Pairs with half of their phrases in common meet in one of the bands with probability 0.87, with 0.65 with 0.998."""
MOST_IN_A_BUCKET = 50
"""So many of the questions that meet in one bucket are compared with all others there."""


def overlaps(train: Sequence[Question], benchmarks: Sequence[Question]) -> Iterator[SkippedQuestion]:
    """Train questions that repeat a benchmark's, or an earlier train question; each at most once.

    Args:
        train: in their order: of two that repeat each other the later one is named.
        benchmarks: questions to score on, of all benchmarks.
    """
    train_words, their_words = [_words(q) for q in train], [_words(q) for q in benchmarks]
    by_id = {q.question_id: q for q in benchmarks}
    by_words = {tuple(words): q for q, words in zip(benchmarks, their_words, strict=True)}
    by_phrase = {
        phrase: q for q, words in zip(benchmarks, their_words, strict=True) for phrase in _phrases(words, LONG)
    }
    near = _near(train, train_words, benchmarks, their_words)
    seen: dict[tuple[str, ...], Question] = {}
    for place, (question, words) in enumerate(zip(train, train_words, strict=True)):
        key = tuple(words)
        origin = by_id.get(question.origin_id or "")
        copied = next((by_phrase[phrase] for phrase in _phrases(words, LONG) if phrase in by_phrase), None)
        if other := by_words.get(key):
            yield _found(question, other, "same words", 1.0)
        elif origin:
            yield _found(question, origin, "origin", _similarity(words, _words(origin)))
        elif copied:
            yield _found(question, copied, "13-gram", _similarity(words, _words(copied)))
        elif key in seen:
            yield _found(question, seen[key], "same words", 1.0)
        elif place in near:
            yield _found(question, *near[place])
        seen.setdefault(key, question)


def _near(
    train: Sequence[Question],
    train_words: Sequence[list[str]],
    benchmarks: Sequence[Question],
    their_words: Sequence[list[str]],
) -> dict[int, tuple[Question, Rule, float]]:
    """For each place in `train` with a near-duplicate, the first one: of the benchmarks, else of train before it."""
    questions, words = [*benchmarks, *train], [*their_words, *train_words]
    found: dict[int, tuple[Question, Rule, float]] = {}
    for first, second in sorted(_candidates(words)):
        place = second - len(benchmarks)
        if place < 0 or place in found:
            continue
        share = _similarity(words[first], words[second])
        same_numbers = _numbers(words[first]) == _numbers(words[second])
        if same_numbers and share >= (NEAR if first < len(benchmarks) else NEAR_WITHIN):
            found[place] = questions[first], "near-duplicate", share
    return found


def _candidates(words: Sequence[list[str]]) -> set[tuple[int, int]]:
    """Pairs (earlier, later) that share a band of their MinHash signatures and all their numbers."""
    signatures = np.empty((len(words), BANDS * ROWS), dtype=np.uint32)
    empty = MinHash(BANDS * ROWS, hashfunc=zlib.crc32)
    for place, some in enumerate(words):
        minhash = empty.copy()
        minhash.update_batch([" ".join(phrase).encode() for phrase in _phrases(some, SHORT)])
        signatures[place] = minhash.hashvalues
    numbers = [zlib.crc32(" ".join(_numbers(some)).encode()) for some in words]
    pairs: set[tuple[int, int]] = set()
    for band in range(0, BANDS * ROWS, ROWS):
        buckets: dict[tuple[int, ...], list[int]] = {}
        for place, part in enumerate(signatures[:, band : band + ROWS].tolist()):
            buckets.setdefault((numbers[place], *part), []).append(place)
        for bucket in buckets.values():
            for i, first in enumerate(bucket[:MOST_IN_A_BUCKET]):
                pairs.update((first, later) for later in bucket[i + 1 :])
    return pairs


def _found(question: Question, other: Question, rule: Rule, share: float) -> SkippedQuestion:
    return SkippedQuestion(
        question_id=question.question_id,
        reason=rule,
        other_id=other.question_id,
        other_set=other.dataset,
        other_split=other.split,
        similarity=round(share, 4),
    )


def _words(question: Question) -> list[str]:
    """Words, numbers and operators, of the choices too: "Which of these is right?" is many questions."""
    text = " ".join([question.question, *(question.choices or ())])
    return re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)?|[-+*/^=<>%]", text.casefold())


def _numbers(words: Iterable[str]) -> list[str]:
    return sorted(word for word in words if word[0].isdigit())


def _phrases(words: list[str], n: int) -> set[tuple[str, ...]]:
    """All n words in a row; a text of fewer is its own for short phrases and has no long ones."""
    if len(words) < n:
        return {tuple(words)} if n == SHORT else set()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def _similarity(one: list[str], other: list[str]) -> float:
    """Jaccard index of the three-word phrases."""
    these, those = _phrases(one, SHORT), _phrases(other, SHORT)
    return len(these & those) / len(these | those)
