"""`hardware`: what jobs ask of a machine."""

from typing import Literal

from pydantic import (
    Field,
    field_validator,
)

from agentark.config.section import Section


class Size(Section):
    """What jobs with models of some size ask of a machine."""

    up_to: float = Field(gt=0, description="billions of parameters of the largest model that this row is for")
    generate_gpus: int = Field(ge=1, description="GPUs that vLLM spreads the model over (tensor parallel)")
    train_gpus: int = Field(ge=1, description="GPUs that train it, with float32 weights and both moments of Adam")
    zero: Literal[0, 2, 3] = Field(
        description="DeepSpeed's ZeRO stage: what the GPUs of a training share, 0 nothing, 2 gradients and moments, "
        "3 weights too"
    )
    memory_gb: float = Field(gt=0, description="host memory a node; each of its processes reads all weights once")


class Hardware(Section):
    """What jobs ask for. It changes no result, so nothing reruns when it changes."""

    gpus_per_node: int = Field(8, ge=1, description="a training that asks for more takes several nodes")
    request: Literal["gpus", "gres"] = Field(
        "gpus", description="how Slurm is asked for them: `--gpus=4`, or `--gres=gpu:4` where a site wants that"
    )
    environment: Literal["worker-cpu", "worker-gpu"] = Field(
        "worker-cpu", description="which of `envs/` the jobs run in, for `snakemake --sdm conda`"
    )
    container: str | None = Field(
        None, description="image that the jobs run in, a `.sif` file for example, for `snakemake --sdm apptainer`"
    )
    rollout_memory: int = Field(
        30,
        ge=1,
        le=95,
        description="per cent of a GPU's memory for `grpo.rollouts_by: vllm`, free while the policy is updated",
    )
    sizes: list[Size] = Field(
        [
            Size(up_to=2, generate_gpus=1, train_gpus=1, zero=0, memory_gb=32),
            Size(up_to=5, generate_gpus=1, train_gpus=2, zero=2, memory_gb=64),
            Size(up_to=10, generate_gpus=1, train_gpus=4, zero=3, memory_gb=128),
            Size(up_to=20, generate_gpus=1, train_gpus=8, zero=3, memory_gb=384),
            Size(up_to=36, generate_gpus=2, train_gpus=16, zero=3, memory_gb=640),
            Size(up_to=80, generate_gpus=4, train_gpus=32, zero=3, memory_gb=1536),
        ],
        min_length=1,
        description="one row a size of model, the smallest first; made for GPUs of 80 GB",
    )

    @field_validator("sizes")
    @classmethod
    def _ascending(cls, value: list[Size]) -> list[Size]:
        if value != sorted(value, key=lambda size: size.up_to):
            raise ValueError("the rows must ascend by `up_to`")
        return value

    def of(self, billions: float) -> Size:
        """The row for a model; the last one for those that are larger than any."""
        return next((size for size in self.sizes if billions <= size.up_to), self.sizes[-1])
