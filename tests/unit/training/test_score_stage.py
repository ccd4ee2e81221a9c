"""The stage that scores held-out steps, on a tiny reward model: what it scores, shards, and a job that is killed."""

import json
from pathlib import Path

import pytest

from agentark.config.prm_evaluation import PrmEvaluation
from agentark.evaluation import held_out
from agentark.provenance import manifests
from agentark.records.debates import Debate, Turn
from agentark.records.files import read_rows, write_rows, write_text
from agentark.records.questions import Question
from agentark.records.scores import ScoredTrace
from agentark.stages import score, score_untrained, summarise_prm
from tests.unit.training.test_prm import questions_with_a_planted_error, run, settings

N_QUESTIONS = 6


def debate(number: int) -> Debate:
    def turn(agent: int, reply: str, answer: str | None, status: str = "ok") -> Turn:
        return Turn(agent=agent, round=1, prompt="", reply=reply, answer=answer, status=status)

    asked = Question(
        question_id=f"{number:04d}", dataset="b", split="test", question=f"What is {number} + 5?", gold=str(number + 5),
        gold_type="number",
    )  # fmt: skip
    right, wrong = f"We add {number} and 5.\nThe answer is {number + 5}.", "We add 40 and 2.\nThe answer is 42."
    turns = [turn(0, right, str(number + 5)), turn(1, right, str(number + 5)), turn(2, wrong, "42")]
    return Debate(question=asked, teacher="t", protocol="debate", turns=[*turns, turn(3, "I do not know it.", None)])


@pytest.fixture(scope="module")
def prm(folder, tmp_path_factory):
    """A reward model that was trained for a moment."""
    place = tmp_path_factory.mktemp("prm")
    chosen = settings(stage2={"learning_rate": 1e-3, "epochs": 1})
    assert run(folder, place, questions_with_a_planted_error(4), chosen) == 0
    return place / "out" / "manifest.json"


@pytest.fixture
def scored(prm, folder, tmp_path):
    """The stage as a function of a shard: what it wrote."""
    write_text(tmp_path / "prm_evaluation.json", PrmEvaluation().model_dump_json())
    write_rows(tmp_path / "debates.jsonl.zst", [debate(number) for number in range(N_QUESTIONS)])
    write_rows(tmp_path / "steps.jsonl", [questions_with_a_planted_error(1)[0][0]])

    def work(shard: str = "0/1", debates: bool = True, steps: bool = True) -> list[ScoredTrace]:
        name = shard.replace("/", "-")
        both = ["--config", tmp_path / "prm_evaluation.json", "--shard", shard]
        both += ["--debates", *([f"b={tmp_path / 'debates.jsonl.zst'}"] if debates else [])]
        both += ["--steps", *([f"judged={tmp_path / 'steps.jsonl'}"] if steps else [])]

        def written(stage, what: str, *arguments: object) -> Path:
            out = tmp_path / f"{name}{what}.jsonl.zst"
            arguments = (*both, *arguments, "--work", tmp_path / "kept" / f"{name}{what}")
            arguments = (*arguments, "--out", out, "--manifest", tmp_path / f"{name}{what}.manifest.json")
            assert stage.main([str(argument) for argument in arguments]) == 0
            return out

        likelihoods = written(score_untrained, "-likelihoods", "--model", folder.parent / "manifest.json")
        whose = ("--teacher", "t", "--train-set", "s", "--backbone", "m", "--seed", "3")
        out = written(score, "", "--prm", prm, "--likelihoods", likelihoods, *whose)
        return list(read_rows(out, ScoredTrace))

    return work


def test_every_answer_has_scores_and_labels_once_for_the_same_text(scored, tmp_path, float32):
    rows = scored()
    assert {(row.teacher, row.train_set, row.model, row.seed) for row in rows} == {("t", "s", "m", 3)}
    first = [row for row in rows if row.benchmark == "b" and row.question_id == "0000" and row.planted is None]
    assert sorted((row.answer or "", row.correct, row.right) for row in first) == [
        ("", False, []),
        ("42", False, [False, False]),
        ("5", True, []),
        ("5", True, [True, True]),
    ]
    assert all(len(row.scores) == len(row.lengths) for row in rows)
    assert all(len(row.log_probabilities) == (0 if row.planted else len(row.scores)) for row in rows)
    one, other = (row.scores for row in first if row.answer == "5")
    assert one == other
    assert {row.planted for row in rows if row.question_id == "0001"} >= {None, "clean", "changed_digit", "platitude"}
    (judged,) = (row for row in rows if row.source == "labelled")
    assert (judged.benchmark, judged.right.count(False)) == ("judged", 1)
    facts = json.loads((tmp_path / "0-1.manifest.json").read_text())["facts"]
    assert (facts["traces"], facts["steps"]) == (len(rows), sum(len(row.scores) for row in rows))


def test_shards_are_the_whole_cut_by_question(scored, float32):
    whole, shards = scored(), [scored(f"{number}/2") for number in range(2)]
    together = {(row.benchmark, row.trace_id, row.planted) for shard in shards for row in shard}
    assert together == {(row.benchmark, row.trace_id, row.planted) for row in whole}
    assert not {row.question_id for row in shards[0]} & {row.question_id for row in shards[1]}


def test_a_killed_job_scores_nothing_twice(scored, tmp_path, monkeypatch, float32):
    monkeypatch.setattr(held_out, "QUESTIONS_AT_ONCE", 2)
    scorer, n_scored = score.score_encoded, []

    def counting(model, traces, *more):
        if len(n_scored) == 2:
            n_scored.append(0)
            raise KeyboardInterrupt
        n_scored.append(len(traces))
        return scorer(model, traces, *more)

    monkeypatch.setattr(score, "score_encoded", counting)
    with pytest.raises(KeyboardInterrupt):
        scored()
    rows = scored()
    assert sum(n_scored) == len(rows)
    assert not (tmp_path / "kept" / "0-1").exists()


def test_nothing_to_score_is_an_empty_table(scored, tmp_path, float32):
    assert scored(debates=False, steps=False) == []
    names = {"--out": "prm.csv", "--text": "prm.txt", "--figure": "prm.svg"}
    arguments = [part for option, name in names.items() for part in (option, str(tmp_path / name))]
    assert summarise_prm.main(["--scores", str(tmp_path / "0-1.jsonl.zst"), *arguments]) == 0
    assert (tmp_path / "prm.csv").read_text().count("\n") == 1
    assert manifests.read_manifest(tmp_path / "0-1.manifest.json")["facts"]["traces"] == 0
