"""Where files lie: those of the run, and those that a variant has of its own."""

from functools import cache
from itertools import product
from string import Formatter

from agentark.config.datasets import IMPORTED_QUESTIONS
from agentark.config.methods import CONTROLS, joined
from agentark.config.slices import frozen, tables_of
from agentark.config.variants import MAIN


def variant_of(wildcards):
    """The variant whose files a job makes."""
    return wildcards.run.partition(f"/{FOLDER}/")[2] or MAIN


def config_of(wildcards):
    """The settings of a job's variant."""
    return CONFIG.variant(variant_of(wildcards))


def folder_of(variant):
    run = f"results/{CONFIG.run}"
    return run if variant == MAIN else f"{run}/{FOLDER}/{variant}"


@cache
def place(variant, path):
    """Where a file of a variant lies: in its own folder if it is made from other settings or other files there than in
    what the variant builds on, else where that has it."""
    if variant != MAIN:
        base = CONFIG.variants[variant].base
        if made_from(variant, path) == made_from(base, path):
            return place(base, path)
    return f"{folder_of(variant)}/{path}"


def frozen_settings(variant, name):
    """What a file under `settings/` holds."""
    section, _, key = name.partition("/")
    if section == "tables":
        part = CONFIG.parts[key]
        rows, perplexities = (
            [file.removeprefix(f"{folder_of(MAIN)}/") for file in files]
            for files in (evaluations_of(part), perplexities_of(part))
        )
        return tables_of(CONFIG, key, rows, perplexities)
    return frozen(CONFIG.variant(variant), name)


@cache
def made_from(variant, path):
    """Settings as their text, any other file as the places of its rule's inputs."""
    folder, _, name = path.partition("/")
    if folder == "settings":
        return frozen_settings(variant, name.removesuffix(".json"))
    file = f"{folder_of(variant)}/{path}"
    (maker,) = [each for each in makers_below(folder) if each.is_producer(file)]
    return list(maker.expand_input(maker.get_wildcards(file))[0])


@cache
def makers_below(folder):
    """The rules that write into a folder of a run, and perhaps some more."""
    return [
        each
        for each in workflow.rules
        if any(f"/{folder}/" in file for file in each.output)
    ]


def made(pattern):
    """Input function: a file of this pattern, or of the one that a function gives for a config, wherever the job's
    variant has it from."""
    of = pattern if callable(pattern) else lambda config: pattern
    # Without variants a pattern says it all, and Snakemake is faster with one.
    if not CONFIG.variants:
        return f"results/{{run}}/{of(CONFIG)}"
    return known(
        lambda wildcards: place(
            variant_of(wildcards), of(config_of(wildcards)).format(**wildcards)
        )
    )


def made_by(function):
    """Input function: the files whose paths in a run a function names, wherever the job's variant has them from."""
    return known(
        lambda wildcards: [
            place(variant_of(wildcards), path) for path in function(wildcards)
        ]
    )


def axes_of(part, variant):
    """What stands for each wildcard in the files of a part of the study."""
    config = CONFIG.variant(variant)
    recipes = [CONFIG.recipe(name) for name in part.methods]
    return {
        "teacher": part.teachers,
        "train_set": part.train_sets,
        "dataset": part.train_sets,
        "student": part.students,
        "recipe": [joined(recipe) for recipe in recipes],
        "seed": part.seeds,
        "benchmark": part.benchmarks,
        "shard": shards(config),
        "kind": kinds_of(recipes, config),
        "backbone": backbones(part, config),
        "holder": [name for name in part.teachers if holds(name)],
        "untrained": sorted({*part.students, *filter(holds, part.teachers)}),
        # Logged debates are scored on the logs' own held-out questions.
        "logger": [name for name in part.teachers if not holds(name)],
        "logged": [name for name in part.benchmarks if is_logged(name)],
        # Benchmarks with worked solutions, where perplexity is asked for.
        "reasoned": [
            name
            for name in part.benchmarks
            if CONFIG.datasets[name].reasoning
            and not CONFIG.datasets[name].perturb
            and config.evaluation.perplexity_questions
        ],
        "score_shard": range(CONFIG.prm_evaluation.shards),
    }


