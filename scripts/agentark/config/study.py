"""The configuration of a run: one typed model of all sections, what must fit together, errors that name file and key.

All of it defines the result but `hardware`, what jobs ask a machine for; all else about machines is in `profiles/`.
`config/demo.yaml` overrides the defaults for a laptop. Imported by the Snakefile, so nothing heavy may be imported.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from agentark.config.datasets import IMPORTED_QUESTIONS, Dataset
from agentark.config.debates import Debates
from agentark.config.engine import Engine
from agentark.config.evaluation import Evaluation
from agentark.config.grpo import Grpo
from agentark.config.hardware import Hardware
from agentark.config.messages import did_you_mean, explain
from agentark.config.methods import Method
from agentark.config.models import Member, Model, Team
from agentark.config.prm import Prm
from agentark.config.section import NAME, Section
from agentark.config.sets import Sets
from agentark.config.sft import Sft
from agentark.config.traces import Traces
from agentark.errors import UserError


class Config(Section):
    """A whole run."""

    run: str = Field(pattern=f"^{NAME}$", description="name of the run, its folder under results/")
    models: dict[str, Model] = Field(default_factory=dict, description="models by name")
    datasets: dict[str, Dataset] = Field(description="question sets by name")
    teams: dict[str, Annotated[list[Member], Field(min_length=1)]] = Field(
        default_factory=dict, description="agents that differ, by the team's name"
    )
    teachers: list[str] = Field(
        min_length=1, description="models or teams that debate (imported logs: a name for theirs)"
    )
    students: list[str] = Field(min_length=1, description="models that are trained")
    train_sets: list[str] = Field(min_length=1, description="datasets to debate and train on")
    benchmarks: list[str] = Field(min_length=1, description="datasets to score on")
    methods: list[Method] = Field(
        ["rsft", "da", "pad"],
        min_length=1,
        description="how students are trained; `answer_only`, `single_cot`, `majority` and `rejection` are R-SFT's "
        "controls (docs/sets.md)",
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
    hardware: Hardware = Field(Hardware(), description="GPUs and memory of jobs, by the size of their models")

    @field_validator("models", "datasets", "teams")
    @classmethod
    def _names_fit_paths(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not re.fullmatch(NAME, name):
                raise ValueError(f"`{name}` becomes part of a path: use letters, digits, `.`, `_` and `-` only")
        return value

    @field_validator("teachers", "students", "train_sets", "benchmarks", "methods", "seeds")
    @classmethod
    def _no_repeats(cls, value: list[Any]) -> list[Any]:
        repeated = sorted({str(item) for item in value if value.count(item) > 1})
        if repeated:
            raise ValueError(f"{', '.join(repeated)} stands twice: take one out")
        return value

    @model_validator(mode="after")
    def _names_exist(self) -> "Config":
        _require("students", self.students, "models", self.models)
        for name in self.students:
            if self.models[name].server:
                raise ValueError(
                    f"students: `{name}` runs on a server, and training needs its weights: give a `source`"
                )
        for name, team in self.teams.items():
            if name in self.models:
                raise ValueError(f"teams.{name} has the name of a model: call one of them otherwise")
            _require(f"teams.{name}", (member.model for member in team), "models", self.models)
        if self.debates.source == "generate":
            _require("teachers", self.teachers, "models` or `teams", self.models | self.teams)
        for key, name in (
            ("traces.verifier", self.traces.verifier),
            ("sets.judge", self.sets.judge),
            ("sets.rollout_model", self.sets.rollout_model),
        ):
            _require(key, [name] if name else [], "models", self.models)
        if self.sets.da_selection == "judge" and self.sets.judge is None:
            raise ValueError("sets.da_selection is `judge`: give `sets.judge`, the name of a model")
        if self.sets.prm_labels == "rollouts" and self.sets.rollout_model is None:
            raise ValueError("sets.prm_labels is `rollouts`: give `sets.rollout_model`, the name of a model")
        if self.sets.da_selection == "judge" and self.sets.corrective == "equal":
            raise ValueError(
                "sets.da_selection: `judge` picks among traces of both kinds, so it cannot hold them `equal`"
            )
        _require("train_sets", self.train_sets, "datasets", self.datasets)
        _require("benchmarks", self.benchmarks, "datasets", self.datasets)
        for name in self.train_sets:
            if self.datasets[name].train is None:
                raise ValueError(f"datasets.{name} is in train_sets: give its `train` part, for example `train: 256`")
        for name in self.benchmarks:
            if getattr(self.datasets[name], self.evaluation.split) is None:
                part = self.evaluation.split
                raise ValueError(f"datasets.{name} is in benchmarks: give its `{part}` part, for example `{part}: 300`")
        if self.debates.source == "generate":
            for name, dataset in self.datasets.items():
                if dataset.source == IMPORTED_QUESTIONS:
                    raise ValueError(
                        f"datasets.{name}.source is `debate-logs`: this needs `debates: {{source: import}}`"
                    )
        if "pad" in self.methods and self.grpo.start != "base" and self.grpo.start not in self.methods:
            raise ValueError(f"grpo.start is `{self.grpo.start}`: add it to methods, PAD starts from that student")
        return self

    def team(self, teacher: str) -> Team:
        """The agents of a teacher, which is a team or one model."""
        return Team(members=self.teams.get(teacher) or [Member(model=teacher)])


def _require(key: str, names: Iterable[str], where: str, known: dict[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{key}: `{name}` is not under `{where}`{did_you_mean(name, known)}")


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
