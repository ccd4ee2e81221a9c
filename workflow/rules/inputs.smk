"""What the inputs and parameters of rules are made of, where that depends on the job."""

from agentark.debates import imported, protocols


def log_files(place):
    """The debate logs at a place."""
    try:
        return [str(path) for path in imported.files(Path(place))]
    except UserError as error:
        raise WorkflowError(str(error)) from None


LOG_FILES = [file for place in CONFIG.debates.all_logs for file in log_files(place)]


FILES = (".json", ".jsonl", ".parquet")


def question_files(wildcards):
    """Local files that a dataset reads, so that a changed file makes its questions anew."""
    dataset = CONFIG.datasets[wildcards.dataset]
    if dataset.source == IMPORTED_QUESTIONS:
        return LOG_FILES
    parts = [part for part in (dataset.train, dataset.validation, dataset.test) if part]
    sources = {part.source or dataset.source for part in parts}
    return sorted(source for source in sources if Path(source).suffix in FILES)


def manifests(names):
    return [f"{folder_of(MAIN)}/models/{name}/manifest.json" for name in names]


def named(names):
    """`NAME=MANIFEST` of each model, as the stages take them."""
    return [f"{name}={path}" for name, path in zip(names, manifests(names))]


def members(teacher):
    """The models of a teacher's team, each once."""
    return list(dict.fromkeys(member.model for member in CONFIG.team(teacher).members))


def the_verifier(wildcards):
    verifier = config_of(wildcards).traces.verifier
    return [verifier] if verifier else []


def the_judge(wildcards):
    judge = config_of(wildcards).sets.judge
    return [judge] if judge else []


def the_labeller(wildcards):
    """The model that labels steps by rollouts or as a judge; none where neither is asked for."""
    sets = config_of(wildcards).sets
    model = sets.judge if wildcards.source == "judge" else sets.rollout_model
    return [model] if model else []


def the_student(wildcards):
    return [wildcards.student]


def the_backbone(wildcards):
    return [wildcards.backbone]


def student_of(model):
    """The manifest of the student that a model of the config is; nothing for a model from elsewhere."""
    student = CONFIG.student(model)
    if student is None:
        return []
    recipe = joined(CONFIG.recipe(student.method))
    return place(
        student.variant,
        f"students/{recipe}/{student.teacher}/{student.train_set}/{student.model}/{student.seed}/manifest.json",
    )


def shards_of(folder, suffix):
    """Input function: all shards of one teacher on one dataset."""
    return made_by(
        lambda wildcards: [
            f"{folder}/{wildcards.teacher}/{wildcards.dataset}/{shard}.{suffix}"
            for shard in shards(config_of(wildcards))
        ]
    )


def where(wanted, files):
    """Input function: the files of another one, or of a pattern, for the jobs that want them."""

    def wanted_files(wildcards):
        if not wanted(wildcards):
            return []
        return files(wildcards) if callable(files) else files

    return wanted_files


def asks_verifier(wildcards):
    return config_of(wildcards).traces.verifier is not None


def asks_judge(wildcards):
    return wildcards.kind == "da" and config_of(wildcards).sets.da_selection == "judge"


def labels_of_models(suffix):
    """Function of a set: what models say of its steps, all shards of each source that the config names."""

    def files(wildcards):
        config = config_of(wildcards)
        return [
            f"step_labels/{source}/{wildcards.teacher}/{wildcards.dataset}/{shard}.{suffix}"
            for source in ("rollouts", "judge")
            if wildcards.kind == "prm" and source in config.sets.prm_labels
            for shard in shards(config)
        ]

    return files


def is_control(wildcards):
    return wildcards.kind in CONTROLS


def beginning(wildcards):
    """The manifest that a training starts from: the untrained model, or the student of the trainings before it."""
    if not wildcards.before:
        return f"models/{wildcards.student}/manifest.json"
    before = wildcards.before.removesuffix("-")
    return f"students/{before}/{wildcards.teacher}/{wildcards.train_set}/{wildcards.student}/{wildcards.seed}/manifest.json"


def reward_model(wildcards):
    """The manifest of what a policy is trained against; none where the grader alone rewards it."""
    config = config_of(wildcards)
    if not config.grpo.asks_reward_model:
        return []
    backbone = config.prm.model or wildcards.student
    return [
        f"prm/{wildcards.teacher}/{wildcards.train_set}/{backbone}/{wildcards.seed}/manifest.json"
    ]


def asks_policy(wildcards):
    return config_of(wildcards).grpo.pass_rates_of == "policy"


