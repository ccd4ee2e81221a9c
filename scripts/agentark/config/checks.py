"""What must fit together in a configuration, beyond the type of each key.

Every function raises ValueError with one sentence: the key, what is wrong, the cure.
"""

import re
from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING, Any

from agentark.config import ready_made
from agentark.config.datasets import IMPORTED_QUESTIONS
from agentark.config.experiments import AXES
from agentark.config.messages import did_you_mean
from agentark.config.methods import METHODS
from agentark.config.models import Taught
from agentark.config.section import NAME
from agentark.config.variants import MAIN, SECTIONS, Variant

if TYPE_CHECKING:
    from agentark.config.study import Config


def no_repeats(values: list[Any]) -> None:
    repeated = sorted({str(item) for item in values if values.count(item) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} stands twice: take one out")


def _exist(key: str, names: Iterable[str], where: str, known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{key}: `{name}` is not under `{where}`{did_you_mean(name, known)}")


def step_benchmarks(config: "Config") -> None:
    """They share a table with the benchmarks."""
    for name in config.prm_evaluation.benchmarks:
        if name in config.datasets:
            raise ValueError(f"prm_evaluation.benchmarks.{name} has the name of a dataset: call one of them otherwise")


def models(config: "Config") -> None:
    """Names in `teams`, and students that teach."""
    for name, team in config.teams.items():
        if name in config.models:
            raise ValueError(f"teams.{name} has the name of a model: call one of them otherwise")
        _exist(f"teams.{name}", (member.model for member in team), "models", config.models)
    for name in config.models:
        if student := config.student(name):
            _student(config, f"models.{name}.student", student)


def _student(config: "Config", key: str, student: Taught) -> None:
    _exist(f"{key}.model", [student.model], "models", config.models)
    _can_be_trained(config, f"{key}.model", student.model)
    _exist(f"{key}.method", [student.method], "methods or `recipes`", [*METHODS, *config.recipes])
    _exist(f"{key}.variant", [student.variant], "variants", [MAIN, *config.variants])
    _can_teach(config, f"{key}.teacher", [student.teacher])
    _exist(f"{key}.train_set", [student.train_set], "datasets", [*config.datasets, *ready_made.entries()])
    if config.datasets[student.train_set].train is None:
        raise ValueError(f"{key}.train_set: datasets.{student.train_set} has no `train` part: give it one")


def logs(config: "Config") -> None:
    """Logs are a teacher's of this study, and each teacher's are other ones."""
    paths = config.debates.logs
    for name in config.every("teachers") if paths else ():
        if not re.fullmatch(NAME, name):
            raise ValueError(f"teachers: `{name}` becomes part of a path: use letters, digits, `.`, `_` and `-` only")
    if not isinstance(paths, dict):
        return
    settings = [config.variant(name) for name in (MAIN, *config.variants)]
    teachers = [
        *config.every("teachers"),
        *(student.teacher for student in map(config.student, config.models) if student),
        *(name for one in settings for section in (one.sft, one.prm) for name in section.other_teachers),
    ]
    for name, path in paths.items():
        if name not in teachers:
            raise ValueError(f"debates.logs: `{name}` teaches nobody{did_you_mean(name, dict.fromkeys(teachers))}")
        if not path:
            raise ValueError(f"debates.logs.{name}: no path; give the file or folder of the logs")
        if list(paths.values()).count(path) > 1:
            raise ValueError(f"debates.logs: {path} stands twice, and would be two teachers that are one")


def tasks(config: "Config") -> None:
    """They share tables with the benchmarks."""
    for name in config.lm_eval.tasks:
        if name in config.every("benchmarks"):
            raise ValueError(f"lm_eval.tasks: `{name}` is the name of a benchmark too: call the dataset otherwise")


def perplexity(config: "Config") -> None:
    """It needs worked solutions."""
    for name in (MAIN, *config.variants):
        asked = config.variant(name).evaluation.perplexity_questions
        if asked and not any(config.datasets[benchmark].reasoning for benchmark in config.every("benchmarks")):
            raise ValueError(
                "evaluation.perplexity_questions: no benchmark has worked solutions; name their field in "
                "`datasets.NAME.reasoning`, or leave it out"
            )


def _can_teach(config: "Config", key: str, teachers: list[str]) -> None:
    """A teacher has logs, or can debate."""
    holders = [teacher for teacher in teachers if config.debates.logs_of(teacher) is None]
    _exist(key, holders, "models` or `teams", [*config.models, *config.teams])


def circles(config: "Config") -> None:
    """No student is made from itself; variants are known."""
    for name in config.models:
        _no_circle(config, name, [])


def _no_circle(config: "Config", name: str, path: list[str]) -> None:
    """A student is made from the model that is trained and from its teachers, which may be students: those of its own
    training, and by PAD those of its reward model."""
    if name in path:
        circle = " needs ".join([*path[path.index(name) :], name])
        raise ValueError(f"models: {circle}; a student cannot be made from itself, so break the circle")
    student = config.student(name) if name in config.models else None
    if student:
        settings, recipe = config.variant(student.variant), config.recipe(student.method)
        others = [*settings.prm.other_teachers] if "pad" in recipe else []
        others += settings.sft.other_teachers if {*recipe} - {"pad"} else []
        members = [member.model for teacher in (student.teacher, *others) for member in config.team(teacher).members]
        for needed in dict.fromkeys([student.model, *members]):
            _no_circle(config, needed, [*path, name])


def _can_be_trained(config: "Config", key: str, name: str) -> None:
    if config.models[name].server:
        raise ValueError(f"{key}: `{name}` runs on a server, and training needs its weights: give a `source`")
    if config.models[name].thinking:
        raise ValueError(
            f"{key}: `{name}` thinks before it answers, and what is learnt is the visible text: train an entry of the "
            "same source without `thinking`"
        )


def settings(config: "Config") -> None:
    """Settings of one section that ask for something of another; those of a variant too."""
    for key, name in (
        ("traces.verifier", config.traces.verifier),
        ("sets.judge", config.sets.judge),
        ("sets.rollout_model", config.sets.rollout_model),
        ("prm.model", config.prm.model),
    ):
        _exist(key, [name] if name else [], "models", config.models)
        if name and config.models[name].thinking:
            raise ValueError(
                f"{key}: `{name}` thinks before it answers, and is asked for one word, or to go on with a text: name "
                "an entry of the same source without `thinking`"
            )
    for section in ("sft", "prm"):
        others = getattr(config, section).other_teachers
        _can_teach(config, f"{section}.other_teachers", others)
        if others and isinstance(config.debates.logs, str):
            raise ValueError(
                f"{section}.other_teachers: all debates are those of the logs; say whose these are, "
                "`debates: {logs: {TEACHER: PATH}}`, or take it out"
            )
    if config.prm.model:
        _can_be_trained(config, "prm.model", config.prm.model)
    if config.sets.da_selection == "judge" and config.sets.judge is None:
        raise ValueError("sets.da_selection is `judge`: give `sets.judge`, the name of a model")
    if "rollouts" in config.sets.prm_labels and config.sets.rollout_model is None:
        raise ValueError("sets.prm_labels names `rollouts`: give `sets.rollout_model`, the name of a model")
    if "judge" in config.sets.prm_labels and config.sets.judge is None:
        raise ValueError("sets.prm_labels names `judge`: give `sets.judge`, the name of a model")
    if config.sets.da_selection == "judge" and config.sets.corrective == "equal":
        raise ValueError("sets.da_selection: `judge` picks among traces of both kinds, so it cannot hold them `equal`")
    if config.debates.source == "generate":
        for name, dataset in config.datasets.items():
            if dataset.source == IMPORTED_QUESTIONS:
                raise ValueError(f"datasets.{name}.source is `debate-logs`: this needs `debates: {{source: import}}`")


def recipes(config: "Config") -> None:
    """Recipes are told apart by their trainings, and a method's name is kept for what ends with it."""
    known = {(method,): method for method in METHODS if method not in config.recipes}
    for name, recipe in config.recipes.items():
        if name in METHODS and recipe[-1] != name:
            raise ValueError(f"recipes.{name} has the name of a method: end it with `{name}`, or call it otherwise")
        if name in ("base", "debate"):
            raise ValueError(f"recipes.{name}: tables call the untrained by this name, so choose another")
        if other := known.get(tuple(recipe)):
            raise ValueError(f"recipes.{name} is the same as `{other}`: take it out and use that name")
        known[tuple(recipe)] = name


def in_order(variants: dict[str, Variant]) -> list[str]:
    """Each variant after the one that it builds on."""
    ordered: list[str] = []
    for name, variant in variants.items():
        path = [name]
        while variant.base != MAIN:
            _exist(f"variants.{path[-1]}.base", [variant.base], "variants", [MAIN, *variants])
            if variant.base in path:
                raise ValueError(f"variants: {' builds on '.join([*path, variant.base])}: break the circle")
            path.append(variant.base)
            variant = variants[variant.base]
        ordered += [each for each in reversed(path) if each not in ordered]
    return ordered


def variants(config: "Config") -> None:
    """Every variant differs from all others, and says so where much would be made twice."""
    if MAIN in config.variants:
        raise ValueError(f"variants.{MAIN}: this is the name of the run itself, so choose another")
    for name, variant in config.variants.items():
        ours, base = config.variant(name), config.variant(variant.base)
        if _sections(ours) == _sections(base):
            raise ValueError(f"variants.{name} changes nothing in `{variant.base}`: change a setting, or take it out")
        if (ours.debates.source, ours.debates.logs) != (config.debates.source, config.debates.logs):
            raise ValueError(
                f"variants.{name}.debates: `source` and `logs` are the run's: give other logs a run of their own"
            )
    for one, other in combinations(config.variants, 2):
        if _sections(config.variant(one)) == _sections(config.variant(other)):
            raise ValueError(f"variants.{one} and variants.{other} have the same settings: take one out")
        if one.casefold() == other.casefold():
            raise ValueError(f"variants.{one} and variants.{other} would write the same folder on some file systems")
        if not _related(config, one, other) and (section := _first_in_common(config, one, other)):
            raise ValueError(
                f"variants.{other} changes `{section}` as variants.{one} does: let it build on that one "
                f"(`base: {one}`), or both on a third, so that what is equal is made once"
            )


def _sections(config: "Config") -> list[Any]:
    return [getattr(config, name) for name in SECTIONS]


def _related(config: "Config", one: str, other: str) -> bool:
    """Whether they build on one another, or on the same variant: then what they share is shared by that."""
    return bool({*config.line(one)} & {*config.line(other)})


def _first_in_common(config: "Config", one: str, other: str) -> str | None:
    """The first section that both change, when they change it alike."""
    for section in SECTIONS:
        ours, theirs, runs = (getattr(config.variant(name), section) for name in (one, other, MAIN))
        if ours != runs or theirs != runs:
            return section if ours == theirs else None
    return None


def parts(config: "Config") -> None:
    """The run's own axes and those of its experiments."""
    targets: dict[str, str] = {}
    for name, part in config.parts.items():
        key = "" if name == MAIN else f"experiments.{name}."
        if name == MAIN and name in config.experiments:
            raise ValueError(f"experiments.{MAIN}: this is the name of the run's own grid, so choose another")
        for axis in ("variants", *AXES):
            try:
                no_repeats(getattr(part, axis))
            except ValueError as error:
                raise ValueError(f"{key}{axis}: {error}") from None
        _exist(f"{key}variants", part.variants, "variants", [MAIN, *config.variants])
        _exist(f"{key}students", part.students, "models", config.models)
        for student in part.students:
            _can_be_trained(config, f"{key}students", student)
        _can_teach(config, f"{key}teachers", part.teachers)
        _exist(f"{key}methods", part.methods, "recipes", [*METHODS, *config.recipes])
        for axis in ("train_sets", "benchmarks"):
            _exist(f"{key}{axis}", getattr(part, axis), "datasets", [*config.datasets, *ready_made.entries()])
        for dataset in part.train_sets:
            if config.datasets[dataset].train is None:
                raise ValueError(
                    f"{key}train_sets: datasets.{dataset} has no train questions: give its `train` part, for example "
                    "`train: 256`"
                )
        for variant in part.variants:
            if config.variant(variant).sets.trajectories == 1 and any("pad" in config.recipe(m) for m in part.methods):
                raise ValueError(
                    f"{key}methods: PAD's reward model tells an agent's right step from another's wrong one, and "
                    "sets.trajectories is 1: take 2 or more, or leave PAD out"
                )
            for student in part.students if config.variant(variant).sft.load_in_4bit else ():
                size = config.hardware.of(config.billions(student))
                if size.zero == 3 and size.train_gpus > 1:
                    raise ValueError(
                        f"{key}students: weights in 4 bits (sft.load_in_4bit) cannot be shared out by ZeRO-3, which "
                        f"hardware.sizes has for {student}: write `zero: 0` there, and as few train_gpus as it needs"
                    )
            for dataset in part.train_sets if config.variant(variant).sft.validation_questions else ():
                if config.datasets[dataset].validation is None:
                    raise ValueError(
                        f"{key}train_sets: datasets.{dataset} has no questions for sft.validation_questions: give its "
                        "`validation` part, for example `validation: 100`"
                    )
            for dataset in part.benchmarks:
                clean = config.datasets[dataset].of
                if clean and clean not in part.benchmarks:
                    raise ValueError(
                        f"{key}benchmarks: `{dataset}` changes the questions of `{clean}`, and is compared with it: "
                        "name that as well"
                    )
            split = config.variant(variant).evaluation.split
            for dataset in part.benchmarks:
                if getattr(config.datasets[dataset], split) is None:
                    raise ValueError(
                        f"{key}benchmarks: datasets.{dataset} has no {split} questions: give its `{split}` part, for "
                        f"example `{split}: 300`"
                    )
        if name == MAIN:
            _arms_exist("", config.compare, config.every("methods"), [MAIN, *config.variants])
        elif config.experiments[name].compare:
            _arms_exist(key, part.compare, part.methods, part.variants)
        target = re.sub(r"\W", "_", name)
        if target in targets:
            raise ValueError(
                f"experiments.{name} and experiments.{targets[target]} would be the same target: rename one"
            )
        targets[target] = name


def _arms_exist(key: str, compare: dict[str, list[str]], methods: list[str], variants: list[str]) -> None:
    """Both sides of every comparison are made."""
    for arm, others in compare.items():
        for name in (arm, *others):
            variant, _, method = name.rpartition("/")
            _exist(f"{key}compare.{arm}", [variant] if variant else [], "variants", variants)
            _exist(f"{key}compare.{arm}", [method], "methods", methods)
        if arm in others:
            raise ValueError(f"{key}compare.{arm}: it is compared with itself; name another arm")
