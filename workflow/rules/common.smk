"""What all rules share: the validated config, and the paths that it implies."""

import json
import os
import re
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import get_args

# A checkout's rules go with its own library, here and in every job, whatever else is installed; a job's own environment
# (conda, container) has none, and conda's would lose a variable that is set out here.
LIBRARY = workflow.current_basedir.join("../../scripts")
LIBRARY = str(Path(LIBRARY.get_path_or_uri(secret_free=True)).resolve())
if Path(LIBRARY).is_dir():
    sys.path.insert(0, LIBRARY)
    shell.prefix(
        f"set -euo pipefail; export PYTHONPATH={shlex.quote(LIBRARY)}"
        "${{PYTHONPATH:+:$PYTHONPATH}}; "
    )

# What a run keeps (debates, licensed questions) is for its user and group only.
os.umask(os.umask(0o077) | 0o007)

from agentark.config import study
from agentark.config.datasets import IMPORTED_QUESTIONS
from agentark.config.methods import Control
from agentark.config.section import NAME
from agentark.debates import imported, protocols
from agentark.errors import UserError
from agentark.provenance.manifests import code_digest


def load_config():
    """The typed config, or one message that names the file and every wrong key."""
    try:
        return study.load(dict(config), workflow.configfiles)
    except UserError as error:
        raise WorkflowError(str(error)) from None


CONFIG = load_config()
NAME = NAME
CONTROLS = get_args(Control)
SUPERVISED = ("rsft", "da", *CONTROLS)


ENVIRONMENT = f"../../envs/{CONFIG.hardware.environment}.yaml"
if CONFIG.hardware.container:

    container: CONFIG.hardware.container


wildcard_constraints:
    run=re.escape(CONFIG.run),
    settings=f"[a-z]+(/{NAME})?",
    dataset=NAME,
    benchmark=NAME,
    model=NAME,
    teacher=NAME,
    student=NAME,
    train_set=NAME,
    method="|".join((*SUPERVISED, "pad")),
    sft_method="|".join(SUPERVISED),
    kind="|".join((*SUPERVISED, "prm", "rl")),
    seed=r"\d+",
    shard=r"\d+",


def in_run(pattern, **values):
    """Paths of this run, one for each combination of the values."""
    return expand(f"results/{CONFIG.run}/{pattern}", **values)


def settings_slice(name):
    """The part of the config that one frozen settings file holds, and nothing else, so that nothing else reruns.

    Canonical JSON text: the order of keys in the YAML file must not rerun anything either.
    """
    section, _, key = name.partition("/")
    if section == "models":
        value = CONFIG.models[key]
    elif section == "teams":
        value = CONFIG.team(key)
    elif section == "questions":
        value = CONFIG.datasets[key]
    elif section == "sets":
        value = CONFIG.sets.slice_for(key)
    else:
        value = getattr(CONFIG, section)
    return json.dumps(value.model_dump(mode="json"), indent=2, sort_keys=True)


def logs_folder():
    return CONFIG.debates.logs if CONFIG.debates.source == "import" else None


def question_files(wildcards):
    """Local files that a dataset reads, so that a changed file makes its questions anew."""
    dataset = CONFIG.datasets[wildcards.dataset]
    if dataset.source == IMPORTED_QUESTIONS:
        return LOG_FILES
    parts = [part for part in (dataset.train, dataset.validation, dataset.test) if part]
    sources = {part.source or dataset.source for part in parts}
    return sorted(
        source
        for source in sources
        if Path(source).suffix in (".json", ".jsonl", ".parquet")
    )


def log_files():
    """The debate logs to import; none when debates are generated."""
    if logs_folder() is None:
        return []
    try:
        return [str(path) for path in imported.files(Path(logs_folder()))]
    except UserError as error:
        raise WorkflowError(str(error)) from None


LOG_FILES = log_files()


SHARDS = range(CONFIG.debates.shards if CONFIG.debates.source == "generate" else 1)


def of_all_shards(pattern):
    """Paths of every shard of every teacher on every train set."""
    return in_run(
        pattern, teacher=CONFIG.teachers, dataset=CONFIG.train_sets, shard=SHARDS
    )


def verdicts_of_shard(wildcards):
    """The verifier's verdicts, where there is one."""
    shard = "results/{run}/verdicts/{teacher}/{dataset}/{shard}.jsonl"
    return shard.format(**wildcards) if CONFIG.traces.verifier else []


def shards_of(folder, wildcards, wanted=True):
    """All shards of one teacher on one dataset, where they are wanted."""
    suffix = "jsonl.zst" if folder == "traces" else "jsonl"
    return in_run(
        f"{folder}/{wildcards.teacher}/{wildcards.dataset}/{{shard}}.{suffix}",
        shard=SHARDS if wanted else [],
    )


def asks_judge(wildcards):
    return wildcards.kind == "da" and CONFIG.sets.da_selection == "judge"


def asks_rollouts(wildcards):
    return wildcards.kind == "prm" and CONFIG.sets.prm_labels == "rollouts"


def policy_manifest(wildcards):
    """The policy that GRPO starts from: the base model or a student."""
    start = CONFIG.grpo.start
    if start == "base":
        return f"results/{wildcards.run}/models/{wildcards.student}/manifest.json"
    return str(
        Path(
            "results",
            wildcards.run,
            "students",
            start,
            *student_path(wildcards),
            "manifest.json",
        )
    )


