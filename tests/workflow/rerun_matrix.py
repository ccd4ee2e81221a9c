"""What reruns when: changes to a finished run, and the exact jobs that a dry-run then plans.

The README's table is made from this list:  python -m tests.workflow.rerun_matrix
"""

import functools
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.workflow.finished_run import ROOT, Checkout

README = ROOT / "README.md"
BEGIN, END = "<!-- made from tests/workflow/rerun_matrix.py -->\n", "<!-- end -->\n"

Jobs = dict[str, int]
TABLES = {"summarise": 1, "summarise_cost": 1, "summarise_reasoning": 1, "plot_accuracy": 1}
SETTINGS = {"freeze_settings": 1}
PAD = {"train_grpo": 1, "evaluate_student": 1, "summarise_pad": 1}
SCORED = {"score_steps": 1, "summarise_prm": 1}
PRM = {"train_prm": 1, **SCORED}
RATES = {"measure_pass_rates": 1}
SFT = {"train_sft": 1, "evaluate_student": 1, "summarise_sft": 1}
STUDENTS = {**SFT, "train_sft": 2, **PRM, **RATES, **PAD, "evaluate_student": 3}
SETS = {"build_set": 4, "summarise_sets": 1, **STUDENTS}
TRACES = {"extract_traces": 1, "summarise_debates": 1, **SETS}
DEBATES = {"hold_debates": 1, "evaluate_base": 1, "score_untrained": 1, **TRACES}
HELD = {"hold_debates": 1, **TRACES}
QUESTIONS = {"make_questions": 1, "find_overlap": 1, **DEBATES}
ONE_SET = {"build_set": 1, "summarise_sets": 1}
SCORES = {"evaluate_base": 1, "score_untrained": 1, "evaluate_student": 3, "summarise_debates": 1, **SCORED}


@dataclass(frozen=True)
class Change:
    """A change as a user would make it."""

    what: str
    make: Callable[[Checkout], None]
    jobs: Jobs
    arguments: tuple[str, ...] = field(default=())
    """For Snakemake."""


def setting(key: str, value: object, jobs: Jobs, what: str | None = None) -> Change:
    def make(checkout: Checkout) -> None:
        path = checkout.folder / "config" / "demo.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        *sections, leaf = key.split(".")
        place = functools.reduce(lambda into, name: into.setdefault(name, {}), sections, content)
        assert place.get(leaf) != value, f"{key} is {value} already, so nothing would change"
        place[leaf] = value
        path.write_text(yaml.safe_dump(content), encoding="utf-8")

    return Change(what or f"`{key}`", make, jobs)


def edit(what: str, file: str, old: str, new: str, jobs: Jobs) -> Change:
    return Change(what, lambda checkout: checkout.replace(file, old, new), jobs)


def touch(checkout: Checkout) -> None:
    for path in [*(checkout.folder / "scripts").rglob("*.py"), *(checkout.folder / "results").rglob("*.json*")]:
        path.touch()


def move(checkout: Checkout) -> None:
    moved = checkout.folder.with_name("elsewhere")
    checkout.folder.rename(moved)
    checkout.folder = moved


def scramble(results: Path) -> None:
    """Times as `cp -r` leaves them: new ones, in the order of the copying."""
    files = sorted(path for path in results.rglob("*") if path.is_file())
    random.Random(0).shuffle(files)
    for age, path in enumerate(files):
        os.utime(path, (time.time() - age,) * 2)


def as_it_was_left(checkout: Checkout, folder: Path) -> Checkout:
    copy = object.__new__(Checkout)
    copy.folder = folder / "copy"
    shutil.copytree(checkout.folder, copy.folder, symlinks=True)
    return copy


def without_snakemakes_folder(checkout: Checkout, folder: Path) -> Checkout:
    copy = as_it_was_left(checkout, folder)
    shutil.rmtree(copy.folder / ".snakemake")
    return copy


