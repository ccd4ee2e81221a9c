"""`prm`: the process reward model."""

from pydantic import (
    Field,
)

from agentark.config.section import Section


class PrmStage(Section):
    """One of the two stages of PRM training."""

    learning_rate: float = Field(gt=0, description="AdamW")
    epochs: int = Field(ge=1, description="passes over the questions")


class Prm(Section):
    """Process reward model, contrastive objective (Eq. 7) in two stages."""

    model: str | None = Field(
        None, description="model whose weights it starts from, a name under `models`; none = each student's own"
    )
    tau: float = Field(0.1, gt=0, description="temperature of Eq. 7; above 0.2 the loss cannot come near 0")
    negatives: int = Field(8, ge=1, description="steps of other agents on the same question, a positive step")
    stage1: PrmStage = Field(
        PrmStage(learning_rate=1e-4, epochs=3), description="trains the last layer and the reward head"
    )
    stage2: PrmStage = Field(PrmStage(learning_rate=1e-6, epochs=1), description="trains all weights")
    batch_size: int = Field(16, ge=1, description="questions an update")
    max_length: int = Field(4096, ge=16, description="tokens; a trace that is longer is left out, never cut")
    max_questions: int | None = Field(None, ge=1, description="questions to train on; none = all")
    held_out_share: float = Field(
        0.1, ge=0, lt=1, description="share of the questions kept back to measure the PRM's step AUC"
    )
