"""Process reward model (paper 3.3.3): a model's weights and a two-logit head.

`R_phi = z1 - z0` is read at the last token of each step, `s = sigmoid(R_phi)` is the step's score. A trace is read
once, with all its steps, in the same rendering and with the same step splitter in training and in scoring.

Differs from the reference code: the head and the projector are part of the model (theirs were neither trained nor
saved).
"""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from agentark.engines import local_models
from agentark.training import packing, weights

HEAD_FILE = "head.safetensors"
PROJECTION_SIZE = 128


class Float32Linear(nn.Linear):
    """In float32, whatever its weights are in: bfloat16 has 256 steps between 0.5 and 1, so scores would tie.

    DeepSpeed makes all weights bfloat16, and gathers those that ZeRO-3 cut for the module that they belong to.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            return functional.linear(inputs.float(), self.weight.float(), self.bias.float())


class ProcessRewardModel(nn.Module):
    """A language model's backbone with two logits a step and, for `infonce`, a projection of it."""

    def __init__(self, backbone: PreTrainedModel, projects: bool = False) -> None:
        super().__init__()
        size = backbone.config.get_text_config().hidden_size
        self.backbone = backbone
        self.packs = packing.prepare(backbone.get_base_model() if isinstance(backbone, PeftModel) else backbone)
        """Whether it reads packed rows; if not, single traces."""
        self.head = Float32Linear(size, 2)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.projector = (
            nn.Sequential(Float32Linear(size, size), nn.GELU(), Float32Linear(size, PROJECTION_SIZE))
            if projects
            else None
        )

    def forward(self, input_ids: Tensor, step_tokens: Tensor, **places: Any) -> tuple[Tensor, Tensor | None]:
        """Rewards of steps, and their projections.

        Args:
            input_ids: (1, T).
            step_tokens: (S,), position of each step's last token.
            places: where the tokens of a packed row stand (`packing`).

        Returns:
            (S,) and (S, D), float32; no projections without a projector.
        """
        if not self.packs:
            if len(places["starts"]) > 2:
                raise ValueError("a model that reads no packed rows was given several traces")
            places = {}
        hidden = self.backbone(input_ids=input_ids, use_cache=False, **places).last_hidden_state
        at_steps = hidden[0, step_tokens]
        logits = self.head(at_steps)
        projected = None if self.projector is None else functional.normalize(self.projector(at_steps), dim=-1)
        return logits[..., 1] - logits[..., 0], projected

    def gradient_checkpointing_enable(self, **options: Any) -> None:
        """As the trainer asks it of transformers' models."""
        self.backbone.gradient_checkpointing_enable(**options)


def open_backbone(
    folder: Path, projects: bool = False, lora_rank: int | None = None
) -> tuple[ProcessRewardModel, torch.dtype]:
    """A fresh PRM on a student's weights, in float32, and the precision to save it in."""
    backbone = AutoModel.from_pretrained(folder, dtype="auto", use_safetensors=True, trust_remote_code=False)
    stored = torch.float32 if backbone.dtype == torch.float32 else torch.bfloat16
    backbone = weights.master_copy(backbone)
    if lora_rank:
        backbone = get_peft_model(backbone, weights.lora(lora_rank, task=None))
    return ProcessRewardModel(backbone, projects), stored


def save_prm(model: ProcessRewardModel, tokenizer: PreTrainedTokenizerBase, folder: Path, dtype: torch.dtype) -> None:
    """A self-contained folder, adapters merged; the head and the projector are small and stay in float32."""
    merged = model.backbone.merge_and_unload() if isinstance(model.backbone, PeftModel) else model.backbone
    merged.to(dtype).save_pretrained(folder)
    ours = {name: tensor.float().cpu() for name, tensor in model.state_dict().items() if "backbone." not in name}
    save_file(ours, folder / HEAD_FILE)
    tokenizer.save_pretrained(folder)


def load_prm(folder: Path) -> tuple[ProcessRewardModel, PreTrainedTokenizerBase]:
    """The PRM of a folder, on the accelerator if there is one, and its tokenizer."""
    ours = load_file(folder / HEAD_FILE)
    model, stored = open_backbone(folder, projects=any(name.startswith("projector.") for name in ours))
    if local_models.multiplies_bf16():
        model.backbone.to(stored)
    model.load_state_dict(ours, strict=False)
    return model.to(local_models.device()).eval(), local_models.open_tokenizer(folder)
