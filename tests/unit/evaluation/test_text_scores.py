"""Scores of answers in words are those of the libraries that others use."""

import random

import pytest
from rouge_score.rouge_scorer import RougeScorer

from agentark.evaluation.text_scores import METRICS, text_scores

WORDS = "the a cat cats sat sitting on mat mats and dog ran running quickly. Then, there were two!".split()


def test_rouge_is_that_of_its_package_on_random_pairs() -> None:
    chance = random.Random(0)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for _ in range(1000):
        gold, answer = (" ".join(chance.choices(WORDS, k=chance.randint(1, 12))) for _ in range(2))
        found, theirs = text_scores(answer, [gold]), scorer.score(gold, answer)
        assert found["rouge1"] == theirs["rouge1"].fmeasure
        assert found["rouge2"] == theirs["rouge2"].fmeasure
        assert found["rouge_l"] == theirs["rougeL"].fmeasure


def test_the_nearest_of_several_answers_counts() -> None:
    golds = ["a cat on the mat", "Two dogs."]
    assert text_scores("two dogs", golds) == dict.fromkeys(METRICS, 1.0)
    assert text_scores("the cat", golds)["f1"] == pytest.approx(2 / 4)


@pytest.mark.parametrize("answer", [None, "", "?!"])
def test_no_answer_has_nothing_of_gold(answer: str | None) -> None:
    assert text_scores(answer, ["a cat"]) == dict.fromkeys(METRICS, 0.0)


@pytest.mark.parametrize("text", ["\u5317\u4eac", "caf\u00e9", "\u041c\u043e\u0441\u043a\u0432\u0430 2024"])
def test_the_same_words_of_any_alphabet_are_the_same(text: str) -> None:
    assert text_scores(text, [text])["rouge1"] == text_scores(text, [text])["rouge_l"] == 1
