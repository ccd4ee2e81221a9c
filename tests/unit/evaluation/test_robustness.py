"""What arms lose on changed questions, paired with the questions as they were."""

from pathlib import Path

import pandas as pd
import pytest
from msgspec.structs import replace

from agentark.evaluation.over_seeds import paired_over_seeds
from agentark.evaluation.robustness import COLUMNS
from agentark.evaluation.statistics import paired
from agentark.stages import summarise_robustness
from tests.unit.evaluation.answers import TABLES, TRAINED, answers, arms_of

CLEAN = {0: [True, True, True, True, False], 1: [True, True, True, False, False]}
CHANGED = {0: [True, False, True, False], 1: [True, False, False, True]}
"""Of questions 1 to 4 and of none of 0, in another order."""


def test_answers_are_paired_with_those_to_the_question_that_each_was_made_from(tmp_path: Path) -> None:
    rows = [*answers(CLEAN[0]), *answers([True], benchmark="other")]
    for seed in (0, 1):
        rows += answers(CLEAN[seed], seed=seed, **TRAINED)
    for who in ({}, {"seed": 0, **TRAINED}, {"seed": 1, **TRAINED}):
        for place, row in enumerate(answers(CHANGED[who.get("seed", 0)], benchmark="renamed", **who)):
            rows.append(replace(row, question_id=f"changed {4 - place}", origin_id=str(4 - place)))
    arms_of(tmp_path, rows)
    settings = TABLES.model_copy(update={"evaluations": ["rows.jsonl"], "perturbed": {"renamed": "b"}})
    (tmp_path / "tables.json").write_text(settings.model_dump_json())
    arguments = f"--config {tmp_path}/tables.json --run {tmp_path} --out {tmp_path}/robustness.csv"
    assert summarise_robustness.main(arguments.split()) == 0
    found = pd.read_csv(tmp_path / "robustness.csv")
    assert found.columns.tolist() == list(COLUMNS)
    assert found[["benchmark", "clean_benchmark", "method", "n_seeds", "n"]].values.tolist() == [
        ["renamed", "b", "base", 1, 4],
        ["renamed", "b", "rsft", 2, 4],
    ]
    base, student = (line for _, line in found.iterrows())
    expected = paired(CHANGED[0][::-1], CLEAN[0][1:])
    assert (base["clean_score"], base["score"]) == (0.75, 0.5)
    assert base["p_value"] == pytest.approx(expected.p_value, rel=1e-5)
    over = paired_over_seeds(pd.DataFrame(CHANGED).to_numpy()[::-1].copy(), pd.DataFrame(CLEAN).to_numpy()[1:].copy())
    assert student["difference_points"] == pytest.approx(100 * over.difference, abs=1e-3)
    assert (student["ci_low"], student["ci_high"]) == pytest.approx((100 * over.low, 100 * over.high), rel=1e-4)
    assert found["p_holm"].notna().all()