def student_path(wildcards):
    return (wildcards.teacher, wildcards.train_set, wildcards.student, wildcards.seed)


def members(teacher):
    """The models of a teacher's team, each once."""
    return list(dict.fromkeys(member.model for member in CONFIG.team(teacher).members))


def manifests(names):
    return in_run("models/{model}/manifest.json", model=names)


def named(names):
    """`NAME=MANIFEST` of each model, as the stages take them."""
    return [f"{name}={path}" for name, path in zip(names, manifests(names))]


def is_teacher(wildcards):
    return wildcards.model in CONFIG.teachers and CONFIG.debates.source == "generate"


def teacher_settings(wildcards):
    """Only a teacher's evaluation holds debates, so only it depends on their settings."""
    names = ("debates", f"teams/{wildcards.model}") if is_teacher(wildcards) else ()
    return in_run("settings/{name}.json", name=names)


def debate_code():
    """Stages import a protocol by its name, so its file is named to the digest."""
    return code_digest("debates", protocols.source(CONFIG.debates.protocol))


def evaluation_code(teacher):
    """Every model answers alone; a teacher also holds its protocol, and votes."""
    names = [CONFIG.debates.protocol, "self_consistency"] if teacher else []
    return code_digest("evaluate", *map(protocols.source, ["single", *names]))


STUDENT_AXES = dict(
    method=CONFIG.methods,
    teacher=CONFIG.teachers,
    train_set=CONFIG.train_sets,
    student=CONFIG.students,
    seed=CONFIG.seeds,
)


def evaluation_files():
    """Every evaluation of the run: base models, students, imported debates."""
    generated = CONFIG.debates.source == "generate"
    bases = sorted({*CONFIG.students, *(CONFIG.teachers if generated else [])})
    files = in_run(
        "evaluations/base/{model}/{benchmark}.jsonl",
        model=bases,
        benchmark=CONFIG.benchmarks,
    )
    files += in_run(
        "evaluations/{method}/{teacher}/{train_set}/{student}/{seed}/{benchmark}.jsonl",
        benchmark=CONFIG.benchmarks,
        **STUDENT_AXES,
    )
    if not generated:
        imported = [
            b
            for b in CONFIG.benchmarks
            if CONFIG.datasets[b].source == IMPORTED_QUESTIONS
        ]
        files += in_run(
            "evaluations/debate/{teacher}/{benchmark}.jsonl",
            teacher=CONFIG.teachers,
            benchmark=imported,
        )
    return files


def part_name(axis, value):
    """The target of a part of the grid: `student_qwen3_0_6b`, `seed_1`."""
    return re.sub(r"\W", "_", f"{axis}_{value}")


def evaluations_of_part(axis, value, wildcards):
    """Students with one value on an axis, and the base models that they are compared with."""
    axes = STUDENT_AXES | {axis: [value]}
    models = {*axes["student"]} | ({*axes["teacher"]} & {*CONFIG.models})
    files = in_run(
        "evaluations/{method}/{teacher}/{train_set}/{student}/{seed}/{benchmark}.jsonl",
        benchmark=CONFIG.benchmarks,
        **axes,
    )
    bases = evaluation_files()
    return files + [
        path
        for path in bases
        if Path(path).parts[3] in ("base", "debate")
        and Path(path).parts[4] in models | {*axes["teacher"]}
    ]


def debate_statistics():
    """What is told of every set of debates: those to learn from, and the held-out ones."""
    return of_all_shards("traces/{teacher}/{dataset}/{shard}.debates.json") + [
        path.replace(".jsonl", ".debates.json") for path in teacher_evaluations()
    ]


def teacher_evaluations():
    """Evaluations in which a teacher's debates are scored."""
    method = "base" if CONFIG.debates.source == "generate" else "debate"
    return [
        path
        for path in evaluation_files()
        if Path(path).parts[3] == method and Path(path).parts[4] in CONFIG.teachers
    ]


def set_kinds():
    """The sets that the run's methods need."""
    kinds = [method for method in CONFIG.methods if method != "pad"]
    return kinds + (["prm", "rl"] if "pad" in CONFIG.methods else [])


def set_cards():
    """The card of every set, those that a control is made from among them."""
    kinds = set_kinds()
    if set(kinds) & set(CONTROLS) and "rsft" not in kinds:
        kinds = ["rsft", *kinds]
    return in_run(
        "sets/{teacher}/{dataset}/{kind}.card.json",
        teacher=CONFIG.teachers,
        dataset=CONFIG.train_sets,
        kind=kinds,
    )


def result_files():
    tables = ["summary", "debates", "sets"]
    tables += ["verification"] if CONFIG.traces.verifier else []
    return in_run("tables/{name}.csv", name=tables) + in_run("figures/accuracy.svg")


def show_summary():
    for name in ("debates", "summary"):
        table = Path("results", CONFIG.run, "tables", f"{name}.txt")
        if table.is_file():
            print(table.read_text(encoding="utf-8"), file=sys.stderr)


def tell_where_to_look(log):
    print(
        "A job failed: its log, named above, says why; all failures: agentark status "
        f"results/{CONFIG.run}. Everything finished is kept; the same command goes on. ({log})",
        file=sys.stderr,
    )
