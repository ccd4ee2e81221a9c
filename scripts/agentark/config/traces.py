"""`traces`: how debates are graded."""

from typing import Literal

from pydantic import (
    Field,
)

from agentark.config.section import Section


class Traces(Section):
    """How debates are graded."""

    rejected_share: float = Field(
        0.01, ge=0, le=1, description="share of replies that may be empty, failed or endless, and make no trace"
    )
    verifier: str | None = Field(
        None,
        description="model that judges the answers that rules cannot decide (paper: Qwen2.5-72B-Instruct); none = "
        "they count as not correct",
    )
    verifier_sees: Literal["answer", "trace"] = Field(
        "answer",
        description="what it reads beside question and gold: the answer (paper), or the whole reply (its code)",
    )
    audit: int = Field(
        200, ge=0, description="answers a shard that rules did decide and the verifier judges too, to know its errors"
    )
