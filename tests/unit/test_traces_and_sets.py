"""Traces and their kinds, and the sets made of them."""

import pytest

from agentark import sets
from agentark.config import Sets
from agentark.records import AGGREGATOR, SETTLER, SOLVER, Debate, Question, Trace, Turn, question_id
from agentark.traces import as_completion, traces_of

QUESTION = Question(
    question_id=question_id("2 + 3 + 4?"),
    dataset="sums",
    split="train",
    question="2 + 3 + 4?",
    gold="9",
    gold_type="number",
)


def turn(agent: int, number: int, reply: str, **more: object) -> Turn:
    from agentark.grading import extract_answer

    role = SETTLER if agent == AGGREGATOR else SOLVER
    answer = extract_answer(reply, "number")
    return Turn(agent=agent, round=number, role=role, prompt="p", reply=reply, answer=answer, **more)


def held(*turns: Turn) -> Debate:
    return Debate(question=QUESTION, teacher="t", protocol="debate", turns=list(turns), answer="9")


RIGHT = "2 + 3 = 5\n5 + 4 = 9\nThe answer is 9."
OTHER = "3 + 4 = 7\n7 + 2 = 9\nSo the answer is 9."
WRONG = "2 + 3 = 6\n6 + 4 = 10\nThe answer is 10."


def test_each_turn_gets_its_kind() -> None:
    debate = held(
        turn(0, 1, RIGHT),
        turn(1, 1, WRONG),
        turn(2, 1, OTHER),
        turn(3, 1, WRONG),
        turn(0, 2, RIGHT),
        turn(1, 2, OTHER),
        turn(2, 2, WRONG),
        turn(3, 2, WRONG),
        turn(AGGREGATOR, 2, RIGHT),
    )
    kinds = {(t.agent, t.round): t.kind for t in traces_of(debate)}
    assert [kinds[agent, 2] for agent in range(4)] == ["stable", "corrective", "degraded", "wrong"]
    assert [kinds[agent, 1] for agent in range(4)] == ["stable", "wrong", "stable", "wrong"]
    assert kinds[AGGREGATOR, 2] == "aggregate"


def test_a_failed_or_empty_turn_gives_no_trace_and_shifts_no_agent() -> None:
    debate = held(turn(0, 1, ""), turn(1, 1, RIGHT), turn(2, 1, "", status="failed", error="too long"))
    assert [(t.agent, t.correct) for t in traces_of(debate)] == [(1, True)]


def test_consensus_is_the_majority_of_the_last_round() -> None:
    debate = held(turn(0, 1, WRONG), turn(1, 1, WRONG), turn(0, 2, RIGHT), turn(1, 2, OTHER))
    assert [t.consensus for t in traces_of(debate)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RIGHT, "2 + 3 = 5\n5 + 4 = 9\nThe answer is 9."),
        ("2 + 3 = 5, so 5 + 4 = 9", "2 + 3 = 5, so 5 + 4 = 9\nThe answer is 9."),
        ("The answer is 9.", "The answer is 9."),
        ("First 5. Therefore, the answer is 9 apples.", "First 5.\nThe answer is 9."),
    ],
)
def test_a_completion_ends_with_one_statement_of_the_answer(text: str, expected: str) -> None:
    [trace] = traces_of(held(turn(0, 1, text)))
    completion, answer_start = as_completion(trace)
    assert completion == expected
    assert completion[answer_start:] == "The answer is 9."


def traces() -> list[Trace]:
    return list(
        traces_of(
            held(turn(0, 1, RIGHT), turn(1, 1, WRONG), turn(0, 2, RIGHT), turn(1, 2, OTHER), turn(AGGREGATOR, 2, RIGHT))
        )
    )


def test_rsft_takes_one_trace_and_the_corrective_one_first() -> None:
    [row] = sets.training_examples(traces(), "rsft", 1, Sets(min_correct_agents=2))
    assert row.completion.startswith("3 + 4 = 7")
    assert row.weight == 1.0


def test_da_takes_different_traces_whose_weights_sum_to_one() -> None:
    rows = sets.training_examples(traces(), "da", 3, Sets(min_correct_agents=2))
    assert len(rows) == 2  # the same trace twice is one
    assert sum(row.weight for row in rows) == pytest.approx(1.0)


def test_a_question_with_too_few_right_agents_is_left_out() -> None:
    few = list(traces_of(held(turn(0, 1, RIGHT), turn(1, 1, WRONG))))
    assert sets.training_examples(few, "rsft", 1, Sets(min_correct_agents=2)) == []
    assert len(sets.training_examples(few, "rsft", 1, Sets(min_correct_agents=1))) == 1


def test_truncated_and_aggregate_turns_never_teach() -> None:
    cut = list(traces_of(held(turn(0, 1, RIGHT, status="truncated"), turn(AGGREGATOR, 1, RIGHT))))
    assert sets.training_examples(cut, "da", 3, Sets(min_correct_agents=0)) == []


def test_a_bare_answer_teaches_only_when_asked_to() -> None:
    bare = list(traces_of(held(turn(0, 1, "The answer is 9."))))
    assert sets.training_examples(bare, "rsft", 1, Sets(min_correct_agents=1)) == []
    assert len(sets.training_examples(bare, "rsft", 1, Sets(min_correct_agents=1, require_reasoning=False))) == 1


def test_steps_shared_with_a_right_trace_are_right() -> None:
    half = "2 + 3 = 5\n5 + 4 = 8\nThe answer is 8."
    rows = sets.step_examples(list(traces_of(held(turn(0, 1, RIGHT), turn(1, 1, half)))), n_traces=4)
    labels = {row.agent: row.labels for row in rows}
    assert labels == {0: [1, 1, 1], 1: [1, 0, 0]}
    for row in rows:
        assert [row.text[a:b] for a, b in row.steps] == row.text.split("\n")


def test_a_question_without_both_labels_gives_no_steps() -> None:
    assert sets.step_examples(list(traces_of(held(turn(0, 1, RIGHT), turn(1, 1, OTHER)))), n_traces=4) == []


def test_pass_rate_counts_agents_turns() -> None:
    assert sets.rl_prompt(traces()).pass_rate == 0.75
