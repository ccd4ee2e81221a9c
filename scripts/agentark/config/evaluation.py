"""`evaluation`: how models are scored."""

from typing import Literal

from pydantic import (
    Field,
)

from agentark.config.section import Section


class Evaluation(Section):
    """How models are scored."""

    split: Literal["validation", "test"] = Field("test", description="choose settings on validation; report test")
    max_tokens: int = Field(2048, ge=1, description="tokens an answer may have, the same for base and students")
    temperature: float = Field(0.0, ge=0, description="0 = greedy")
    too_long: Literal["cut", "fail"] = Field(
        "cut",
        description="a prompt and an answer that do not fit into `engine.max_model_len`: cut the middle of what the "
        "question is about (`datasets.NAME.context`), or give no answer; the question itself is never cut",
    )
    perplexity_questions: int | None = Field(
        None,
        ge=1,
        description="questions of each benchmark on whose worked solution (`datasets.NAME.reasoning`) the perplexity "
        "of models is measured; none = not",
    )
    baseline_share: float = Field(
        1 / 3, ge=0, le=1, description="share of the questions that the debate and self-consistency also answer"
    )
