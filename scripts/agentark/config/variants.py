"""`variants`: what differs from the run's own settings, by name."""

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from agentark.config.section import Section

MAIN = "main"
"""The variant in which nothing differs."""
FOLDER = "variants"
"""What a variant has of its own lies in `variants/NAME` of the run's folder, as the run's own lies in that folder."""
SHARED = {
    "models": "models are shared by all variants: add one under `models` and name it in `teachers` or `students` of an "
    "experiment",
    "datasets": "questions are shared by all variants: add a dataset and name it in `train_sets` or `benchmarks` of an "
    "experiment",
    "teams": "teams are shared by all variants: add one under `teams` and name it in `teachers` of an experiment",
    **dict.fromkeys(
        ("teachers", "students", "train_sets", "benchmarks", "methods", "seeds"),
        "a variant changes settings; which models, sets, methods and seeds it is run with is said by an experiment",
    ),
    "lm_eval": "models of all variants are scored on the same tasks",
    "prm_evaluation": "reward models of all variants are measured in one way",
    "hardware": "hardware changes no result, so it cannot tell variants apart",
}
"""Why these cannot differ."""


class Variant(Section):
    """Settings that differ from what it builds on; each mapping holds only the keys that do."""

    base: str = Field(MAIN, description="the variant that it builds on; all that is equal is shared with that")
    engine: dict[str, Any] = Field(default_factory=dict, description="as the section of this name")
    debates: dict[str, Any] = Field(default_factory=dict, description="as the section of this name")
    traces: dict[str, Any] = Field(default_factory=dict, description="as the section of this name")
    sets: dict[str, Any] = Field(default_factory=dict, description="as the section of this name")
    sft: dict[str, Any] = Field(default_factory=dict, description="as the section of this name")
    prm: dict[str, Any] = Field(default_factory=dict, description="as the section of this name")
    grpo: dict[str, Any] = Field(default_factory=dict, description="as the section of this name")
    evaluation: dict[str, Any] = Field(default_factory=dict, description="as the section of this name")

    @model_validator(mode="before")
    @classmethod
    def _only_what_may_differ(cls, value: Any) -> Any:
        for key in value if isinstance(value, dict) else ():
            if key in SHARED:
                raise ValueError(f"`{key}` cannot differ: {SHARED[key]}")
        return value

    @property
    def changes(self) -> dict[str, dict[str, Any]]:
        """Section -> the keys of it that differ."""
        return self.model_dump(exclude={"base"}, exclude_defaults=True)


SECTIONS = tuple(name for name in Variant.model_fields if name != "base")
"""The sections that may differ, in the order of the stages."""


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`below` with the keys of `above`; a mapping goes into a mapping, all else replaces."""
    both = {key: merged(below[key], value) for key, value in above.items() if _mappings(below.get(key), value)}
    return below | above | both


def _mappings(*values: object) -> bool:
    return all(isinstance(value, dict) for value in values)


def variant_of(path: Path) -> str:
    """Whose file this is, by where it lies: `results/RUN/variants/NAME/...`, else the run's own.

    No run, model or dataset may be called `variants`.
    """
    parts = path.parts
    return parts[parts.index(FOLDER) + 1] if FOLDER in parts else MAIN
