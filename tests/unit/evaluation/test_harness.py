"""Tasks of lm-evaluation-harness on a tiny model: our rows say what the harness says, to the question."""

import json
from pathlib import Path

import pytest
import yaml

from agentark.config.engine import Engine
from agentark.config.lm_eval import LmEval
from agentark.evaluation.arms import read_arms
from agentark.evaluation.cost import Spent, cost
from agentark.evaluation.harness import rows_of_task
from agentark.evaluation.reasoning_quality import reasoning_table
from agentark.evaluation.summary import as_text, summary
from agentark.provenance import manifests
from agentark.records.evaluations import EvaluationRow
from agentark.records.files import read_rows
from agentark.stages import evaluate_by_lm_eval
from tests import tiny_model
from tests.unit.evaluation.answers import TABLES

WHO = {"model": "m", "method": "base", "recipe": None, "variant": "main", "teacher": None, "train_set": None, "seed": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, and two tasks about five sums: one by likelihood, one by what is said."""
    folder = tmp_path_factory.mktemp("harness")
    model = tiny_model.build(folder / "model" / "model")
    manifests.write_manifest(
        folder / "model" / "manifest.json", kind="model", stage="models", settings={}, parents=[], folder=model
    )
    rows = [{"question": f"{i} + {i} =", "choices": [str(2 * i), str(2 * i + 1)], "label": 0} for i in range(5)]
    (folder / "tasks").mkdir()
    (folder / "sums.json").write_text("\n".join(map(json.dumps, rows)))
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "sums.json")}},
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "metadata": {"version": 3},
    }
    by_likelihood = {
        "task": "tiny_choice",
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{label}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    by_text = {
        "task": "tiny_text",
        "output_type": "generate_until",
        "doc_to_target": "{{choices[0]}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4},
        "metric_list": [{"metric": "exact_match"}],
    }
    for task in (by_likelihood, by_text):
        (folder / "tasks" / f"{task['task']}.yaml").write_text(yaml.safe_dump(common | task))
    (folder / "engine.json").write_text(Engine(max_model_len=256).model_dump_json())
    return folder


def run(folder: Path, out: Path, **settings: object) -> int:
    (out / "lm_eval.json").write_text(LmEval(folder=str(folder / "tasks"), **settings).model_dump_json())
    arguments = f"--config {out}/lm_eval.json --engine {folder}/engine.json --model {folder}/model/manifest.json"
    arguments += f" --name tiny --seed 0 --out {out}/rows.jsonl --manifest {out}/manifest.json"
    return evaluate_by_lm_eval.main(arguments.split())


def test_rows_say_what_the_harness_says(folder: Path, tmp_path: Path) -> None:
    assert run(folder, tmp_path, tasks=["tiny_choice", "tiny_text"], limit=4) == 0
    rows = list(read_rows(tmp_path / "rows.jsonl", EvaluationRow))
    facts = json.loads((tmp_path / "manifest.json").read_text())["facts"]
    assert facts["versions"] == {"tiny_choice": 3, "tiny_text": 3}
    choice, text = ([row for row in rows if row.benchmark == name] for name in ("tiny_choice", "tiny_text"))
    assert [row.question_id for row in choice] == [row.question_id for row in text] == ["0", "1", "2", "3"]
    theirs = facts["results"]
    assert sum(row.correct for row in choice) / 4 == theirs["tiny_choice"]["acc,none"]
    assert sum(row.scores["acc_norm"] for row in choice) / 4 == theirs["tiny_choice"]["acc_norm,none"]
    assert sum(row.correct for row in text) / 4 == theirs["tiny_text"]["exact_match,none"]
    assert {row.metric for row in rows} == {"accuracy"}


def test_what_the_harness_does_not_tell_is_empty_in_the_tables(folder: Path, tmp_path: Path) -> None:
    assert run(folder, tmp_path, tasks=["tiny_choice"]) == 0
    path, tables = tmp_path / "rows.jsonl", TABLES.model_copy(update={"evaluations": ["rows.jsonl"]})
    arms = read_arms([path], tables)
    columns = ["calls_per_question", "output_tokens_per_question", "seconds_per_question"]
    table = summary(arms, [], tables)
    assert table[columns].isna().all(axis=None)
    assert cost(arms, {path: Spent({}, 1)}, tables)[columns].isna().all(axis=None)
    assert len(reasoning_table(arms, [path], [], tables)) == 0
    assert "tiny_choice" in as_text(table, [])


def test_an_unknown_task_is_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, tmp_path, tasks=["tiny_chioce"]) == 1
    assert "lm_eval.tasks: `tiny_chioce` is none of lm-evaluation-harness" in capsys.readouterr().err


def sample(number: int, filter: str = "none", **values: object) -> dict[str, object]:
    metrics = list(values)
    return {"doc_id": number, "filter": filter, "metrics": metrics, "filtered_resps": ["said"], **values}


def test_a_metric_of_parts_keeps_its_name_and_several_filters_theirs() -> None:
    parts = [sample(0, acc=0.25, nothing=(1, 2)), sample(1, acc=1.0, nothing=(1, 2))]
    rows = list(rows_of_task("mc2", parts, **WHO))
    assert [(row.metric, row.scores, row.correct) for row in rows] == [
        ("acc", {"acc": 0.25}, False),
        ("acc", {"acc": 1.0}, True),
    ]
    filtered = [sample(i, name, exact_match=i == 0) for name in ("strict", "flexible") for i in range(2)]
    rows = list(rows_of_task("gsm8k", filtered, **WHO))
    assert [(row.metric, row.scores, row.correct) for row in rows] == [
        ("accuracy", {"exact_match.flexible": 1.0}, True),
        ("accuracy", {"exact_match.flexible": 0.0}, False),
    ]
    assert list(rows_of_task("perplexity", [sample(0, word_perplexity=(1.0, 2))], **WHO)) == []
