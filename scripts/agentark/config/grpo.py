"""`grpo`: PAD's reinforcement learning."""

from typing import Literal

from pydantic import (
    Field,
)

from agentark.config.section import Section


class Grpo(Section):
    """GRPO with the process reward (Eq. 3 to 5)."""

    learning_rate: float = Field(5e-7, gt=0, description="AdamW, constant")
    beta: float = Field(0.001, ge=0, description="weight of the KL term (k3) against the start policy")
    epsilon: float = Field(0.2, gt=0, description="clip range of the ratio")
    steps: int = Field(500, ge=1, description="policy updates")
    prompts_per_step: int = Field(8, ge=1, description="questions rolled out for one update")
    group_size: int = Field(8, ge=2, description="G, rollouts a question")
    micro_batch_size: int = Field(8, ge=1, description="rollouts a forward pass; changes speed and memory only")
    temperature: float = Field(1.0, gt=0, description="sampling temperature of rollouts")
    max_tokens: int = Field(2048, ge=1, description="tokens a rollout may have")
    aggregate: Literal["softmin", "min", "mean", "last", "product"] = Field(
        "softmin", description="how the step scores of a rollout become one reward"
    )
    verifiable_weight: float = Field(
        0.0, ge=0, description="weight of a 0/1 reward from the grader beside the process reward (paper: 0)"
    )
    pass_rate: list[float] = Field(
        [0.0, 1.0],
        min_length=2,
        max_length=2,
        description="take questions whose share of right turns in the debate lies in this range",
    )
    lora_rank: int | None = Field(None, ge=1, description="train a LoRA adapter of this rank; none = all weights")
