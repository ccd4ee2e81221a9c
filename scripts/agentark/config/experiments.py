"""`experiments`: named parts of a study, each a target with a table of its own."""

from typing import Any

from pydantic import Field, field_validator

from agentark.config.section import Section
from agentark.config.variants import MAIN

AXES = ("teachers", "students", "train_sets", "benchmarks", "methods", "seeds")
"""The run's, which an experiment may narrow or exchange."""


class Experiment(Section):
    """Every combination of its axes; an axis that is left out is the run's."""

    variants: list[str] = Field([MAIN], description="names under `variants`; `main` is the run itself")
    teachers: list[str] | None = Field(None, description="none = the run's")
    students: list[str] | None = Field(None, description="none = the run's")
    train_sets: list[str] | None = Field(None, description="none = the run's")
    benchmarks: list[str] | None = Field(None, description="none = the run's")
    methods: list[str] | None = Field(None, description="methods or recipes; none = the run's")
    seeds: list[int] | None = Field(None, description="none = the run's")
    compare: dict[str, list[str]] | None = Field(None, description="as the run's `compare`; none = that")

    @field_validator("variants", *AXES)
    @classmethod
    def _not_empty(cls, value: list[Any] | None) -> list[Any] | None:
        if value == []:
            raise ValueError("it is empty, so the experiment would be: name one, or leave the key out for the run's")
        return value
