"""What arms cost: seconds a question, the front, what a student took to make and when it has paid."""

import json
from pathlib import Path

import pandas as pd
import pytest

from agentark.evaluation.arms import read_arms
from agentark.evaluation.cost import COLUMNS, Spent, cost, spent
from agentark.provenance import manifests
from agentark.records.evaluations import EvaluationRow
from agentark.records.files import write_rows, write_text
from agentark.stages import summarise_cost
from tests.unit.evaluation.answers import TABLES, TRAINED, answers, arms_of, student

HALF = [True, False]
MADE = Spent({"debates": 100.0, "training": 50.0}, 1)


def teacher(protocol: str, verdicts: list[bool], seconds: float, calls: int) -> list[EvaluationRow]:
    return answers(verdicts, model="t", protocol=protocol, seconds=seconds, calls=calls, latency_s=3 * seconds)


def table(folder: Path, rows: list[EvaluationRow], made: Spent = MADE) -> pd.DataFrame:
    # Students' rows in a file of their own: what stands behind rows is known by file.
    by_file = {True: folder / "students.jsonl", False: folder / "others.jsonl"}
    for trained, path in by_file.items():
        write_rows(path, [row for row in rows if (row.teacher is not None) == trained])
    arms = read_arms(by_file.values(), TABLES)
    found = cost(arms, {by_file[True]: made, by_file[False]: Spent({}, 1)}, TABLES)
    assert found.columns.tolist() == list(COLUMNS)
    return found.set_index(["model", "method", "protocol"])


ROWS = [
    *answers([False, False], seconds=0.5),
    *teacher("single", HALF, 1.0, 1),
    *teacher("debate", [True, True], 8.0, 7),
    *teacher("self_consistency", HALF, 6.0, 7),
    *student("rsft", HALF, seconds=0.5, latency_s=2.0),
    *student("rsft", [True, True], seed=1, seconds=0.5, latency_s=4.0),
]


def test_a_student_pays_once_it_has_saved_what_it_took_to_make(tmp_path: Path) -> None:
    found = table(tmp_path, ROWS)
    line = found.loc["m", "rsft", "single"]
    assert (line["n_seeds"], line["n"], line["score"], line["seconds_per_question"]) == (2, 4, 0.75, 0.5)
    assert (line["debates_seconds"], line["training_seconds"], line["made_in_seconds"]) == (100, 50, 150)
    assert line["pays_after_questions"] == 20  # 150 seconds, 7.5 of them a question
    assert (line["latency_p50_s"], line["latency_p95_s"]) == (3.0, 4.0)
    untrained = found.drop(("m", "rsft", "single"))
    assert untrained["made_in_seconds"].isna().all()
    assert untrained["pays_after_questions"].isna().all()


def test_a_student_that_is_no_cheaper_never_pays(tmp_path: Path) -> None:
    slow = [*teacher("debate", HALF, 1.0, 7), *student("rsft", HALF, seconds=1.0)]
    assert table(tmp_path, slow).loc["m", "rsft", "single"].isna()["pays_after_questions"]
    unknown = [*teacher("debate", HALF, 0.0, 7), *student("rsft", HALF, seconds=1.0)]
    assert table(tmp_path, unknown).loc["m", "rsft", "single"].isna()["pays_after_questions"]


def test_a_students_debates_are_those_of_its_variant(tmp_path: Path) -> None:
    long = {"variant": "long"}
    rows = [*teacher("debate", HALF, 8.0, 7), *answers(HALF, model="t", protocol="debate", seconds=80.5, **long)]
    rows += [row for how in ({}, long, {"variant": "longer"}) for row in student("rsft", HALF, seconds=0.5, **how)]
    found = table(tmp_path, rows).loc["m", "rsft", "single"].set_index("variant")["pays_after_questions"]
    assert found.to_dict() == {"main": 20, "long": 2, "longer": 2}


def test_a_student_of_which_nothing_was_recorded_does_not_pay(tmp_path: Path) -> None:
    line = table(tmp_path, ROWS, Spent({}, 1)).loc["m", "rsft", "single"]
    assert line[["made_in_seconds", "pays_after_questions"]].isna().all()


