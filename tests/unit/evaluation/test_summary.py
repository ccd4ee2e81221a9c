"""The table: denominators, intervals, pairing, seeds, costs."""

from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import t

from agentark.evaluation.comparisons import compare
from agentark.evaluation.over_seeds import interval
from agentark.evaluation.scoring import evaluation_row
from agentark.evaluation.statistics import wilson
from agentark.evaluation.summary import COLUMNS, as_text, headline, summary
from agentark.records.debates import AGGREGATOR, SETTLER, SOLVER, Debate, Turn
from agentark.records.evaluations import EvaluationRow
from agentark.records.questions import Question
from agentark.traces.debate_statistics import first_round_vote
from tests.unit.evaluation.answers import TABLES, TRAINED, answers, arms_of, row, student


def tables(folder: Path, rows: list[EvaluationRow], **compared: list[str]) -> tuple[pd.DataFrame, str]:
    """The table and its text."""
    settings = TABLES.model_copy(update={"compare": compared})
    arms = arms_of(folder, rows, settings)
    comparisons, _ = compare(arms, settings)
    table = summary(arms, comparisons, settings)
    return table, as_text(table, comparisons)


def test_unparsable_answers_are_wrong_and_counted(tmp_path: Path) -> None:
    rows = [row(i, i < 5, answer=None if i >= 7 else "1") for i in range(10)]
    line = tables(tmp_path, rows)[0].iloc[0]
    assert (line["n"], line["score"], line["no_answer_share"]) == (10, 0.5, 0.3)


def test_a_student_is_compared_with_its_base_on_the_same_questions(tmp_path: Path) -> None:
    base = [row(i, i < 8) for i in range(28)]
    trained = [row(i, i >= 8, **TRAINED) for i in range(28)]
    line = tables(tmp_path, base + trained)[0].set_index("method").loc["rsft"]
    assert line["difference_points"] == pytest.approx(100 * 12 / 28)
    assert (line["n_better"], line["n_worse"]) == (20, 8)
    assert line["p_value"] == pytest.approx(0.0357, abs=1e-4)
    assert line["p_holm"] == line["p_value"]


def test_a_debate_on_a_third_is_compared_on_that_third(tmp_path: Path) -> None:
    base = [row(i, i < 2) for i in range(9)]
    debate = [row(i, i < 3, protocol="debate", calls=7) for i in range(3)]
    line = tables(tmp_path, base + debate)[0].set_index("protocol").loc["debate"]
    assert line["n"] == 3
    assert line["difference_points"] == pytest.approx(100 / 3)
    assert line["calls_per_question"] == 7


def test_a_line_for_each_seed_and_one_over_them(tmp_path: Path) -> None:
    verdicts = [[True, True, False, False], [True, True, True, False]]
    rows = answers([True, False, False, False])
    rows += student("rsft-da", verdicts[0], completion_tokens=10) + student("rsft-da", verdicts[1], seed=1, calls=3)
    table, _ = tables(tmp_path, rows)
    assert table["seed"].fillna(-1).tolist() == [0, 0, 1, -1]
    assert table["n_seeds"].tolist() == [1, 1, 1, 2]
    assert table["score"].tolist() == [0.25, 0.5, 0.75, 0.625]
    assert table["difference_points"].fillna(-1).tolist() == [-1, 25, 50, 37.5]
    assert table["p_holm"].notna().tolist() == [False, False, False, True]
    over = table.iloc[-1]
    assert (over["method"], over["recipe"]) == ("da_after_rsft", "rsft-da")
    assert (over["calls_per_question"], over["output_tokens_per_question"]) == (2, 15)
    assert (over["ci_low"], over["ci_high"]) == interval(pd.DataFrame(verdicts).T.to_numpy())
    one = table.iloc[1]
    assert (one["ci_low"], one["ci_high"]) == wilson(2, 4)
    assert headline(table)["n_seeds"].tolist() == [1, 2]


def test_questions_that_a_seed_lacks_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = student("rsft", [True] * 6) + student("rsft", [True, True, False, False], seed=1)
    over = tables(tmp_path, rows[1:])[0].iloc[-1]
    assert (over["n"], over["n_left_out"]) == (3, 3)
    assert over["score"] == pytest.approx(4 / 6)


