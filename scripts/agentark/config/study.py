"""The configuration of a study: one typed model of all sections, read from YAML.

All of it defines the result but `hardware`, what jobs ask a machine for; all else about machines is in `profiles/`.
`config/demo.yaml` overrides the defaults for a laptop. Imported by the Snakefile, so nothing heavy may be imported.
"""

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from agentark.config import checks, ready_made
from agentark.config.datasets import Dataset
from agentark.config.debates import Debates
from agentark.config.engine import Engine
from agentark.config.evaluation import Evaluation
from agentark.config.experiments import AXES, Experiment
from agentark.config.grpo import Grpo
from agentark.config.hardware import Hardware
from agentark.config.lm_eval import LmEval
from agentark.config.messages import explain
from agentark.config.methods import Method
from agentark.config.models import Member, Model, Taught, Team
from agentark.config.prm import Prm
from agentark.config.prm_evaluation import PrmEvaluation
from agentark.config.section import NAME, Section
from agentark.config.sets import Sets
from agentark.config.sft import Sft
from agentark.config.traces import Traces
from agentark.config.variants import FOLDER, MAIN, SECTIONS, Variant, merged
from agentark.errors import UserError


class Config(Section):
    """A whole study."""

    run: str = Field(pattern=f"^{NAME}$", description="name of the run, its folder under results/")
    models: dict[str, Model] = Field(default_factory=dict, description="models by name")
    datasets: dict[str, Dataset] = Field(
        default_factory=dict, description="question sets by name, beside those that are ready-made (docs/benchmarks.md)"
    )
    teams: dict[str, Annotated[list[Member], Field(min_length=1)]] = Field(
        default_factory=dict, description="agents that differ, by the team's name"
    )
    teachers: list[str] = Field(
        min_length=1, description="models or teams that debate (imported logs: a name for theirs)"
    )
    students: list[str] = Field(min_length=1, description="models that are trained")
    train_sets: list[str] = Field(min_length=1, description="datasets to debate and train on")
    benchmarks: list[str] = Field(min_length=1, description="datasets to score on")
    methods: list[str] = Field(
        ["rsft", "da", "pad"],
        min_length=1,
        description="how students are trained: `rsft`, `da`, `pad`, R-SFT's controls `answer_only`, `single_cot`, "
        "`majority` and `rejection` (docs/sets.md), or names under `recipes`",
    )
    seeds: list[int] = Field([0], min_length=1, description="training seeds, one student each")
    engine: Engine = Field(Engine(), description="text generation")
    debates: Debates = Field(Debates(), description="debates")
    traces: Traces = Field(Traces(), description="graded traces")
    sets: Sets = Field(Sets(), description="training sets")
    sft: Sft = Field(Sft(), description="R-SFT and DA")
    prm: Prm = Field(Prm(), description="process reward model")
    grpo: Grpo = Field(Grpo(), description="PAD")
    evaluation: Evaluation = Field(Evaluation(), description="evaluation")
    lm_eval: LmEval = Field(LmEval(), description="tasks of lm-evaluation-harness")
    prm_evaluation: PrmEvaluation = Field(PrmEvaluation(), description="how reward models are measured")
    variants: dict[str, Variant] = Field(
        default_factory=dict, description="settings that differ from the run's, by the variant's name"
    )
    recipes: dict[str, Annotated[list[Method], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="trainings one after another, by the recipe's name: `{pad: [rsft, pad]}`; a method that is not "
        "named here starts from the untrained model",
    )
    experiments: dict[str, Experiment] = Field(
        default_factory=dict, description="parts of the study beside the run's own grid, by name"
    )
    compare: dict[str, list[str]] = Field(
        default_factory=dict,
        description="what is compared beside every method with the untrained model, and every recipe with the method "
        "that it goes on from: `{pad: [da]}`; an arm is a method or recipe, or `VARIANT/NAME`",
    )
    tensorboard: bool = Field(
        False, description="write TensorBoard files beside each trained model while it is trained; changes no result"
    )
    hardware: Hardware = Field(Hardware(), description="GPUs and memory of jobs, by the size of their models")

    _variants: dict[str, "Config"] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _datasets_that_are_ready_made(cls, value: Any) -> Any:
        datasets = value.get("datasets", {}) if isinstance(value, dict) else None
        if not isinstance(datasets, dict):
            return value
        experiments = value.get("experiments")
        parts = [value, *(experiments.values() if isinstance(experiments, dict) else [])]
        lists = [part.get(axis) for part in parts if isinstance(part, dict) for axis in ("train_sets", "benchmarks")]
        models = value.get("models") if isinstance(value.get("models"), dict) else {}
        taught = [model.get("student") for model in models.values() if isinstance(model, dict)]
        lists.append([student.get("train_set") for student in taught if isinstance(student, dict)])
        named = [name for names in lists if isinstance(names, list) for name in names if isinstance(name, str)]
        return value | {"datasets": ready_made.completed(datasets, named)}

    @field_validator("run", "models", "datasets", "teams", "variants", "recipes", "experiments", "prm_evaluation")
    @classmethod
    def _names_fit_paths(cls, value: Any) -> Any:
        names = value.benchmarks if isinstance(value, PrmEvaluation) else value
        for name in [names] if isinstance(names, str) else names:
            if not re.fullmatch(NAME, name):
                raise ValueError(f"`{name}` becomes part of a path: use letters, digits, `.`, `_` and `-` only")
            if name == FOLDER:
                raise ValueError(f"`{name}` is the folder of the variants in every run: choose another name")
        return value

    @field_validator(*AXES)
    @classmethod
    def _no_repeats(cls, value: list[Any]) -> list[Any]:
        checks.no_repeats(value)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        checks.models(self)
        checks.step_benchmarks(self)
        checks.settings(self)
        checks.recipes(self)
        for name in checks.in_order(self.variants):
            self._variants[name] = self._varied(name)
        checks.variants(self)
        checks.circles(self)
        checks.parts(self)
        checks.logs(self)
        checks.perplexity(self)
        checks.tasks(self)
        return self

    def _varied(self, name: str) -> "Config":
        """The settings of a variant, whose base is known.

        Raises:
            ValueError: they are no settings, or do not fit together.
        """
        base, changes = self.variant(self.variants[name].base), self.variants[name].changes
        sections = {}
        for section, keys in changes.items():
            before = getattr(base, section)
            below = before.model_dump()
            if section == "debates" and "protocol" in keys and keys["protocol"] != before.protocol:
                below.pop("options")  # those of another protocol
            if section == "prm" and "loss" in keys:
                below.pop("loss")  # a sum of losses is one setting
            if section == "grpo" and ("reward_weights" in keys or keys.get("algorithm") == "outcome"):
                below.pop("reward_weights")  # and so is one of rewards; those of a reward model are no control's
            try:
                sections[section] = type(before).model_validate(merged(below, keys))
            except ValidationError as error:
                wrong = "; ".join(explain(item, type(before)) for item in error.errors())
                raise ValueError(f"variants.{name}.{section}.{wrong}") from None
        varied = self.model_copy(update={section: getattr(base, section) for section in SECTIONS} | sections)
        try:
            checks.settings(varied)
        except ValueError as error:
            raise ValueError(f"variants.{name}: {error}") from None
        return varied

    def variant(self, name: str) -> "Config":
        """The study with the settings of one of its variants; `main` has those of the run."""
        return self if name == MAIN else self._variants[name]

    def line(self, variant: str) -> list[str]:
        """A variant and all that it builds on, without the run itself."""
        return [] if variant == MAIN else [variant, *self.line(self.variants[variant].base)]

    @cached_property
    def parts(self) -> dict[str, Experiment]:
        """The run's own grid as `main`, and the experiments, with all their axes."""
        own = {axis: getattr(self, axis) for axis in AXES} | {"compare": self.compare}
        return {MAIN: Experiment(**own)} | {
            name: Experiment(**own | part.model_dump(exclude_none=True)) for name, part in self.experiments.items()
        }

    def every(self, axis: str) -> list[Any]:
        """All values of an axis in any part of the study, each once: `every("students")`."""
        return list(dict.fromkeys(value for part in self.parts.values() for value in getattr(part, axis)))

    def recipe(self, name: str) -> list[str]:
        """The trainings of a recipe or a plain method, one after another."""
        return self.recipes.get(name) or [name]

    def team(self, teacher: str) -> Team:
        """The agents of a teacher, which is a team or one model."""
        return Team(members=self.teams.get(teacher) or [Member(model=teacher)])

    def student(self, model: str) -> Taught | None:
        """The student of this study that a model is, with all that its entry left to the run; None = from elsewhere."""
        student = self.models[model].student
        if student is None:
            return None
        own = {"teacher": self.teachers[0], "train_set": self.train_sets[0], "seed": self.seeds[0]}
        return student.model_copy(update={key: value for key, value in own.items() if getattr(student, key) is None})

    def billions(self, model: str) -> float:
        """Billions of parameters of a model; a student has those of the model that was trained."""
        student = self.models[model].student
        return self.billions(student.model) if student else self.models[model].size


def load(raw: dict[str, Any], files: Iterable[str | Path] = ()) -> Config:
    """Validate a configuration.

    Args:
        raw: the merged mapping.
        files: where it came from, for the message.

    Raises:
        UserError: names the file, every wrong key and its cure.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        where = ", ".join(str(file) for file in files) or "config"
        lines = "\n".join(f"  {explain(item, Config)}" for item in error.errors())
        raise UserError(f"{where}: the configuration has errors\n{lines}") from None