def test_the_front_has_what_nothing_beats_in_both(tmp_path: Path) -> None:
    rows = [*ROWS, *teacher("first_round_vote", HALF, 0.0, 3)]
    found = table(tmp_path, rows)["pareto"]
    assert found[found == True].index.tolist() == [("t", "base", "debate"), ("m", "rsft", "single")]  # noqa: E712
    assert found["t", "base", "first_round_vote"] is None  # its time is part of the debate's


def test_seconds_of_several_accelerators_are_those_of_all(tmp_path: Path) -> None:
    arms = arms_of(tmp_path, ROWS[:2])
    assert cost(arms, {tmp_path / "rows.jsonl": Spent({}, 4)}, TABLES)["seconds_per_question"].tolist() == [2.0]


def made(run: Path, name: str, kind: str, parents: list[str], **record: object) -> None:
    """An artefact of one file, and when and where it was made."""
    write_text(run / f"{name}.jsonl", name)
    path = run / f"{name}.manifest.json"
    given = [run / f"{parent}.manifest.json" for parent in parents]
    manifests.write_manifest(path, kind=kind, stage="sets", settings={}, parents=given, outputs=[run / f"{name}.jsonl"])
    write_text(path.with_suffix(".run.json"), json.dumps(record))


@pytest.mark.parametrize("gpus", [[], ["H100", "H100"]])
def test_what_stands_behind_a_student_is_all_that_made_it(tmp_path: Path, gpus: list[str]) -> None:
    def job(seconds: float) -> dict[str, object]:
        return {"wall_seconds": seconds, "accelerator_seconds": len(gpus) * seconds, "accelerators": gpus}

    made(tmp_path, "model", "model", [], **job(1000))
    made(tmp_path, "questions", "questions", [], **job(1000))
    made(tmp_path, "debates", "debates", ["model", "questions"], **job(60))
    made(tmp_path, "traces", "traces", ["debates"], wall_seconds=5, accelerator_seconds=0, accelerators=[])
    made(tmp_path, "set", "set", ["traces"], wall_seconds=2, accelerator_seconds=0, accelerators=[])
    made(tmp_path, "other", "set", ["traces"], **job(1000))
    made(tmp_path, "student", "student", ["set", "model"], **job(30))
    made(tmp_path, "trained", "evaluation", ["student", "questions"], **job(7))
    made(tmp_path, "base", "evaluation", ["model", "questions"], **job(7))
    found = spent(tmp_path, [tmp_path / "trained.jsonl", tmp_path / "base.jsonl", tmp_path / "unknown.jsonl"])
    trained, base, unknown = found.values()
    if gpus:  # jobs without any take none of their time
        assert trained == Spent({"debates": 120.0, "sets": 0.0, "training": 60.0}, 2)
    else:
        assert trained == Spent({"debates": 60.0, "sets": 7.0, "training": 30.0}, 1)
    assert base == Spent({}, len(gpus) or 1)
    assert unknown == Spent({}, 1)


def test_the_stage_makes_table_and_figure(tmp_path: Path) -> None:
    rows = {"base": ROWS[:-4], "rsft-0": ROWS[-4:-2], "rsft-1": ROWS[-2:]}
    made(tmp_path, "debates", "debates", [], wall_seconds=90.0, accelerators=[])
    made(tmp_path, "student", "student", ["debates"], wall_seconds=60.0, accelerators=[])
    for name, some in rows.items():
        made(tmp_path, name, "evaluation", ["student"] if "rsft" in name else [], wall_seconds=1.0, accelerators=[])
        arms_of(tmp_path, some)
        (tmp_path / "rows.jsonl").rename(tmp_path / f"{name}.jsonl")
    settings = TABLES.model_copy(update={"evaluations": [f"{name}.jsonl" for name in rows]})
    (tmp_path / "tables.json").write_text(settings.model_dump_json())
    arguments = f"--config {tmp_path}/tables.json --run {tmp_path} --out {tmp_path}/cost.csv"
    arguments += f" --figure {tmp_path}/cost.svg"
    assert summarise_cost.main(arguments.split()) == 0
    found = pd.read_csv(tmp_path / "cost.csv").set_index("method")
    assert found.loc["rsft", "pays_after_questions"] == 20
    labels = (tmp_path / "cost.svg").read_text()
    assert "<!-- rsft, m -->" in labels
    assert "<!-- debate, t -->" in labels
    assert TRAINED["teacher"] == found.loc["rsft", "teacher"]
