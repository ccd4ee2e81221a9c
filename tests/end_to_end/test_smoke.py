"""The whole pipeline on the smallest sizes: real vLLM, a real model, real training; then nothing to do."""

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Snakemake as a user calls it, from another folder than the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
        + ["--configfile", str(ROOT / "config" / "smoke.yaml"), "--cores", "all", *arguments],
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=1500,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("smoke")
    result = snakemake(folder)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-8000:]
    return folder / "results" / "smoke", result.stdout + result.stderr


def test_every_stage_left_its_file(run: tuple[Path, str]) -> None:
    results, _ = run
    for name in (
        "models/smollm2-135m/manifest.json",
        "questions/chain_sum/test.jsonl",
        "debates/smollm2-135m/chain_sum/0.jsonl",
        "traces/smollm2-135m/chain_sum.jsonl",
        *(f"sets/smollm2-135m/chain_sum/{kind}.jsonl" for kind in ("rsft", "da", "prm", "rl")),
        "prm/smollm2-135m/chain_sum/smollm2-135m/0/manifest.json",
        *(f"students/{m}/smollm2-135m/chain_sum/smollm2-135m/0/manifest.json" for m in ("rsft", "da", "pad")),
        "evaluations/base/smollm2-135m/chain_sum.jsonl",
        "tables/summary.csv",
        "figures/accuracy.svg",
    ):
        assert (results / name).stat().st_size > 0, name


def test_every_message_of_every_round_is_kept(run: tuple[Path, str]) -> None:
    lines = (run[0] / "debates/smollm2-135m/chain_sum/0.jsonl").read_text(encoding="utf-8").splitlines()
    debates = [json.loads(line) for line in lines]
    assert len(debates) == 24
    for debate in debates:
        agents = [turn for turn in debate["turns"] if turn["agent"] >= 0]
        assert len(agents) == 3 * max(turn["round"] for turn in agents)
        assert len(debate["turns"]) == len(agents) + 1
        assert all(turn["prompt"] and turn["completion_tokens"] for turn in debate["turns"])


def test_the_table_has_every_arm_with_interval_and_cost(run: tuple[Path, str]) -> None:
    with (run[0] / "tables/summary.csv").open(encoding="utf-8") as handle:
        rows = {(row["method"], row["protocol"]): row for row in csv.DictReader(handle)}
    assert set(rows) == {
        *(("base", protocol) for protocol in ("single", "first_round_vote", "self_consistency", "debate")),
        *((method, "single") for method in ("rsft", "da", "pad")),
    }
    for (method, protocol), row in rows.items():
        assert row["n"] == ("12" if protocol == "single" else "4")
        assert 0 <= float(row["ci_low"]) <= float(row["accuracy"]) <= float(row["ci_high"]) <= 1
        assert float(row["output_tokens_per_question"]) > 0
        assert bool(row["p_value"]) == ((method, protocol) != ("base", "single"))
    assert float(rows["base", "self_consistency"]["calls_per_question"]) == 7


def test_students_are_new_weights_and_say_where_they_come_from(run: tuple[Path, str]) -> None:
    results, _ = run
    students = results / "students"
    weights = {json.loads((results / "models/smollm2-135m/manifest.json").read_text())["files"]["model.safetensors"]}
    for method in ("rsft", "da", "pad"):
        manifest = json.loads((students / method / "smollm2-135m/chain_sum/smollm2-135m/0/manifest.json").read_text())
        weights.add(manifest["files"]["model.safetensors"])
        assert manifest["parents"]
        assert manifest["code"]
        assert str(results) not in json.dumps(manifest)
    assert len(weights) == 4


def test_progress_and_the_table_reach_the_terminal(run: tuple[Path, str]) -> None:
    _, output = run
    for stage in ("model", "questions", "debates", "traces", "sets", "evaluation"):
        assert f"\n{stage} " in output, stage
    assert "tokens/s" in output
    assert "vs base" in output


def test_vllm_was_the_engine(run: tuple[Path, str]) -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed; the run above used transformers")
    assert "engine: vllm" in run[1]


def test_a_second_run_does_nothing_and_the_report_is_made(run: tuple[Path, str]) -> None:
    folder = run[0].parents[1]
    again = snakemake(folder)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr
    report = snakemake(folder, "--report", "report.html")
    assert report.returncode == 0, report.stderr
    assert "accuracy.svg" in (folder / "report.html").read_text(encoding="utf-8")
