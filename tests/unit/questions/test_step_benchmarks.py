"""Step benchmarks in the fields of their authors, and rows that are none."""

import json
from pathlib import Path

import pytest

from agentark.config.prm_evaluation import StepBenchmark
from agentark.questions.step_benchmarks import step_examples
from agentark.records.quarantine import Quarantine

DATA = Path(__file__).parents[4] / "shared" / "data" / "step_labels" / "processbench" / "gsm8k.json"


def read(path: Path, rows: list[object], as_list: bool = False):
    text = json.dumps(rows) if as_list else "".join(json.dumps(row) + "\n" for row in rows)
    path = path.with_suffix(".json" if as_list else ".jsonl")
    path.write_text(text, encoding="utf-8")
    rejected = Quarantine("rows", 0.0, "x")
    return step_examples(StepBenchmark(source=str(path)), rejected), rejected


@pytest.mark.parametrize("as_list", [True, False])
def test_what_follows_the_first_error_has_no_label(tmp_path, as_list):
    row = {"problem": "What is 1 + 1?", "steps": ["add 1 and 1", "it is 3", "so 3"], "label": 1}
    (wrong, right), rejected = read(tmp_path / "rows", [row, row | {"steps": ["it is 2"], "label": -1}], as_list)
    wrong, right = sorted((wrong, right), key=lambda example: example.labels)[::-1]
    assert {tuple(wrong.labels), tuple(right.labels)} == {(1, 0), (1,)}
    longer = max((wrong, right), key=lambda example: len(example.labels))
    assert [longer.text[a:b] for a, b in longer.steps] == ["add 1 and 1", "it is 3"]
    assert len(rejected) == 0


def test_all_steps_of_prmbench_have_labels(tmp_path):
    row = {"modified_question": "q", "modified_process": ["a b c", "d", "e"], "error_steps": [2]}
    ((example,), _) = read(tmp_path / "rows.jsonl", [row])
    assert (example.labels, example.question) == ([1, 0, 1], "q")
    assert [example.text[a:b] for a, b in example.steps] == ["a b c", "d", "e"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"problem": "q", "steps": ["a"], "label": 1}, "neither -1 nor the number of a step"),
        ({"problem": "q", "steps": ["a", " "], "label": 0}, "no steps, or an empty one"),
        ({"problem": " ", "steps": ["a"], "label": 0}, "no question"),
        ({"problem": "q", "steps": ["a"]}, "neither `label`"),
        ({"question": "q", "modified_process": ["a"], "error_steps": "1"}, "no list in `error_steps`"),
        ([1], "no JSON object"),
    ],
)
def test_a_row_that_is_none_is_named(tmp_path, row, why):
    found, rejected = read(tmp_path / "rows.jsonl", [row])
    assert found == []
    assert why in str(rejected)
    assert "line 1" in str(rejected)


@pytest.mark.skipif(not DATA.is_file(), reason="ProcessBench's GSM8K part is not there")
def test_processbench_as_it_is_published():
    rejected = Quarantine("rows", 0.0, "x")
    found = step_examples(StepBenchmark(source=str(DATA)), rejected)
    assert (len(found), sum(0 in row.labels for row in found), len(rejected)) == (400, 207, 0)
    assert all(row.labels.count(0) <= 1 for row in found)