def is_logged(dataset):
    """Whether a dataset's questions are those of the debate logs, as they were asked there."""
    return reads_logs(dataset) and not CONFIG.datasets[dataset].perturb


def reads_logs(dataset):
    return CONFIG.datasets[dataset].source == IMPORTED_QUESTIONS


def holds(teacher):
    """Whether a teacher debates here, rather than in logs."""
    return CONFIG.debates.logs_of(teacher) is None


def patterns_of_teachers():
    """Of those that debate here, and of those that have logs: debates are made by one rule or another."""
    logs = CONFIG.debates.logs
    if not CONFIG.debates.all_logs:
        return NAME, NOBODY
    if isinstance(logs, str):
        return NOBODY, NAME
    with_logs = "|".join(map(re.escape, logs))
    return f"(?!({with_logs})/){NAME}", with_logs


def patterns_of_datasets():
    """Of those with questions of their own, and of those that change another one's."""
    changed = [name for name, one in CONFIG.datasets.items() if one.perturb]
    either = "|".join(map(re.escape, changed))
    return (f"(?!({either})/){NAME}", either) if changed else (NAME, NOBODY)


NOBODY = "(?!)"
AS_THEY_ARE, CHANGED = patterns_of_datasets()
HOLDERS, LOGGERS = patterns_of_teachers()


def shards(config):
    return range(config.debates.shards)


def backbones(part, config):
    """What the reward models of a part of the study are made of; nothing if none is asked for."""
    if not config.grpo.asks_reward_model:
        return []
    return [config.prm.model] if config.prm.model else part.students


def kinds_of(recipes, config):
    """The sets that some recipes need; a control's is made at the budget of R-SFT's."""
    kinds = {"rsft"} if any({*recipe} & {*CONTROLS} for recipe in recipes) else set()
    of_pad = {"prm", "rl"} if config.grpo.asks_reward_model else {"rl"}
    for method in (method for recipe in recipes for method in recipe):
        kinds |= of_pad if method == "pad" else {method}
    return sorted(kinds)


def files_of(part, pattern):
    """The files of a pattern for a part of the study, each once, in the order of its axes."""
    names = [name for _, name, _, _ in Formatter().parse(pattern) if name]
    files = {}
    for variant in part.variants:
        axes = axes_of(part, variant)
        for values in product(*(axes[name] for name in names)):
            files[place(variant, pattern.format(**dict(zip(names, values))))] = None
    return list(files)


def evaluations_of(part, suffix="jsonl"):
    """Every evaluation of a part of the study: untrained models, students, imported debates."""
    student = "{recipe}/{teacher}/{train_set}/{student}/{seed}"
    kinds = [
        "evaluations/base/{untrained}/{benchmark}",
        f"evaluations/{student}/{{benchmark}}",
        "evaluations/debate/{logger}/{logged}",
    ]
    if CONFIG.lm_eval.tasks:
        kinds += ["lm_eval/base/{student}", f"lm_eval/{student}"]
    return [file for kind in kinds for file in files_of(part, f"{kind}.{suffix}")]


def perplexities_of(part, suffix="jsonl"):
    """The perplexities of a part of the study: of untrained students, and of students."""
    students = "{recipe}/{teacher}/{train_set}/{student}/{seed}/{reasoned}"
    return [
        file
        for kind in ("base/{student}/{reasoned}", students)
        for file in files_of(part, f"perplexity/{kind}.{suffix}")
    ]


def files_of_all(*patterns):
    """Input function: the files of patterns for all parts of the study, each once."""
    return lambda wildcards: list(
        dict.fromkeys(
            file
            for part in CONFIG.parts.values()
            for pattern in patterns
            for file in files_of(part, pattern)
        )
    )
