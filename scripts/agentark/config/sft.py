"""`sft`: R-SFT's and DA's training."""

from typing import Literal

from pydantic import Field, model_validator

from agentark.config.section import Section


class Sft(Section):
    """R-SFT (Eq. 1) and DA (Eq. 2): supervised training on traces."""

    other_teachers: list[str] = Field(
        [],
        description="teachers beside each student's own from whose debates' sets it learns too, a mixture: compare it "
        "at equal budget",
    )
    loss: Literal["sum", "token_mean", "separate", "answer"] = Field(
        "separate",
        description="`separate` = reasoning_weight * mean NLL(reasoning) + answer_weight * mean NLL(answer); "
        "`token_mean` = one mean over all tokens; `sum` = plain sums as printed in Eq. 1; `answer` = mean NLL(answer) "
        "after the given reasoning, as printed in Eq. 2",
    )
    reasoning_weight: float = Field(1.0, ge=0, description="weight of the reasoning term of `separate`")
    answer_weight: float = Field(1.0, ge=0, description="weight of the answer term of `separate`")
    learning_rate: float = Field(5e-6, gt=0, description="AdamW, at its highest")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="how the rate falls after the warm-up: `cosine` to a tenth, `linear` to 0, or not at all"
    )
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the updates in which the rate rises")
    epochs: int = Field(2, ge=1, description="passes over the set")
    examples: int | None = Field(
        None,
        ge=1,
        description="train on so many examples, in as many passes as it takes, in the place of `epochs`: the same for "
        "every method, whatever its set holds",
    )
    loss_tokens: int | None = Field(
        None, ge=1, description="the same in tokens of the student that are trained, those of reasoning and answers"
    )
    batch_size: int = Field(128, ge=1, description="examples an update")
    micro_batch_size: int = Field(8, ge=1, description="examples a forward pass; changes speed and memory only")
    validation_questions: int | None = Field(
        None,
        ge=1,
        description="questions of the train set's validation part that are answered greedily before the first update "
        "and after each pass; none = never",
    )
    max_length: int = Field(2048, ge=16, description="tokens of prompt and completion; longer examples are left out")
    lora_rank: int | None = Field(None, ge=1, description="train a LoRA adapter of this rank; none = all weights")
    load_in_4bit: bool = Field(
        False,
        description="QLoRA: the weights under the adapter in 4 bits (NF4) while it is trained, a quarter of the memory",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "Sft":
        if self.examples and self.loss_tokens:
            raise ValueError("examples and loss_tokens: a training has one budget; leave one of them out")
        if self.load_in_4bit and self.lora_rank is None:
            raise ValueError("load_in_4bit: weights in 4 bits cannot be trained themselves; give a lora_rank")
        return self
