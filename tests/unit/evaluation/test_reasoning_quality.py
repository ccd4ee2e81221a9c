"""The table of how models reason."""

from math import e, exp, log
from pathlib import Path

import pandas as pd
import pytest
from statsmodels.formula.api import wls

from agentark.evaluation.arms import read_arms
from agentark.evaluation.reasoning_quality import COLUMNS, reasoning_table
from agentark.records.evaluations import PerplexityRow
from agentark.records.files import write_rows
from agentark.stages import summarise_reasoning
from tests.unit.evaluation.answers import TABLES, TRAINED, arms_of, row

OUTPUTS = [
    ["2 + 2 = 4\n4 + 1 = 6", "Let me check: 1 + 1 = 2", "No equation."],
    ["2 + 2 = 5. Wait, 2 + 2 = 4.", "1 + 1 = 2", "3 * 3 = 9. So 9."],
]


def solved(model_nats: list[float], **more: object) -> list[PerplexityRow]:
    """Solutions of 2, 4 and 6 tokens and as many bytes."""
    who = {"model": "m", "recipe": None, "variant": "main", "teacher": None, "train_set": None, "seed": 0} | more
    sizes = (2, 4, 6)
    return [
        PerplexityRow(
            **who, protocol="single", benchmark="b", question_id=str(i), group=None, nats=nats, tokens=size, bytes=size
        )
        for i, (nats, size) in enumerate(zip(model_nats, sizes, strict=True))
    ]


def table(folder: Path) -> pd.DataFrame:
    rows = [row(i, True, output="2 + 2 = 5", protocol=how) for i in range(2) for how in ("single", "debate")]
    for seed, outputs in enumerate(OUTPUTS):
        rows += [row(i, True, output=text, seed=seed, **TRAINED) for i, text in enumerate(outputs)]
    arms_of(folder, rows)
    write_rows(folder / "nats.jsonl", [*solved([2.0, 4.0, 6.0]), *solved([1.0, 3.0, 3.0], **TRAINED)])
    settings = TABLES.model_copy(update={"evaluations": ["rows.jsonl"], "perplexities": ["nats.jsonl"]})
    (folder / "tables.json").write_text(settings.model_dump_json())
    arguments = f"--config {folder}/tables.json --run {folder} --out {folder}/reasoning.csv"
    assert summarise_reasoning.main(arguments.split()) == 0
    return pd.read_csv(folder / "reasoning.csv")


def test_what_answers_do_is_counted_over_seeds(tmp_path: Path) -> None:
    found = table(tmp_path)
    assert found.columns.tolist() == list(COLUMNS)
    assert found["method"].tolist() == ["base", "rsft"]  # debates are no answers of one model
    line = found.iloc[1]
    assert (line["n_seeds"], line["n"]) == (2, 6)
    assert line["equations_per_answer"] == pytest.approx(7 / 6, rel=1e-5)
    assert line["right_equations_share"] == pytest.approx(5 / 7, rel=1e-5)
    shares = [line[f"{what}_share"] for what in ("checks", "finds_error", "mends_error")]
    assert shares == pytest.approx([1 / 6, 1 / 6, 1 / 6], rel=1e-5)


def test_the_interval_is_that_of_questions_not_of_equations(tmp_path: Path) -> None:
    line = table(tmp_path).iloc[1]
    # Equations as rows, right or not, clustered by question, by another library.
    equations = pd.DataFrame({"right": [1, 0, 0, 1, 1, 1, 1], "question": [0, 0, 0, 0, 1, 1, 2], "w": 1.0})
    fit = wls("right ~ 1", equations, weights=equations["w"]).fit(
        cov_type="cluster", cov_kwds={"groups": equations["question"]}, use_t=True
    )
    low, high = fit.conf_int().loc["Intercept"]
    assert line["right_equations_low"] == pytest.approx(max(0, low), rel=1e-5)
    assert line["right_equations_high"] == pytest.approx(min(1, high), rel=1e-5)


def test_how_likely_worked_solutions_are(tmp_path: Path) -> None:
    base, student = (line for _, line in table(tmp_path).iterrows())
    assert base["solutions"] == 3
    assert (base["perplexity"], base["perplexity_of_tokens"]) == pytest.approx((e, e), rel=1e-5)
    assert base["bits_per_byte"] == pytest.approx(1 / log(2), rel=1e-5)
    assert pd.isna(base["bits_per_byte_vs_base"])
    assert student["perplexity"] == pytest.approx((2 * exp(0.5) + exp(0.75)) / 3, rel=1e-5)
    assert student["perplexity_of_tokens"] == pytest.approx(exp(7 / 12), rel=1e-5)
    assert student["bits_per_byte_vs_base"] == pytest.approx((7 - 12) / 12 / log(2), rel=1e-5)
    # The same ratio by another library: differences a byte, weighted by bytes, clustered by question.
    questions = pd.DataFrame({"d": [-0.5, -0.25, -0.5], "bytes": [2, 4, 6], "q": [0, 1, 2]})
    fit = wls("d ~ 1", questions, weights=questions["bytes"]).fit(
        cov_type="cluster", cov_kwds={"groups": questions["q"]}, use_t=True
    )
    found = [student[f"bits_per_byte_vs_base_{end}"] * log(2) for end in ("low", "high")]
    assert found == pytest.approx(fit.conf_int().loc["Intercept"].tolist(), rel=1e-4)


def test_a_variant_that_answers_otherwise_has_the_perplexities_of_what_it_builds_on(tmp_path: Path) -> None:
    rows = [row(i, True, variant=variant) for i in range(3) for variant in ("main", "long")]
    arms_of(tmp_path, rows)
    write_rows(tmp_path / "nats.jsonl", solved([2.0, 4.0, 6.0]))
    arms = read_arms([tmp_path / "rows.jsonl"], TABLES)
    found = reasoning_table(arms, [tmp_path / "rows.jsonl"], [tmp_path / "nats.jsonl"], TABLES)
    assert found[["variant", "solutions"]].values.tolist() == [["main", 3], ["long", 3]]
