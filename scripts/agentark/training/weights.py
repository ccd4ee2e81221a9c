"""Weights in training: opened in float32, multiplied in bfloat16, saved for inference.

Weights that are themselves bfloat16 lose small updates (a step of 1e-6 is below their resolution), so the master
copy is float32 whatever the input; only products run in bfloat16, where the hardware is faster in it.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agentark.engines import local_models
from agentark.records.files import atomic_path
from agentark.training import processes
from agentark.training.rendering import end_ids


def autocast() -> torch.autocast:
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=local_models.multiplies_bf16())


def open_for_training(folder: Path) -> tuple[PreTrainedModel, torch.dtype]:
    """The model in float32, and the precision to save it in: that of its weights, bfloat16 for the halves."""
    model = local_models.open_model(folder)
    stored = torch.float32 if model.dtype == torch.float32 else torch.bfloat16
    return master_copy(model), stored


def master_copy(model: PreTrainedModel) -> PreTrainedModel:
    """In float32; DeepSpeed makes its own master copy, in parts, so that its model stays as it is."""
    return model if processes.zero_stage() else model.float()


def lora(rank: int | None, task: str | None = "CAUSAL_LM") -> LoraConfig | None:
    """All linear layers but the output head, which TRL reads directly."""
    if rank is None:
        return None
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type=task)


def save(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, folder: Path, dtype: torch.dtype
) -> None:
    """Write a self-contained model folder, adapters merged (in float32, before rounding), tokenizer and template in."""
    if isinstance(model, PeftModel):
        model = model.merge_and_unload()
    model.config.use_cache = True  # trainers turn it off, and students would be served without a cache
    # What a student was trained to end its turn with must end it in every engine.
    model.generation_config.eos_token_id = end_ids(model, tokenizer)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def keep(model: nn.Module, path: Path) -> None:
    """Write what a training moves, adapters alone where there are some, for `restore` to come back to."""
    with processes.gathered(model) as writes:
        if writes:
            moved = {name: tensor.detach().cpu() for name, tensor in model.named_parameters() if tensor.requires_grad}
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as partial:
                save_file(moved, partial)


@torch.no_grad()
def restore(model: nn.Module, path: Path) -> None:
    """Set a model's weights to those that `keep` wrote; within `processes.gathered`, where each holds a part."""
    parameters = dict(model.named_parameters())
    for name, kept in load_file(path).items():
        parameters[name].copy_(kept)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill; it takes the place of `folder` when the block ends well and vanishes when not."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
