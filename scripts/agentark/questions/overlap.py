"""Find questions that say the same: two of one train set, or one to train on and one to score on.

Four rules, the first that fits names the pair (flaw E12):

    same words      the same words, numbers and operators in the same order, whatever else stands between them
    origin          made from a question of the benchmark (`datasets.NAME.origin`), as MetaMathQA's are from GSM8K's
    13-gram         thirteen words in a row in common, the usual sign of copied text, where one has the other's numbers
    near-duplicate  at least half of all three-word phrases in common, and the same numbers

Phrases that many questions have in common are instructions or a generator's wording, and count for nothing: what is
left of "Spell this word backward: lamp" is the lamp. Numbers are compared because a generator or a teacher asks
the same story with other numbers: that is another question with another answer. MinHash finds the candidates; the
share of phrases is then counted exactly.
"""

import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal

import numpy as np
from datasketch import MinHash

from agentark.records.questions import Question, SkippedQuestion

Rule = Literal["same words", "origin", "13-gram", "near-duplicate"]
Phrase = tuple[str, ...]

LONG, SHORT = 13, 3
NEAR, NEAR_WITHIN = 0.5, 0.8
"""Shares of three-word phrases: of a benchmark's question, and of another train question, which hurts less."""
COMMON, COMMON_SHARE, SAMPLE = 10, 0.01, 5_000
"""A phrase is common wording when more than 10 and more than 1% of up to 5,000 questions have it."""
BANDS, ROWS = 32, 4
"""Pairs with half of their phrases in common meet in one of the bands with probability 0.87, with 0.65 with 0.998."""
MOST_IN_A_BUCKET = 50
"""So many of the questions that meet in one bucket are compared with all others there."""


@dataclass(frozen=True)
class _Text:
    """A question as its words; of its phrases only those count that are not common wording."""

    question: Question
    words: tuple[str, ...]
    common: set[Phrase]

    def phrases(self, n: int) -> set[Phrase]:
        # Not kept: for 342,000 questions they would take gigabytes.
        return _phrases(self.words, n) - self.common

    @property
    def numbers(self) -> tuple[str, ...]:
        return tuple(sorted(word for word in self.words if word[0].isdigit()))


def overlaps(train: Sequence[Question], benchmarks: Sequence[Question]) -> Iterator[SkippedQuestion]:
    """Train questions that repeat a benchmark's, or an earlier train question; each at most once.

    Args:
        train: in their order: of two that repeat each other the later one is named.
        benchmarks: questions to score on, of all benchmarks.
    """
    common = _common(islice(chain(benchmarks, train), SAMPLE))
    theirs, ours = ([_text(question, common) for question in part] for part in (benchmarks, train))
    by_id = {text.question.question_id: text for text in theirs}
    by_words = {text.words: text for text in theirs}
    by_phrase = {phrase: text for text in theirs for phrase in text.phrases(LONG)}
    near = _near(ours, theirs)
    seen: dict[tuple[str, ...], _Text] = {}
    for place, text in enumerate(ours):
        origin = by_id.get(text.question.origin_id or "")
        quoted = (by_phrase[phrase] for phrase in text.phrases(LONG) if phrase in by_phrase)
        copied = next((other for other in quoted if _one_holds_the_other(text.numbers, other.numbers)), None)
        if other := by_words.get(text.words):
            yield _found(text, other, "same words")
        elif origin:
            yield _found(text, origin, "origin")
        elif copied:
            yield _found(text, copied, "13-gram")
        elif text.words in seen:
            yield _found(text, seen[text.words], "same words")
        elif place in near:
            yield _found(text, near[place], "near-duplicate")
        seen.setdefault(text.words, text)


