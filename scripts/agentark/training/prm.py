"""Process reward model (paper 3.3.3): a model's weights and a two-logit head.

`R_phi = z1 - z0` is read at the last token of each step, `s = sigmoid(R_phi)` is the step's score. A trace is read
once, with all its steps, in the same rendering and with the same step splitter in training and in scoring.

Differs from the reference code: the head and the projector are part of the model (theirs were neither trained nor
saved).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, Cache, PreTrainedModel, PreTrainedTokenizerBase

from agentark.engines import local_models
from agentark.records.questions import GoldType
from agentark.training import weights
from agentark.training.rendering import render

HEAD_FILE = "head.safetensors"
PROJECTION_SIZE = 128


class Asked(Protocol):
    """Any row that asks a question: `Question`, `RlPrompt`, `StepExample`."""

    question: str
    choices: list[str] | None
    gold_type: GoldType


class ProcessRewardModel(nn.Module):
    """A language model's backbone with two logits a step and, for `infonce`, a projection of it."""

    def __init__(self, backbone: PreTrainedModel, projects: bool = False) -> None:
        super().__init__()
        size = backbone.config.get_text_config().hidden_size
        self.backbone = backbone
        self.head = nn.Linear(size, 2)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.projector = (
            nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, PROJECTION_SIZE)) if projects else None
        )

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        step_tokens: Tensor,
        past: Cache | None = None,
        position_ids: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Rewards of steps, and their projections.

        Args:
            input_ids: (B, T).
            attention_mask: (B, P + T), 0 on padding.
            step_tokens: (B, S), position of each step's last token; anything valid on padding.
            past: what the backbone made of the P tokens before these, None = there are none.
            position_ids: (B, T), where these stand behind them.

        Returns:
            (B, S) and (B, S, D), float32; no projections without a projector.
        """
        hidden = self.backbone(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past,
            use_cache=past is not None,
        ).last_hidden_state
        at_steps = hidden.gather(1, step_tokens.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
        # bfloat16 has 256 steps between 0.5 and 1: scores would tie.
        with torch.autocast(hidden.device.type, enabled=False):
            logits = self.head(at_steps.float())
            projected = (
                None if self.projector is None else functional.normalize(self.projector(at_steps.float()), dim=-1)
            )
        return logits[..., 1] - logits[..., 0], projected

    def gradient_checkpointing_enable(self, **options: Any) -> None:
        """As the trainer asks it of transformers' models."""
        self.backbone.gradient_checkpointing_enable(**options)


@dataclass(frozen=True)
class EncodedTrace:
    """Tokens of one trace, and of each of its steps the first and the last one."""

    input_ids: list[int]
    steps: list[tuple[int, int]]
    n_prompt: int
    """Tokens of the prompt alone, at the beginning."""

    @property
    def step_tokens(self) -> list[int]:
        return [last for _, last in self.steps]

    @property
    def key(self) -> Hashable:
        """Equal for traces that read the same."""
        return tuple(self.input_ids), tuple(self.steps)

    def part(self, start: int, end: int, steps: Sequence[tuple[int, int]], n_prompt: int = 0) -> "EncodedTrace":
        """The tokens [start, end) with steps of theirs, behind so many tokens of the prompt's end."""
        prompt = self.input_ids[self.n_prompt - n_prompt : self.n_prompt]
        moved = [(n_prompt + max(first, start) - start, n_prompt + last - start) for first, last in steps]
        return EncodedTrace(prompt + self.input_ids[start:end], moved, n_prompt)


def encode(
    tokenizer: PreTrainedTokenizerBase, asked: Asked, text: str, steps: Sequence[tuple[int, int]]
) -> EncodedTrace:
    """A trace as the model reads it; `steps` are spans [start, end) of characters of its text."""
    rendered = render(tokenizer, asked.question, asked.choices, asked.gold_type, text)
    tokens = [(rendered.token_at(start), rendered.token_at(end - 1)) for start, end in steps]
    return EncodedTrace(rendered.input_ids, tokens, rendered.n_prompt)


def pad(traces: Sequence[EncodedTrace], pad_token_id: int) -> dict[str, Tensor]:
    """The model's inputs, padded on the right; `step_tokens` is padded with 0."""

    def padded(rows: list[list[int]], value: int) -> Tensor:
        return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)

    return {
        "input_ids": padded([trace.input_ids for trace in traces], pad_token_id),
        "attention_mask": padded([[1] * len(trace.input_ids) for trace in traces], 0),
        "step_tokens": padded([trace.step_tokens for trace in traces], 0),
    }


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
