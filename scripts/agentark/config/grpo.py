"""`grpo`: PAD's reinforcement learning."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from agentark.config.section import Section

RewardName = Literal["process", "verifiable", "format", "overlong"]
RewardWeights = dict[RewardName, Annotated[float, Field(ge=0)]]


class Guards(Section):
    """When a policy is stopped, and goes back to its best validation."""

    patience: int = Field(
        2, ge=1, description="validations in a row whose accuracy is below the best one's by more than chance explains"
    )
    max_kl: float | None = Field(1.0, gt=0, description="KL to the start policy, a token; needs `grpo.beta` above 0")
    min_distinct: float = Field(
        0.5, ge=0, le=1, description="different 4-grams of a completion, as a share of the start's"
    )
    max_drift: float = Field(3.0, ge=1, description="times that completions may grow or shrink, in tokens or in steps")


class Grpo(Section):
    """GRPO with the process reward (Eq. 3 to 5), or without it as a control."""

    algorithm: Literal["paper", "pure", "outcome"] = Field(
        "paper",
        description="`paper`: one reward a rollout, its z-score in the group; `pure`: a reward a step, returns token "
        "by token (PURE, the paper's code); `outcome`: as `paper`, by the grader's verdict alone: the control",
    )
    learning_rate: float = Field(5e-7, gt=0, description="AdamW, constant")
    beta: float = Field(0.001, ge=0, description="weight of the KL term (k3) against the start policy")
    epsilon: float = Field(0.2, gt=0, description="clip range of the ratio")
    steps: int = Field(500, ge=1, description="policy updates")
    prompts_per_step: int = Field(8, ge=1, description="questions rolled out for one update")
    group_size: int = Field(8, ge=2, description="G, rollouts a question")
    micro_batch_size: int = Field(8, ge=1, description="rollouts a forward pass; changes speed and memory only")
    temperature: float = Field(1.0, gt=0, description="sampling temperature of rollouts")
    max_tokens: int = Field(2048, ge=1, description="tokens a rollout may have")
    rollouts_by: Literal["transformers", "vllm", "auto"] = Field(
        "transformers",
        description="what generates rollouts: the training's own model, or vLLM beside it in each of its processes, "
        "which takes over the weights at every update; several times faster on GPUs; `auto` = vLLM where it is "
        "installed",
    )
    aggregate: Literal["softmin", "min", "mean", "last", "product"] = Field(
        "softmin", description="how the step scores of a rollout become one reward"
    )
    credit: Literal["min_form", "clip", "delta"] = Field(
        "min_form",
        description="`pure`: what a step earns by the scores: they sum to the least one, nothing above 0.5, or its "
        "difference to the next one",
    )
    reward_weights: RewardWeights | None = Field(
        None,
        description="`process` (`process: 1` alone is the paper), `verifiable` (1 for a right answer), `format` (1 for "
        "one that is stated as asked), `overlong` (down to -1 as `max_tokens` come near); none = `process: 1`, with "
        "`outcome` `verifiable: 1`",
    )
    reward_sum: Literal["sum_then_normalize", "normalize_then_sum"] = Field(
        "sum_then_normalize",
        description="`paper`, `outcome`: z-score of the weighted sum, or weighted sum of each reward's own z-scores",
    )
    reward_scale: Literal["group", "batch"] = Field(
        "group",
        description="`paper`, `outcome`: whose standard deviation the rewards of a group are divided by: its own "
        "(Eq. 5), or that of the whole update, so that groups which hardly differ count little",
    )
    overlong_tokens: int = Field(
        256,
        ge=1,
        description="`overlong`: how many tokens before `max_tokens` the penalty begins (DAPO, arXiv 2503.14476)",
    )
    pass_rate: list[float] = Field(
        [0.0, 1.0],
        min_length=2,
        max_length=2,
        description="take questions whose share of right answers lies in this range: where all rollouts earn the same, "
        "nothing is learnt",
    )
    pass_rates_of: Literal["debate", "policy"] = Field(
        "debate", description="whose answers: the turns of the teacher's debate, or the policy's before it is trained"
    )
    pass_rate_rollouts: int = Field(8, ge=1, description="rollouts a question for `pass_rates_of: policy`")
    resample: int = Field(
        0,
        ge=0,
        description="`paper`, `outcome`: how often, in an update, other questions are rolled out in the place of those "
        "whose rollouts all earn the same",
    )
    validation_every: int | None = Field(
        20, ge=1, description="updates between validations, on the train set's validation part; none = never"
    )
    validation_questions: int = Field(128, ge=2, description="questions of a validation, one sampled answer each")
    guards: Guards | None = Field(Guards(), description="what stops a policy at a validation; none = nothing")
    lora_rank: int | None = Field(None, ge=1, description="train a LoRA adapter of this rank; none = all weights")

    @property
    def asks_reward_model(self) -> bool:
        return self.algorithm != "outcome"

    @property
    def weights(self) -> dict[RewardName, float]:
        """`reward_weights`, or the algorithm's own."""
        return self.reward_weights or {"process" if self.asks_reward_model else "verifiable": 1.0}

    @model_validator(mode="after")
    def _rewards_fit_the_algorithm(self) -> "Grpo":
        weighted = {name for name, weight in self.weights.items() if weight > 0}
        if self.asks_reward_model and "process" not in weighted:
            raise ValueError(
                f"reward_weights: {self.algorithm} trains against the reward model, so `process` needs a weight above "
                "0; for a control without it write algorithm: outcome"
            )
        if not self.asks_reward_model and "process" in weighted:
            raise ValueError("reward_weights: outcome asks no reward model; leave `process` out")
        if not weighted:
            raise ValueError("reward_weights: all are 0, so there is nothing to learn")
        return self

    @model_validator(mode="after")
    def _groups_are_compared_in_one_way(self) -> "Grpo":
        by_update = []
        if self.reward_scale == "batch":
            by_update.append("reward_scale: batch")
        if self.reward_sum == "normalize_then_sum":
            by_update.append("reward_sum: normalize_then_sum")
        if len(by_update) == 2:
            raise ValueError(
                "reward_sum: normalize_then_sum scales by the whole update already; leave reward_scale out"
            )
        if self.resample and by_update:
            raise ValueError(f"resample: {by_update[0]} is about the groups of an update as they came; leave one out")
        if self.resample and self.algorithm == "pure":
            raise ValueError("resample: pure learns from every step, not from a group's differences; leave it out")
        return self

    @model_validator(mode="after")
    def _pass_rates_choose(self) -> "Grpo":
        low, high = self.pass_rate
        if not 0 <= low <= high <= 1:
            raise ValueError(f"pass_rate: [{low}, {high}] is no range of shares; write [0.1, 0.9] for example")
        if self.pass_rates_of == "policy" and (low, high) == (0, 1):  # noqa: S105 (no password)
            raise ValueError("pass_rates_of: pass_rate takes every question, whatever the policy's rate; narrow it")
        return self
