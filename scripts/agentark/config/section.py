"""What all sections of a config share: unknown keys are refused, and values of the wrong type."""

import re
from typing import Any, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationInfo,
    field_validator,
)

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+")


class Section(BaseModel):
    """Unknown keys and texts in the place of numbers are refused: an error must not become a silent default.

    `1e-5` is a number in YAML 1.2 and a text to PyYAML, which reads YAML 1.1; here it is the number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _exponents_are_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        return _as_number(value, cls.model_fields[info.field_name].annotation)


def _as_number(value: Any, annotation: Any) -> Any:
    """A text like `1e-5`, or those in a list, as a number where the field takes one and no text."""
    kinds = get_args(annotation) or (annotation,)
    if isinstance(value, list):
        return [_as_number(item, kinds[0]) for item in value]
    is_number = isinstance(value, str) and float in kinds and str not in kinds and _EXPONENT.fullmatch(value)
    return float(value) if is_number else value