def pass_rates(suffix):
    """Function of a policy: how often it is right before its training by GRPO, where the config asks for that."""
    path = f"pass_rates/{{before}}pad/{{teacher}}/{{train_set}}/{{student}}/{{seed}}.{suffix}"
    return where(asks_policy, lambda wildcards: [path.format(**wildcards)])


def taught_by(wildcards):
    """The teacher of a student, and the others whose sets it learns from."""
    return dict.fromkeys([wildcards.teacher, *config_of(wildcards).sft.other_teachers])


def sets_of_traces(suffix):
    """Function of a student: its teacher's set, then those of the others that it learns from."""
    return lambda wildcards: [
        f"sets/{teacher}/{wildcards.train_set}/{wildcards.sft_method}.{suffix}"
        for teacher in taught_by(wildcards)
    ]


def step_sets(suffix):
    """Function of a reward model: the labelled steps of its teacher, then those of the others that it learns from."""

    def files(wildcards):
        teachers = [wildcards.teacher, *config_of(wildcards).prm.other_teachers]
        folders = [
            f"sets/{teacher}/{wildcards.train_set}"
            for teacher in dict.fromkeys(teachers)
        ]
        return [f"{folder}/prm.{suffix}" for folder in folders]

    return files


STEP_BENCHMARKS = list(CONFIG.prm_evaluation.benchmarks)


def step_benchmark_file(name):
    """The local file that a step benchmark reads."""
    source = CONFIG.prm_evaluation.benchmarks[name].source
    return [source] if Path(source).suffix in FILES else []


def step_benchmarks(suffix):
    """Function of a job: the step benchmarks, which every reward model is measured on."""
    return lambda wildcards: [f"steps/{name}.{suffix}" for name in STEP_BENCHMARKS]


def benchmarks_of_debates(wildcards):
    """The benchmarks on which the teacher of a reward model debates, in the parts of the study that have both."""
    parts = [
        part
        for part in CONFIG.parts.values()
        if wildcards.teacher in part.teachers and wildcards.train_set in part.train_sets
    ]
    names = dict.fromkeys(name for part in parts for name in part.benchmarks)
    return [name for name in names if holds(wildcards.teacher) or is_logged(name)]


def held_out_debates(suffix):
    """Function of a job: the debates of a reward model's teacher on the benchmarks, on which nothing was trained."""

    def files(wildcards):
        who = wildcards.teacher
        if holds(who):
            kind = suffix if suffix == "manifest.json" else f"debates.{suffix}"
            return [
                f"evaluations/base/{who}/{name}.{kind}"
                for name in benchmarks_of_debates(wildcards)
            ]
        kind = "0" if suffix == "manifest.json" else "held_out"
        return [
            f"debates/{who}/{name}/{kind}.{suffix}"
            for name in benchmarks_of_debates(wildcards)
        ]

    return files


def named_debates(wildcards, input):
    """Parameter: `BENCHMARK=PATH` of each, as the stages take them."""
    names = benchmarks_of_debates(wildcards)
    return [f"{name}={path}" for name, path in zip(names, input.debates)]


def named_steps(wildcards, input):
    """Parameter: the same of step benchmarks."""
    return [f"{name}={path}" for name, path in zip(STEP_BENCHMARKS, input.steps)]


def benchmark_files(*names):
    """These files of every benchmark of the study; changed questions repeat what the ones they were made from do."""
    return [
        f"questions/{benchmark}/{name}"
        for benchmark in CONFIG.every("benchmarks")
        if not CONFIG.datasets[benchmark].perturb
        for name in names
    ]


def is_teacher(wildcards):
    return wildcards.model in CONFIG.every("teachers") and holds(wildcards.model)


def teacher_settings(wildcards):
    """Only a teacher's evaluation holds debates, so only it depends on their settings."""
    names = ("debates", f"teams/{wildcards.model}") if is_teacher(wildcards) else ()
    return [f"settings/{name}.json" for name in names]


def by_variant(value):
    """Input function or parameter: what the settings of the job's variant give, at once where none differ."""
    if not CONFIG.variants:
        return value(CONFIG)
    return known(lambda wildcards: value(config_of(wildcards)))


def variant_name():
    """Parameter: the name of the job's variant."""
    return known(variant_of) if CONFIG.variants else MAIN


def scored_questions(config):
    """The part of a benchmark that is scored."""
    return f"questions/{{benchmark}}/{config.evaluation.split}.jsonl"


def debate_code(config):
    """Stages import a protocol by its name, so its file is named to the digest."""
    return code_digest("debates", protocols.source(config.debates.protocol))


def evaluation_code(config, teacher):
    """Every model answers alone; a teacher also holds its protocol, and votes."""
    names = [config.debates.protocol, "self_consistency"] if teacher else []
    return code_digest("evaluate", *map(protocols.source, ["single", *names]))
