"""The tables of an experiment: what its arms are called, what its variants build on and what is compared."""

from functools import cached_property

from pydantic import Field

from agentark.config.methods import joined
from agentark.config.section import Section


class Tables(Section):
    """What an experiment compares."""

    experiment: str = Field(description="name of the experiment; `main` is the run's own grid")
    variants: dict[str, str | None] = Field(description="what each variant builds on; `main` builds on nothing")
    recipes: dict[str, list[str]] = Field(description="trainings one after another, by the recipe's name")
    evaluations: list[str] = Field(description="files of the rows of all its arms, below the folder of the run")
    perplexities: list[str] = Field([], description="files of perplexities, below the folder of the run")
    perturbed: dict[str, str] = Field(
        {}, description="benchmarks of changed questions, and those that they were made from"
    )
    compare: dict[str, list[str]] = Field(
        {},
        description="arms that an arm is compared with, beside the untrained model: NAME of a recipe in every variant, "
        "or VARIANT/NAME",
    )

    @cached_property
    def named(self) -> dict[str, str]:
        """The recipe's name by its trainings, as evaluation rows have them: `rsft-pad`."""
        return {joined(methods): name for name, methods in self.recipes.items()}

    def lineage(self, variant: str) -> list[str]:
        """A variant and all that it builds on, itself first."""
        found = [variant]
        while below := self.variants[found[-1]]:
            found.append(below)
        return found
