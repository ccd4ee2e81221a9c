"""Labelled steps of one question's traces."""

from collections import Counter

import pytest
from msgspec.structs import replace

from agentark.config.sets import Sets
from agentark.sets import labelled_steps
from agentark.traces.extraction import traces_of
from tests.unit.sets.test_traces_and_sets import OTHER, RIGHT, WRONG, held, turn


def test_steps_shared_with_a_right_trace_are_right() -> None:
    half = "2 + 3 = 5\n5 + 4 = 8\nThe answer is 8."
    debate = list(traces_of(held(turn(0, 1, RIGHT), turn(1, 1, half))))
    rows = labelled_steps.step_examples(debate, Sets(prm_traces=4))
    labels = {row.agent: row.labels for row in rows}
    assert labels == {0: [1, 1, 1], 1: [1, 0, 0]}
    by_outcome = {row.agent: row.labels for row in labelled_steps.step_examples(debate, Sets(prm_labels="outcome"))}
    assert by_outcome == {0: [1, 1, 1], 1: [0, 0, 0]}
    for row in rows:
        assert [row.text[a:b] for a, b in row.steps] == row.text.split("\n")


def test_a_question_without_both_labels_gives_no_steps() -> None:
    assert labelled_steps.step_examples(list(traces_of(held(turn(0, 1, RIGHT), turn(1, 1, OTHER)))), Sets()) == []


def test_questions_on_which_all_agree_can_be_kept() -> None:
    debate = list(traces_of(held(turn(0, 1, RIGHT), turn(1, 1, OTHER))))
    rows = labelled_steps.step_examples(debate, Sets(prm_questions="all"))
    assert {label for row in rows for label in row.labels} == {1}
    assert len(rows) == 2


@pytest.mark.parametrize(("after", "expected"), [("keep", [1, 0, 1]), ("drop", [1, 0]), ("wrong", [1, 0, 0])])
def test_steps_after_the_first_wrong_one(after, expected) -> None:
    """The last step stands in a right trace too."""
    right, wrong = "2 + 3 = 5\n5 + 4 = 9\nThe answer is 9.", "2 + 3 = 5\n5 + 4 = 8\nSo it goes on.\nThe answer is 8."
    right = right.replace("The answer", "So it goes on.\nThe answer")
    debate = list(traces_of(held(turn(0, 1, right), turn(1, 1, wrong))))
    row = next(r for r in labelled_steps.step_examples(debate, Sets(prm_after_error=after)) if r.agent == 1)
    assert row.labels[:3] == expected[:3]
    assert len(row.labels) == len(row.steps)


def test_each_source_labels_its_share_of_the_questions() -> None:
    half = "2 + 3 = 5\n5 + 4 = 8\nThe answer is 8."
    right, wrong = traces_of(held(turn(0, 1, RIGHT), turn(1, 1, half)))
    settings = Sets(prm_labels={"consensus": 3, "outcome": 1}, prm_traces=4)
    found: Counter[str] = Counter()
    for number in range(400):
        question_id = f"{number:016x}"
        debate = [replace(trace, question_id=question_id) for trace in (right, wrong)]
        rows = labelled_steps.step_examples(debate, settings)
        labels = next(row.labels for row in rows if row.agent == 1)
        found[{(1, 0, 0): "consensus", (0, 0, 0): "outcome"}[tuple(labels)]] += 1
    assert 270 < found["consensus"] < 330


def test_steps_of_few_agents() -> None:
    debate = list(traces_of(held(turn(0, 1, RIGHT), turn(1, 1, WRONG), turn(2, 1, OTHER))))
    for n, agents in ((1, set()), (2, {0, 1}), (3, {0, 1, 2}), (None, {0, 1, 2})):
        assert {row.agent for row in labelled_steps.step_examples(debate, Sets(trajectories=n))} == agents


# The stages
