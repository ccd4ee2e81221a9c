"""The table: denominators, intervals, pairing, costs."""

import pytest

from agentark.evaluation.scoring import evaluation_row, first_round_vote
from agentark.evaluation.summary import COLUMNS, as_text, summary
from agentark.records.debates import AGGREGATOR, SETTLER, SOLVER, Debate, Turn
from agentark.records.evaluations import EvaluationRow
from agentark.records.questions import Question


def row(number: int, correct: bool, **more: object) -> EvaluationRow:
    fields: dict[str, object] = {
        "model": "m",
        "method": "base",
        "teacher": None,
        "train_set": None,
        "protocol": "single",
        "benchmark": "b",
        "question_id": str(number),
        "output": "",
        "answer": "1",
        "correct": correct,
        "truncated": False,
        "calls": 1,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "seconds": 0.5,
        "seed": 0,
    }
    return EvaluationRow(**fields | more)


TRAINED = {"method": "rsft", "teacher": "t", "train_set": "s"}


def test_unparsable_answers_are_wrong_and_counted() -> None:
    rows = [row(i, i < 5, answer=None if i >= 7 else "1") for i in range(10)]
    line = summary(rows).iloc[0]
    assert (line["n"], line["accuracy"], line["no_answer_share"]) == (10, 0.5, 0.3)


def test_a_student_is_compared_with_its_base_on_the_same_questions() -> None:
    base = [row(i, i < 8) for i in range(28)]
    student = [row(i, i >= 8, **TRAINED) for i in range(28)]
    line = summary(base + student).set_index("method").loc["rsft"]
    assert line["difference_points"] == pytest.approx(100 * 12 / 28)
    assert (line["n_better"], line["n_worse"]) == (20, 8)
    assert line["p_value"] == pytest.approx(0.0357, abs=1e-4)


def test_a_debate_on_a_third_is_compared_on_that_third() -> None:
    base = [row(i, i < 2) for i in range(9)]
    debate = [row(i, i < 3, protocol="debate", calls=7) for i in range(3)]
    line = summary(base + debate).set_index("protocol").loc["debate"]
    assert line["n"] == 3
    assert line["difference_points"] == pytest.approx(100 / 3)
    assert line["calls_per_question"] == 7


def test_holm_never_lowers_a_p_value() -> None:
    base = [row(i, False) for i in range(30)]
    one = [row(i, i < 8, **TRAINED) for i in range(30)]
    two = [row(i, i < 9, **TRAINED, seed=1) for i in range(30)]
    table = summary(base + one + two)
    tested = table[table["p_value"].notna()]
    assert (tested["p_holm"] >= tested["p_value"]).all()
    assert tested["p_holm"].max() > tested["p_value"].max() or tested["p_holm"].min() > tested["p_value"].min()


def test_columns_and_text() -> None:
    table = summary([row(0, True), row(0, True, **TRAINED)])
    assert list(table.columns) == COLUMNS
    text = as_text(table)
    assert "rsft" in text
    assert "100.0%" in text


def test_a_debate_is_scored_by_what_it_settled_on_and_its_vote_apart() -> None:
    question = Question(question_id="q", dataset="b", split="test", question="?", gold="9", gold_type="number")

    def turn(agent: int, number: int, answer: str) -> Turn:
        role = SETTLER if agent == AGGREGATOR else SOLVER
        return Turn(agent=agent, round=number, role=role, prompt="", reply=f"\\boxed{{{answer}}}", answer=answer)

    turns = [turn(0, 1, "9"), turn(1, 1, "8"), turn(2, 1, "8"), turn(0, 2, "9"), turn(1, 2, "9"), turn(2, 2, "8")]
    debate = Debate(
        question=question, teacher="m", protocol="debate", turns=[*turns, turn(AGGREGATOR, 2, "9")], answer="9"
    )
    scored = evaluation_row(debate, model="m", method="base", seconds=1.0, seed=0)
    vote = evaluation_row(first_round_vote(debate), model="m", method="base", seconds=1.0, seed=0)
    assert (scored.correct, scored.calls) == (True, 7)
    assert (vote.correct, vote.answer, vote.calls) == (False, "8", 3)
