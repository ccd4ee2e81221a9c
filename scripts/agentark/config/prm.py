"""`prm`: the process reward model."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from agentark.config.section import Section

Loss = Literal["contrastive", "bce", "pqm", "margin", "infonce"]
LossWeights = dict[Loss, Annotated[float, Field(gt=0)]]


class PrmStage(Section):
    """One of the two stages of PRM training."""

    learning_rate: float = Field(gt=0, description="AdamW")
    epochs: int = Field(ge=1, description="passes over the questions")


class Prm(Section):
    """Process reward model, trained in two stages."""

    model: str | None = Field(
        None, description="model whose weights it starts from, a name under `models`; none = each student's own"
    )
    other_teachers: list[str] = Field(
        [],
        description="teachers beside each reward model's own whose labelled steps it learns too: a student of the run, "
        "for traces as PAD's policy writes them",
    )
    loss: LossWeights = Field(
        {"contrastive": 1.0},
        min_length=1,
        description="`contrastive` (Eq. 7), `bce`, `pqm`, `margin`; or several, weighted: `{bce: 1, infonce: 0.5}`",
    )
    tau: float = Field(
        0.1, gt=0, description="`contrastive`, `infonce`: temperature; above 0.2 Eq. 7 cannot come near 0"
    )
    zeta: float = Field(4.0, ge=0, description="`pqm`: how far above the wrong steps of its trace a right one is to be")
    margin: float = Field(1.0, ge=0, description="`margin`: how far above its negatives a right step is to be")
    negatives: int = Field(8, ge=1, description="wrong steps that a right one is told from, `contrastive` and `margin`")
    negatives_from: Literal["question", "other_questions", "both"] = Field(
        "question", description="whose: other agents' on the same question, those of other questions in the update"
    )
    stage1: PrmStage = Field(
        PrmStage(learning_rate=1e-4, epochs=3), description="trains the last layer and the reward head"
    )
    stage2: PrmStage = Field(PrmStage(learning_rate=1e-6, epochs=1), description="trains all weights")
    lora_rank: int | None = Field(
        None, ge=1, description="train LoRA adapters of this rank, and the head; none = all weights"
    )
    batch_size: int = Field(16, ge=1, description="questions an update")
    tokens_per_pass: int = Field(
        16384,
        ge=16,
        description="tokens of one forward pass (on CPUs at most 1,024); how an update is cut changes no gradient",
    )
    max_length: int = Field(4096, ge=16, description="tokens; a trace that is longer is left out, never cut")
    max_questions: int | None = Field(None, ge=1, description="questions to train on; none = all")
    held_out_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of the questions kept back to measure how well it tells right steps from wrong ones",
    )

    @field_validator("loss", mode="before", json_schema_input_type=Loss | LossWeights)
    @classmethod
    def _one_loss_by_its_name(cls, value: Any) -> Any:
        return {value: 1.0} if isinstance(value, str) else value

    @field_validator("loss")
    @classmethod
    def _trains_the_score(cls, value: dict[Loss, float]) -> dict[Loss, float]:
        if list(value) == ["infonce"]:
            raise ValueError(
                "infonce trains the projection of a step, not its score; name another loss beside it, as in "
                "{bce: 1, infonce: 0.5}"
            )
        return value
