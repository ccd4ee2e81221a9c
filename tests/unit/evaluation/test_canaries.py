"""Errors planted in right traces."""

import random

import pytest

from agentark.evaluation import canaries
from agentark.traces.steps import split_steps

STEPS = ["2 + 3 = 5", "5 + 4 = 9", "So it is nine.", "The answer is 9."]
TEXT = "\n\n".join(STEPS)


def test_each_kind_spoils_what_it_says() -> None:
    made = {kind: text.split("\n") for kind, text in canaries.spoilt(TEXT, split_steps(TEXT), "seed")}
    assert made.keys() == canaries.KINDS.keys()
    clean = canaries.clean(TEXT, split_steps(TEXT)).split("\n")
    assert clean == STEPS
    differs = [(a, b) for a, b in zip(clean, made["changed_digit"], strict=True) if a != b]
    assert len(differs) == 1
    assert sum(a != b for a, b in zip(*differs[0], strict=True)) == 1
    assert made["swapped_steps"] != clean
    assert sorted(made["swapped_steps"]) == sorted(clean)
    assert len(made["repeated_step"]) == 5
    assert set(made["repeated_step"]) == set(clean)
    assert [line for line in made["platitude"] if line != canaries.PLATITUDE] == clean
    assert made["answer_after_nonsense"] == [canaries.NONSENSE] * 3 + ["The answer is 9."]


@pytest.mark.parametrize("kind", [kind for kind in canaries.KINDS if kind != "platitude"])
def test_the_end_stays_right(kind: str) -> None:
    for seed in range(20):
        assert canaries.KINDS[kind](STEPS, random.Random(seed))[-1] == STEPS[-1]


@pytest.mark.parametrize(("text", "kinds"), [("", set()), ("The answer is 9.", {"platitude"})])
def test_a_text_without_a_place_for_an_error_is_left_out(text: str, kinds: set[str]) -> None:
    assert {kind for kind, _ in canaries.spoilt(text, split_steps(text), "seed")} == kinds


def test_the_same_trace_is_spoilt_alike() -> None:
    once, again, other = (dict(canaries.spoilt(TEXT, split_steps(TEXT), seed)) for seed in ("a", "a", "b"))
    assert once == again
    assert once != other