def copied_into_a_fresh_clone(checkout: Checkout, folder: Path) -> Checkout:
    fresh = Checkout(folder / "fresh")
    shutil.copytree(checkout.folder / "results", fresh.folder / "results")
    scramble(fresh.folder / "results")
    return fresh


def shared_with_a_colleague(checkout: Checkout, folder: Path) -> Checkout:
    """Whose clone has a link to the results instead of a folder."""
    shutil.copytree(checkout.folder / "results", folder / "shared")
    colleague = Checkout(folder / "colleague")
    (colleague.folder / "results").symlink_to(folder / "shared")
    return colleague


WORST = copied_into_a_fresh_clone
"""It has neither Snakemake's folder nor times in order: a change that is exact here is so by the records and contents
alone, and every other state has the same ones."""
OTHERS = [as_it_was_left, without_snakemakes_folder, shared_with_a_colleague]
"""States of a finished run in which a sample of the changes shows that Snakemake finds the records."""


def clone(checkout: Checkout) -> None:
    checkout.folder = copied_into_a_fresh_clone(checkout, checkout.folder.with_name("another")).folder


def lose(name: str) -> Callable[[Checkout], None]:
    return lambda checkout: (checkout.folder / "results" / "demo" / name).unlink()


MODULES = "scripts/agentark"
PROTOCOLS = f"{MODULES}/debates/protocols"
CHANGES = [
    setting("grpo.learning_rate", 2.0e-6, SETTINGS | PAD | TABLES),
    setting("grpo.temperature", 0.9, {"freeze_settings": 2} | RATES | PAD | TABLES),
    setting("prm.tau", 0.2, SETTINGS | PRM | PAD | TABLES),
    setting("prm_evaluation.labels", "outcome", SETTINGS | {"score_untrained": 1} | SCORED),
    setting("sft.answer_weight", 2.0, SETTINGS | STUDENTS | dict.fromkeys(PRM, 0) | TABLES),
    setting("sets.da_traces", 2, SETTINGS | ONE_SET | SFT | TABLES),
    setting("sets.da_selection", "random", SETTINGS | ONE_SET | SFT | TABLES),
    setting("sets.prm_traces", 6, SETTINGS | ONE_SET | PRM | PAD | TABLES),
    setting("sets.share", 0.5, {"freeze_settings": 4} | SETS | TABLES),
    setting("sets.trajectories", 2, {"freeze_settings": 3} | SETS | {"build_set": 3} | TABLES),
    setting("sets.contamination", "report", SETTINGS | {"find_overlap": 1} | SETS | TABLES),
    setting("traces.rejected_share", 0.02, SETTINGS | TRACES | TABLES),
    setting("debates.options.agents", 4, SETTINGS | DEBATES | TABLES),
    setting("debates.temperature", 0.8, SETTINGS | DEBATES | TABLES),
    setting("evaluation.max_tokens", 32, SETTINGS | SCORES | TABLES),
    setting("evaluation.split", "validation", SETTINGS | SCORES | TABLES),
    setting("datasets.chain_sum.train", 400, SETTINGS | QUESTIONS | TABLES, "`datasets.NAME.train`"),
    setting("models.smollm2-135m.revision", "v2", SETTINGS | {"prepare_model": 1} | DEBATES | TABLES, "`models.NAME`"),
    setting("engine.seed", 1, SETTINGS | SCORES | DEBATES | TABLES),
    setting("seeds", [0, 1], SETTINGS | STUDENTS | TABLES, "one more seed (its students only)"),
    setting("seeds", [1], SETTINGS | STUDENTS | TABLES, "another seed"),
    setting("methods", ["rsft", "da"], SETTINGS | {"summarise_sets": 1} | TABLES, "a method less"),
    setting(
        "methods",
        ["rsft", "rejection"],
        {"freeze_settings": 2} | ONE_SET | SFT | TABLES,
        "another method (its set and students only)",
    ),
    setting("hardware.gpus_per_node", 4, {}),
    setting("tensorboard", True, {}),
    edit(
        "the code of a stage",
        f"{MODULES}/stages/grpo.py",
        "def main(",
        "CHANGED = 1\n\n\ndef main(",
        PAD | TABLES,
    ),
    edit(
        "a function that one stage uses",
        f"{MODULES}/training/grpo.py",
        "def fit(",
        "CHANGED = 1\n\n\ndef fit(",
        PAD | TABLES,
    ),
    edit(
        "a function that two stages use",
        f"{MODULES}/training/rewards.py",
        "def aggregate(",
        "CHANGED = 1\n\n\ndef aggregate(",
        SCORED | PAD | TABLES,
    ),
    edit(
        "the protocol in use, also your own",
        f"{PROTOCOLS}/debate.py",
        "number < rounds",
        "number <= rounds",
        DEBATES | TABLES,
    ),
    edit(
        "a baseline's protocol",
        f"{PROTOCOLS}/self_consistency.py",
        "range(samples)",
        "range(samples + 0)",
        {"evaluate_base": 1, "score_untrained": 1, "summarise_debates": 1} | SCORED | TABLES,
    ),
    edit("another protocol", f"{PROTOCOLS}/dylan.py", "number == rank_after + 1", "number == rank_after", {}),
    edit("a docstring", f"{MODULES}/training/grpo.py", '"""', '"""Another first line. ', {}),
    edit("a comment, formatting", f"{MODULES}/training/grpo.py", "\n\n\ndef fit(", "\n\n\n# Why.\n\n\ndef fit(", {}),
    edit("a size in a figure", f"{MODULES}/stages/plot_accuracy.py", "capsize=3", "capsize=4", {"plot_accuracy": 1}),
    edit("a profile's partition", "profiles/slurm/partitions.yaml", "cpu:", "long:", {}),
    Change("fewer or more cores", lambda _: None, {}, ("--cores", "7")),
    Change("all files touched", touch, {}),
    Change("the checkout moved", move, {}),
    Change("results copied into a fresh clone", clone, {}),
    Change("a lost file that is an intermediate result", lose("debates/smollm2-135m/chain_sum/0.jsonl.zst"), {}),
    Change("a lost table", lose("tables/summary.csv"), {"summarise": 1, "plot_accuracy": 1}),
]

