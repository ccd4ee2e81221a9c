"""What the study ends with: the files that a user opens, targets for its parts, and what is printed."""


def part_name(axis, value):
    """The target of a part of the study: `student_qwen3_0_6b`, `seed_1`, `experiment_agents`."""
    return re.sub(r"\W", "_", f"{axis}_{value}")


def part_of(wildcards):
    """The part of the study that a table is about."""
    return CONFIG.parts[wildcards.part.rstrip("/") or MAIN]


def settings_of_tables(wildcards):
    return (
        f"{folder_of(MAIN)}/settings/tables/{wildcards.part.rstrip('/') or MAIN}.json"
    )


def scored_debates(suffix):
    """Patterns of the evaluations in which a teacher's debates are scored."""
    return [
        f"evaluations/base/{{holder}}/{{benchmark}}.{suffix}",
        f"evaluations/debate/{{logger}}/{{logged}}.{suffix}",
    ]


def tables_of_part(name):
    part = "" if name == MAIN else f"{name}/"
    tables = ["summary", "cost", "reasoning_quality"]
    if any(CONFIG.datasets[one].perturb for one in CONFIG.parts[name].benchmarks):
        tables.append("robustness")
    files = [f"tables/{part}{table}.csv" for table in tables]
    return [
        f"{folder_of(MAIN)}/{file}" for file in [*files, f"figures/{part}accuracy.svg"]
    ]


def result_files(wildcards):
    """Everything a user opens."""
    names = ["debates", "sets"]
    names += ["prm"] if score_files(wildcards) else []
    names += ["sft"] if trained_students(by_pad=False) else []
    names += ["pad"] if trained_students(by_pad=True) else []
    names += ["verification"] if any_verifier() else []
    files = [f"{folder_of(MAIN)}/tables/{name}.csv" for name in names]
    return files + [file for name in CONFIG.parts for file in tables_of_part(name)]


def score_files(wildcards):
    """The scores of every reward model that trains a student."""
    scores = "scores/{teacher}/{train_set}/{backbone}/{seed}/{score_shard}.jsonl.zst"
    parts = [
        part
        for part in CONFIG.parts.values()
        if any("pad" in CONFIG.recipe(name) for name in part.methods)
    ]
    return list(
        dict.fromkeys(file for part in parts for file in files_of(part, scores))
    )


def trained_students(by_pad):
    """The manifests of the study's students by PAD, or of all others, also those that a longer recipe goes on from."""
    files = {}
    for part in CONFIG.parts.values():
        for recipe in map(CONFIG.recipe, part.methods):
            for place, method in enumerate(recipe):
                if (method == "pad") == by_pad:
                    path = joined(recipe[: place + 1])
                    pattern = f"students/{path}/{{teacher}}/{{train_set}}/{{student}}/{{seed}}/manifest.json"
                    files |= dict.fromkeys(files_of(part, pattern))
    return list(files)


def any_verifier():
    return any(
        CONFIG.variant(variant).traces.verifier
        for part in CONFIG.parts.values()
        for variant in part.variants
    )


def show_summary():
    for name in ("debates", "prm", "pad", "summary"):
        table = Path(folder_of(MAIN), "tables", f"{name}.txt")
        if table.is_file():
            logger.info(table.read_text(encoding="utf-8"))


def tell_where_to_look(log):
    logger.error(
        "A job failed: its log, named above, says why; all failures: agentark status "
        f"{folder_of(MAIN)}. Everything finished is kept; the same command goes on. ({log})"
    )


def evaluations_with(axis, value):
    """Input function: the run's own grid with one value on an axis. Only when it is asked for: a grid of thousands of
    seeds has as many targets."""
    part = CONFIG.parts[MAIN].model_copy(update={axis: [value]})
    return lambda wildcards: evaluations_of(part)
