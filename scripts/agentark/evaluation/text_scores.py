"""How near an answer in words comes to one that is known to be right; of several such, to the nearest.

F1 is SQuAD's. ROUGE (Lin 2004) is its F-measure by the `rouge_score` package, with stems: words in common, pairs of
them, the longest common subsequence. All are between 0 and 1.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from agentark.grading.comparing import token_f1

if TYPE_CHECKING:
    from nltk.stem.porter import PorterStemmer
    from rouge_score.rouge_scorer import RougeScorer

ROUGE = {"rouge1": "rouge1", "rouge2": "rouge2", "rouge_l": "rougeL"}
METRICS = ("f1", *ROUGE)


def text_scores(answer: str | None, golds: Sequence[str]) -> dict[str, float]:
    """`METRICS` of an answer; no answer has 0 in all."""
    rouge = _scorer().score_multi(golds, answer or "")
    return {
        "f1": max(token_f1(gold, answer) for gold in golds),
        **{name: float(rouge[theirs].fmeasure) for name, theirs in ROUGE.items()},
    }


@cache
def _scorer() -> "RougeScorer":
    # Takes a second to import, and most benchmarks have numbers or letters for answers.
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(ROUGE.values()), tokenizer=_Words())


class _Words:
    """The package's own tokens for text in ASCII; it knows no other letters."""

    def tokenize(self, text: str) -> list[str]:
        words = re.sub(r"[\W_]+", " ", text.lower()).split()
        return [_stemmer().stem(word) if len(word) > 3 else word for word in words]


@cache
def _stemmer() -> "PorterStemmer":
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()