def test_answers_in_words_are_judged_by_how_near_they_come(tmp_path: Path) -> None:
    """Four questions about two texts; the student is nearer to gold in both."""

    def told(scores: list[float], **more: object) -> list[EvaluationRow]:
        return [
            row(i, False, scores={"f1": score, "rouge_l": score / 2}, metric="f1", group=str(i // 2), **more)
            for i, score in enumerate(scores)
        ]

    rows = told([0.2, 0.4, 0.1, 0.3]) + told([0.5, 0.6, 0.4, 0.7], **TRAINED) + [row(9, True, benchmark="c")]
    table, text = tables(tmp_path, rows)
    words = table[table["benchmark"] == "b"]
    assert words["metric"].tolist() == ["accuracy", "f1", "rouge_l"] * 2
    assert words["score"].tolist() == pytest.approx([0, 0.25, 0.125, 0, 0.55, 0.275])
    assert words["difference_points"].tolist()[4:] == pytest.approx([30, 15])
    # Of two texts: differences of 0.25 and 0.35.
    assert words["p_value"].tolist()[4] == pytest.approx(2 * t.sf(0.3 / 0.05, 1))
    # One test was made of each arm, by what it is judged by.
    assert words["p_holm"].notna().tolist() == [False] * 4 + [True, False]
    assert headline(table)["metric"].tolist() == ["f1", "f1", "accuracy"]
    assert "score [95% CI]" in text
    assert "55.0%" in text


def test_answers_to_a_cut_context_are_counted(tmp_path: Path) -> None:
    rows = [row(0, True, context_cut=True), row(1, False), row(2, False), row(3, True)]
    assert tables(tmp_path, rows)[0]["context_cut_share"].tolist() == [0.25]


def test_rows_stand_in_the_order_of_what_arms_know(tmp_path: Path) -> None:
    rows = [
        one
        for variant in ("long", "main")
        for recipe in ("rsft-pad", "rsft-da", "da", "rsft")
        for one in student(recipe, [True], variant=variant)
    ]
    rows += answers([True], protocol="debate") + answers([True]) + answers([True], protocol="first_round_vote")
    table, _ = tables(tmp_path, rows)
    assert table["method"].tolist() == [
        *["base"] * 3,
        *(m for m in ("rsft", "da", "da_after_rsft", "pad") for _ in "ab"),
    ]
    assert table["protocol"].tolist()[:3] == ["single", "first_round_vote", "debate"]
    assert table["variant"].tolist()[3:] == ["main", "long"] * 4


def test_columns_and_text(tmp_path: Path) -> None:
    table, text = tables(tmp_path, [row(0, True), row(0, True, **TRAINED)])
    assert list(table.columns) == list(COLUMNS)
    assert "rsft" in text
    assert "100.0%" in text
    assert "seeds" not in text
    assert "trained on" not in text


def test_the_text_has_seeds_together_and_named_comparisons_below(tmp_path: Path) -> None:
    rows = answers([False] * 20)
    for seed in (0, 1, 2):
        rows += student("rsft", [True] * 10 + [False] * 10, seed=seed)
        rows += student("rsft-pad", [True] * 12 + [False] * 8, seed=seed, variant="long")
    text = tables(tmp_path, rows, pad=["rsft"])[1].splitlines()
    assert [line.split()[2:5] for line in text[1:4]] == [
        ["base", "single", "1"],
        ["rsft", "single", "3"],
        ["long/pad", "single", "3"],
    ]
    assert "b, m trained on t, s:" in text
    assert text[-1].startswith("  long/pad vs rsft (3 seeds): +10.0 [")
    assert "could have seen" in text[-1]
    assert max(map(len, text)) <= 130


def test_a_debate_is_scored_by_what_it_settled_on_and_its_vote_apart() -> None:
    question = Question(question_id="q", dataset="b", split="test", question="?", gold="9", gold_type="number")

    def turn(agent: int, number: int, answer: str) -> Turn:
        role = SETTLER if agent == AGGREGATOR else SOLVER
        said = f"\\boxed{{{answer}}}"
        latency = number + agent
        return Turn(agent=agent, round=number, role=role, prompt="", reply=said, answer=answer, latency_s=latency)

    turns = [turn(0, 1, "9"), turn(1, 1, "8"), turn(2, 1, "8"), turn(0, 2, "9"), turn(1, 2, "9"), turn(2, 2, "8")]
    debate = Debate(
        question=question, teacher="m", protocol="debate", turns=[*turns, turn(AGGREGATOR, 2, "9")], answer="9"
    )
    scored = evaluation_row(debate, model="m", variant="main", recipe=None, seconds=1.0, seed=0)
    vote = evaluation_row(first_round_vote(debate), model="m", variant="main", recipe=None, seconds=1.0, seed=0)
    assert (scored.correct, scored.calls) == (True, 7)
    assert (scored.method, scored.recipe) == ("base", None)
    assert (vote.correct, vote.answer, vote.calls) == (False, "8", 3)
    # The slowest of each round, and then the aggregator.
    assert (scored.latency_s, vote.latency_s) == (3 + 4 + 1, 3)


def test_an_agent_that_reads_another_of_its_round_speaks_after_it() -> None:
    question = Question(question_id="q", dataset="b", split="test", question="?", gold="9", gold_type="number")
    said = {"round": 1, "prompt": "", "reply": "", "answer": "9", "latency_s": 2}
    spoken = [Turn(agent=i, reads=[0] if i == 1 else [], **said) for i in range(3)]
    debate = Debate(question=question, teacher="m", protocol="mav", turns=spoken, answer="9")
    scored = evaluation_row(debate, model="m", variant="main", recipe=None, seconds=1.0, seed=0)
    assert scored.latency_s == 4


def test_the_method_of_an_answer_is_the_last_training_of_its_recipe() -> None:
    question = Question(question_id="q", dataset="b", split="test", question="?", gold="9", gold_type="number")
    asked = Debate(question=question, teacher="m", protocol="single", turns=[], answer="9")
    scored = evaluation_row(asked, model="m", variant="long", recipe="rsft-pad", seconds=1.0, seed=0)
    assert (scored.method, scored.recipe, scored.variant) == ("pad", "rsft-pad", "long")