def _near(ours: Sequence[_Text], theirs: Sequence[_Text]) -> dict[int, _Text]:
    """For each place in `ours` with a near-duplicate, the first one: of the benchmarks, else of those before it."""
    texts = [*theirs, *ours]
    found: dict[int, _Text] = {}
    for first, second in sorted(_candidates(texts)):
        place = second - len(theirs)
        if place < 0 or place in found:
            continue
        one, other = texts[first], texts[second]
        if one.numbers == other.numbers and _share(one, other) >= (NEAR if first < len(theirs) else NEAR_WITHIN):
            found[place] = one
    return found


def _candidates(texts: Sequence[_Text]) -> set[tuple[int, int]]:
    """Pairs (earlier, later) that share a band of their MinHash signatures and all their numbers."""
    signatures = np.empty((len(texts), BANDS * ROWS), dtype=np.uint32)
    empty = MinHash(BANDS * ROWS, hashfunc=zlib.crc32)
    keys: list[int | None] = []
    for place, text in enumerate(texts):
        minhash, phrases = empty.copy(), text.phrases(SHORT)
        minhash.update_batch([" ".join(phrase).encode() for phrase in phrases])
        signatures[place] = minhash.hashvalues
        keys.append(hash(text.numbers) if phrases else None)
    pairs: set[tuple[int, int]] = set()
    for band in range(0, BANDS * ROWS, ROWS):
        buckets: dict[tuple[int, ...], list[int]] = {}
        for place, part in enumerate(signatures[:, band : band + ROWS].tolist()):
            if (key := keys[place]) is not None:
                buckets.setdefault((key, *part), []).append(place)
        for bucket in buckets.values():
            for i, first in enumerate(bucket[:MOST_IN_A_BUCKET]):
                pairs.update((first, later) for later in bucket[i + 1 :])
    return pairs


def _found(text: _Text, other: _Text, rule: Rule) -> SkippedQuestion:
    return SkippedQuestion(
        question_id=text.question.question_id,
        reason=rule,
        other_id=other.question.question_id,
        other_set=other.question.dataset,
        other_split=other.question.split,
        similarity=1.0 if text.words == other.words else round(_share(text, other), 4),
    )


def _text(question: Question, common: set[Phrase]) -> _Text:
    return _Text(question, tuple(map(sys.intern, _words(question))), common)


def _common(questions: Iterable[Question]) -> set[Phrase]:
    """The phrases that many questions share."""
    counts: Counter[Phrase] = Counter()
    n_questions = 0
    for question in questions:
        n_questions += 1
        words = _words(question)
        counts.update(_phrases(words, LONG) | _phrases(words, SHORT))
    return {phrase for phrase, count in counts.items() if count > max(COMMON, COMMON_SHARE * n_questions)}


_WORD = re.compile(
    r"""\d+(?:[.,]\d+)*!?|[^\W\d_]+(?:'[^\W\d_]+)?|[^\w\s.,;:?'"!$*_`\u2018\u2019\u201c\u201d\u2013\u2014]"""
)


def _words(question: Question) -> list[str]:
    """Words, numbers and operators, of the choices too: "Which of these is right?" is many questions.

    Questions about one text have it in common and are told apart by what they ask; what is asked about another text is
    another question, whatever its words.
    """
    text = " ".join([question.question[question.context_chars :], *(question.choices or ())])
    words = _WORD.findall(text.casefold().replace("\u2212", "-"))
    return [f"{word} {question.group}" for word in words] if question.group else words


def _phrases(words: Sequence[str], n: int) -> set[Phrase]:
    """All n words in a row; a text of fewer is its own for short phrases and has no long ones."""
    if len(words) < n:
        return {tuple(words)} if n == SHORT else set()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def _one_holds_the_other(some: Iterable[str], others: Iterable[str]) -> bool:
    return Counter(some) <= Counter(others) or Counter(others) <= Counter(some)


def _share(one: _Text, other: _Text) -> float:
    """Jaccard index of the three-word phrases."""
    these, those = one.phrases(SHORT), other.phrases(SHORT)
    return len(these & those) / len(these | those) if these | those else 0.0