SAMPLE = [
    change
    for change in CHANGES
    if change.what in ("`grpo.learning_rate`", "a function that one stage uses", "all files touched", "a lost table")
]
"""A setting, code, times, files: one of each kind of change."""

ORDER = (
    "prepare_model make_questions change_questions find_overlap hold_debates extract_traces build_set train_sft "
    "train_prm measure_pass_rates train_grpo evaluate_base score_untrained score_steps evaluate_student summarise "
    "summarise_debates summarise_sets summarise_sft summarise_prm summarise_pad summarise_cost summarise_reasoning "
    "summarise_robustness plot_accuracy"
).split()
TOGETHER = {
    "`hold_debates` and all that follows": HELD | TABLES,
    "`extract_traces` and all that follows": TRACES | TABLES,
    "`build_set` and all that follows": SETS | TABLES,
    "students, their evaluations, tables": STUDENTS | TABLES,
    "tables": TABLES,
}


def in_words(jobs: Jobs) -> str:
    names = [name for name in ORDER if jobs.get(name)]
    last = next((words for words, rules in TOGETHER.items() if set(rules) <= set(names)), None)
    if last:
        names = [name for name in names if name not in TOGETHER[last]]
        # Tables of other kinds are tables.
        names = [name for name in names if not name.startswith("summarise")]
    return ", ".join([f"`{name}`" for name in names] + ([last] if last else [])) or "nothing"


def table() -> str:
    """The README's: a line for each set of jobs, the changes that cause it side by side."""
    by_jobs: dict[str, list[str]] = {}
    for change in CHANGES:
        by_jobs.setdefault(in_words(change.jobs), []).append(change.what)
    lines = ["| change | what runs again |", "|---|---|"]
    lines += [f"| {', '.join(changes)} | {jobs} |" for jobs, changes in by_jobs.items()]
    return "\n".join(lines) + "\n"


def main(path: Path = README) -> None:
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    path.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
