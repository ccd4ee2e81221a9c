"""The DAG as a user meets it: what runs, what runs again after a change, and what bad input says."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.workflow import rerun_matrix
from tests.workflow.finished_run import ROOT, Checkout

WHOLE_DEMO = {
    "freeze_settings": 18,
    "prepare_model": 1,
    "make_questions": 1,
    "hold_debates": 1,
    "extract_traces": 1,
    "find_overlap": 1,
    "build_set": 4,
    "train_sft": 2,
    "train_prm": 1,
    "train_grpo": 1,
    "measure_pass_rates": 1,
    "evaluate_base": 1,
    "evaluate_student": 3,
    "score_untrained": 1,
    "score_steps": 1,
    "summarise": 1,
    "summarise_debates": 1,
    "summarise_sets": 1,
    "summarise_sft": 1,
    "summarise_prm": 1,
    "summarise_pad": 1,
    "summarise_cost": 1,
    "summarise_reasoning": 1,
    "plot_accuracy": 1,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout(tmp_path_factory.mktemp("finished"))
    assert checkout.would_run() == WHOLE_DEMO
    result = checkout.snakemake("--cores", "2")
    assert result.returncode == 0, result.stderr
    return checkout


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder for copies of the finished run, which are many."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture
def copy(finished: Checkout, place: Path) -> Checkout:
    """The finished run at another place, with the same files and metadata, free to be changed."""
    return rerun_matrix.as_it_was_left(finished, place)


def test_after_a_run_nothing_is_to_be_done_also_elsewhere(finished: Checkout, copy: Checkout) -> None:
    assert finished.would_run() == {}
    assert copy.would_run() == {}


def test_what_a_run_writes_is_not_for_everybody(finished: Checkout) -> None:
    for path in [finished.folder / "results", *(finished.folder / "results").rglob("*")]:
        assert not path.stat().st_mode & 0o007, path


def test_jobs_run_the_library_of_their_own_checkout_whatever_is_installed(copy: Checkout) -> None:
    (copy.folder / "bin" / "python").unlink()
    copy.replace(
        "scripts/agentark/stages/questions.py", "def work(args", "print('of this checkout')\n\n\ndef work(args"
    )
    result = copy.snakemake("questions", "--cores", "1", PYTHONPATH="")
    assert result.returncode == 0, result.stderr
    assert "of this checkout" in (copy.folder / "results/demo/logs/make_questions/chain_sum.log").read_text()


def test_trainings_are_told_that_tensorboard_is_wanted(copy: Checkout) -> None:
    student = "results/demo/students/rsft/smollm2-135m/chain_sum/smollm2-135m/0/manifest.json"
    told = []
    for wanted in (True, False):
        result = copy.snakemake(student, "--cores", "1", "--forcerun", "train_sft", "--config", f"tensorboard={wanted}")
        assert result.returncode == 0, result.stderr
        told.append(json.loads((copy.folder / student).read_text())["tensorboard"])
    assert told == ["1", None]


def test_stage_targets(copy: Checkout) -> None:
    shutil.rmtree(copy.folder / "results")
    counts = {target: copy.would_run(target) for target in ("debates", "traces", "sets", "prm", "scores", "students")}
    assert "extract_traces" not in counts["debates"]
    assert counts["debates"]["hold_debates"] == 1
    assert "build_set" not in counts["traces"]
    assert counts["sets"]["build_set"] == 4
    assert counts["prm"]["train_prm"] == 1
    assert "train_sft" not in counts["prm"]
    assert (counts["scores"]["train_prm"], counts["scores"]["score_steps"]) == (1, 1)
    assert not {"train_sft", "train_grpo"} & counts["scores"].keys()
    assert "evaluate_student" not in counts["students"]
    assert "summarise" not in copy.would_run("evaluations")


@pytest.mark.parametrize(
    ("state", "change"),
    [(rerun_matrix.WORST, change) for change in rerun_matrix.CHANGES]
    + [(state, change) for state in rerun_matrix.OTHERS for change in rerun_matrix.SAMPLE],
    ids=lambda value: getattr(value, "what", None) or value.__name__,
)
def test_a_change_reruns_what_depends_on_it_and_nothing_else(
    finished: Checkout, place: Path, state: Callable[[Checkout, Path], Checkout], change: rerun_matrix.Change
) -> None:
    checkout = state(finished, place)
    change.make(checkout)
    assert checkout.would_run(*change.arguments) == {rule: n for rule, n in change.jobs.items() if n}


def test_large_files_copied_in_any_order_rerun_nothing(finished: Checkout, place: Path) -> None:
    checkout = rerun_matrix.WORST(finished, place)
    results = checkout.folder / "results" / "demo"
    large = [path for end in ("jsonl", "jsonl.zst", "parquet") for path in results.rglob(f"*.{end}")]
    assert results / "debates/smollm2-135m/chain_sum/0.jsonl.zst" in large
    for path in large:
        path.write_bytes(bytes(1_100_000))
    rerun_matrix.scramble(results)
    assert checkout.would_run() == {}


def test_files_without_records_are_refused_until_somebody_vouches_for_them(finished: Checkout, place: Path) -> None:
    checkout = rerun_matrix.WORST(finished, place)
    shutil.rmtree(checkout.folder / "results" / ".snakemake")
    for arguments in (["-n"], ["--cores", "1"]):
        result = checkout.snakemake(*arguments)
        assert result.returncode != 0
        said = result.stdout + result.stderr
        assert "results/demo: nothing says what settings and code" in said
        assert "copy results/.snakemake along" in said
        assert "Traceback" not in said
    adopted = subprocess.run(
        [sys.executable, "-m", "agentark.cli", "adopt", "results/demo"],
        cwd=checkout.folder,
        env=os.environ | {"PYTHONPATH": str(checkout.folder / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "`snakemake --touch` accepts" in adopted.stdout
    assert checkout.would_run() == WHOLE_DEMO
    assert checkout.snakemake("--touch").returncode == 0
    assert checkout.would_run() == {}
    change = rerun_matrix.SAMPLE[0]
    change.make(checkout)
    assert checkout.would_run() == {rule: n for rule, n in change.jobs.items() if n}


def test_a_dry_run_needs_results_to_be_readable_only(finished: Checkout, place: Path) -> None:
    checkout = rerun_matrix.shared_with_a_colleague(finished, place)
    shared = place / "shared"

    def seen() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in [shared, *shared.rglob("*")]}

    before = seen()
    assert checkout.would_run() == {}
    assert seen() == before


def test_a_damaged_file_is_made_again_and_nothing_else(copy: Checkout) -> None:
    """As `agentark verify` says to do; made anew it is what it was, and what was made from it then still stands."""
    shard = "results/demo/traces/smollm2-135m/chain_sum/0"
    (copy.folder / f"{shard}.counts.json").write_text("")
    (copy.folder / f"{shard}.jsonl.zst").write_text("")
    # Manifests tell what was made of what, so nothing is made of the damaged file in silence.
    assert copy.would_run() == {}
    assert copy.would_run("--force", f"{shard}.manifest.json") == {"extract_traces": 1}
    assert copy.snakemake("--force", f"{shard}.manifest.json", "--cores", "2").returncode == 0
    assert copy.would_run() == {}


def test_reward_models_are_measured_on_step_benchmarks_and_in_shards(copy: Checkout) -> None:
    judged = copy.folder / "judged.jsonl"
    judged.write_text("{}\n")
    path = copy.folder / "config" / "demo.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(content | {"prm_evaluation": {"benchmarks": {"judged": {"source": judged.name}}}}))
    again = {"make_step_benchmark": 1, "score_untrained": 1, "score_steps": 1, "summarise_prm": 1}
    assert copy.would_run("scores") == {"freeze_settings": 1, "scores": 1, **again}
    assert copy.snakemake("scores", "--cores", "2").returncode == 0
    assert copy.would_run() == {}
    judged.write_text("{} \n")
    assert copy.would_run() == again
    content["prm_evaluation"] = {"shards": 3}
    path.write_text(yaml.safe_dump(content))
    # The first shard has other inputs now, and is another part of the questions.
    assert copy.would_run() == {"score_untrained": 3, "score_steps": 3, "summarise_prm": 1}


def test_the_readme_says_what_reruns(tmp_path: Path) -> None:
    """If this fails: python -m tests.workflow.rerun_matrix"""
    text = rerun_matrix.README.read_text(encoding="utf-8")
    copy = tmp_path / "README.md"
    copy.write_text(text, encoding="utf-8")
    rerun_matrix.main(copy)
    assert copy.read_text(encoding="utf-8") == text


def test_a_team_with_a_protocol_of_the_users_own(copy: Checkout) -> None:
    relay = "async def relay(question, ask, *, agents: int = 2):\n    return (await ask(agent=0, round=1)).answer\n"
    (copy.folder / "relay.py").write_text(relay)
    path = copy.folder / "config" / "demo.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["models"]["far"] = {"server": {"url": "http://localhost:1/v1", "model": "x"}}
    content["teams"] = {"mixed": [{"model": "smollm2-135m"}, {"model": "far", "temperature": 0.1}]}
    content |= {"teachers": ["mixed"], "methods": ["rsft"]}
    content["debates"] = {"protocol": "relay.py:relay", "options": {"agents": 3}}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    counts = copy.would_run()
    assert (counts["hold_debates"], counts["evaluate_base"], counts["prepare_model"]) == (1, 2, 1)
    result = copy.snakemake("--cores", "2")
    assert result.returncode == 0, result.stderr
    assert copy.would_run() == {}
    (copy.folder / "relay.py").write_text(relay.replace("round=1", "round=2"))
    after = {"hold_debates": 1, "extract_traces": 1, "build_set": 1, "train_sft": 1, "evaluate_student": 1}
    after |= dict.fromkeys(("evaluate_base", "summarise_debates", "summarise_sets", "summarise_sft"), 1)
    after |= rerun_matrix.TABLES
    assert copy.would_run() == after
    content["debates"]["options"] = {"agent": 3}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    result = copy.snakemake("-n")
    assert result.returncode != 0
    assert "debates.options: agent: unknown key; did you mean `agents`?" in result.stdout + result.stderr


def test_models_are_asked_only_where_the_config_says_so(copy: Checkout) -> None:
    path = copy.folder / "config" / "demo.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["traces"] = {"verifier": "smollm2-135m"}
    content["sets"] |= {"da_selection": "judge", "judge": "smollm2-135m"}
    content["sets"] |= {"prm_labels": {"consensus": 2, "rollouts": 1, "judge": 1}, "rollout_model": "smollm2-135m"}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    counts = copy.would_run()
    asked = {name: counts[name] for name in ("verify_answers", "judge_traces", "label_steps", "measure_pass_rates")}
    assert asked == {"verify_answers": 1, "judge_traces": 1, "label_steps": 2, "measure_pass_rates": 1}
    assert (counts["extract_traces"], counts["summarise_verification"]) == (1, 1)
    assert "hold_debates" not in counts
    content["grpo"] |= {"pass_rates_of": "debate"}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert "measure_pass_rates" not in copy.would_run()
    content["sets"]["judge"] = None
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    result = copy.snakemake("-n")
    assert "sets.da_selection is `judge`: give `sets.judge`" in result.stdout + result.stderr


def test_imported_logs_need_no_generation(copy: Checkout, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.json").write_text("[]")
    given = ["--configfile", "config/imported.yaml", "--config", f"debates={{logs: {logs}}}"]
    counts = copy.would_run(*given)
    assert "hold_debates" not in counts
    assert (counts["import_debates"], counts["evaluate_imported_debates"], counts["evaluate_student"]) == (1, 1, 3)


def test_changed_questions_are_asked_and_compared(copy: Checkout) -> None:
    study = {
        "datasets": {"noisy": {"of": "chain_sum", "perturb": "irrelevant"}},
        "benchmarks": ["chain_sum", "noisy"],
    }
    (copy.folder / "noisy.json").write_text(json.dumps(study))
    counts = copy.would_run("--configfile", "config/demo.yaml", "noisy.json")
    new = {"change_questions": 1, "evaluate_base": 1, "evaluate_student": 3, "summarise_robustness": 1}
    assert {rule: counts[rule] for rule in new} == new
    assert not {"make_questions", "find_overlap", "hold_debates", "train_sft"} & counts.keys()


def test_tasks_of_the_harness_are_asked_of_every_student(copy: Checkout) -> None:
    (copy.folder / "tasks.json").write_text(json.dumps({"lm_eval": {"tasks": ["truthfulqa_mc2", "arc_easy"]}}))
    given = ["--configfile", "config/demo.yaml", "tasks.json"]
    counts = copy.would_run(*given)
    tables = {"summarise": 1, "summarise_cost": 1, "summarise_reasoning": 1, "plot_accuracy": 1}
    new = {"evaluate_by_lm_eval": 1, "evaluate_student_by_lm_eval": 3, "freeze_settings": 2}
    assert {rule: n for rule, n in counts.items() if rule != "all"} == tables | new


def test_perplexity_is_measured_where_it_is_asked_for(copy: Checkout) -> None:
    solved = {"datasets": {"chain_sum": {"reasoning": "answer"}}, "evaluation": {"perplexity_questions": 5}}
    (copy.folder / "solved.json").write_text(json.dumps(solved))
    counts = copy.would_run("--configfile", "config/demo.yaml", "solved.json")
    assert (counts["measure_perplexity"], counts["measure_perplexity_of_student"]) == (1, 3)
    (copy.folder / "solved.json").write_text(json.dumps(solved | {"evaluation": {}}))
    assert "measure_perplexity" not in copy.would_run("--configfile", "config/demo.yaml", "solved.json")


def test_a_teacher_with_logs_stands_beside_one_that_debates(copy: Checkout, tmp_path: Path) -> None:
    for name in ("gpt", "mistral"):
        (tmp_path / f"{name}.json").write_text("[]")
    logs = f"{{gpt-3.5: {tmp_path}/gpt.json, mistral: {tmp_path}/mistral.json}}"
    teachers = ["gpt-3.5", "smollm2-135m"]
    experiment = {"others": {"variants": ["mixture", "agents"], "teachers": teachers, "methods": ["rsft"]}}
    study = {
        "teachers": ["gpt-3.5", "mistral", "smollm2-135m"],
        "methods": ["rsft"],
        "variants": {
            "mixture": {"sft": {"other_teachers": ["smollm2-135m"]}},
            "agents": {"debates": {"options": {"agents": 2}}},
        },
        "experiments": experiment,
    }
    (copy.folder / "study.json").write_text(json.dumps(study))
    given = ["--configfile", "config/imported.yaml", "study.json", "--config", f"debates={{logs: {logs}}}"]
    counts = copy.would_run(*given)
    # SmolLM2's own student is no mixture, and logs have as many agents as they have: both are the run's.
    expected = {"hold_debates": 2, "import_debates": 2, "evaluate_imported_debates": 2, "build_set": 4, "train_sft": 5}
    assert {rule: counts[rule] for rule in expected} == expected
    student = "results/imported/variants/mixture/students/rsft/gpt-3.5/logged/smollm2-135m/0/manifest.json"
    assert copy.would_run(student, *given)["build_set"] == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--configfile", "config/imported.yaml"],
            "debates.logs is the path of a JSON or JSONL file, or of a folder of them",
        ),
        (["--config", "sft={epoch: 1}", "run=x"], "unknown key; did you mean `epochs`?"),
    ],
)
def test_a_bad_config_is_one_clear_message(copy: Checkout, arguments: list[str], expected: str) -> None:
    result = copy.snakemake("-n", *arguments)
    assert result.returncode != 0
    assert expected in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_a_bad_config_names_its_file(copy: Checkout) -> None:
    copy.replace("config/demo.yaml", "epochs: 2", "epoch: 2")
    result = copy.snakemake("-n")
    assert result.returncode != 0
    assert "demo.yaml: the configuration has errors" in result.stdout + result.stderr


def test_rulegraph_and_catalogue_entry(copy: Checkout) -> None:
    graph = copy.snakemake("--rulegraph")
    assert graph.stdout.startswith("digraph"), graph.stdout[:200] + graph.stderr
    assert "train_grpo" in graph.stdout
    shutil.rmtree(copy.folder / "results")
    assert copy.would_run("-s", "workflow/Snakefile") == {**WHOLE_DEMO, "everything": 1}


def test_every_rule_says_where_it_logs_and_what_it_needs(finished: Checkout) -> None:
    """Targets apart, each rule has a docstring, a log, a benchmark, memory, run time and a code digest."""
    targets = {
        "all",
        "models",
        "questions",
        "debates",
        "traces",
        "sets",
        "prm",
        "scores",
        "students",
        "evaluations",
    }
    seen = set()
    for file in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        text = file.read_text(encoding="utf-8")
        assert text.startswith('"""'), file.name
        for block in text.split("\nrule ")[1:] + text.split("\n    rule ")[1:]:
            name = block.partition(":")[0]
            seen.add(name)
            assert '"""' in block.split("\n")[1], name
            if name not in targets:
                for directive in ("log:", "benchmark:", "threads:"):
                    assert directive in block, f"{name} has no {directive}"
                assert "**needs(" in block or ("mem_mb=" in block and "runtime=" in block), name
                assert (
                    re.search(r"code=(by_variant\()?(lambda \w+: )?(code_digest|debate_code|evaluation_code)", block)
                    or name == "freeze_settings"
                ), name
    assert set(WHOLE_DEMO) | {"import_debates", "evaluate_imported_debates"} <= seen


def test_the_snakefile_is_short() -> None:
    assert len((ROOT / "Snakefile").read_text(encoding="utf-8").splitlines()) <= 60
