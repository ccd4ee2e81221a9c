"""What all sections of a config share: unknown keys are refused, and values of the wrong type."""

from pydantic import (
    BaseModel,
    ConfigDict,
)

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


class Section(BaseModel):
    """Unknown keys and texts in the place of numbers are refused: an error must not become a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
