"""`engine`: how text is generated."""

from typing import Literal

from pydantic import (
    Field,
)

from agentark.config.section import Section


class Engine(Section):
    """How text is generated."""

    kind: Literal["auto", "vllm", "transformers"] = Field(
        "auto", description="`auto` takes vLLM where it is installed, else transformers, and says which"
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="precision of the weights; `auto` is the model's own on GPUs, the faster one on CPUs"
    )
    max_model_len: int = Field(8192, ge=64, description="prompt plus completion, in tokens")
    in_flight: int | None = Field(
        None, ge=1, description="questions that debate at the same time; none = what the attention cache holds"
    )
    prefix_caching: bool = Field(True, description="vLLM: keep what prompts have in common computed")
    tensor_parallel: int | None = Field(
        None, ge=1, description="vLLM: GPUs that one model is spread over; none = all that the job sees"
    )
    gpu_memory_share: float = Field(0.9, gt=0, le=1, description="vLLM: share of a GPU's memory that it may take")
    seed: int = Field(0, description="seed of sampling")
