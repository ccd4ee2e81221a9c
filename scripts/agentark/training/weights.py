"""Weights in training: opened in float32, multiplied in bfloat16, saved for inference.

Weights that are themselves bfloat16 lose small updates (a step of 1e-6 is below their resolution), so the master
copy is float32 whatever the input; only products run in bfloat16, where the hardware is faster in it.
"""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase

from agentark.engines import local_models
from agentark.errors import UserError
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


def open_in_4bit(folder: Path) -> tuple[PreTrainedModel, torch.dtype]:
    """The model with its linear layers in 4 bits (QLoRA, arXiv 2305.14314), to be trained by adapters.

    Raises:
        UserError: bitsandbytes is not installed, or the weights would be shared out.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError("sft.load_in_4bit needs bitsandbytes, which is not installed: pip install bitsandbytes")
    if processes.zero_stage() == 3:
        raise UserError(
            "sft.load_in_4bit: weights in 4 bits cannot be shared out by ZeRO-3; write `zero: 0` for this size in "
            "hardware.sizes, and as few GPUs as they need"
        )
    dtype = local_models.faster_dtype()
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    model = local_models.open_model(
        folder, dtype, quantization_config=quantization, device_map={"": local_models.device()}
    )
    before = AutoConfig.from_pretrained(folder, trust_remote_code=False).dtype
    return model, torch.float32 if before in (None, torch.float32) else torch.bfloat16


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
        in_4bit = getattr(model.get_base_model(), "is_loaded_in_4bit", False)
        model = _out_of_4bit(model, dtype) if in_4bit else model.merge_and_unload()
    model.config.use_cache = True  # trainers turn it off, and students would be served without a cache
    # What a student was trained to end its turn with must end it in every engine.
    model.generation_config.eos_token_id = end_ids(model, tokenizer)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@torch.no_grad()
def _out_of_4bit(model: PeftModel, dtype: torch.dtype) -> PreTrainedModel:
    """What was trained: adapters on weights as 4 bits hold them, not on those that they were made from, added in
    float32.

    peft's own merging would round the sum to 4 bits, and most of what the adapter learnt away.
    """
    from bitsandbytes.functional import dequantize_4bit
    from peft.tuners.lora import Linear4bit

    base = model.get_base_model()
    whole = local_models.open_model(Path(base.name_or_path), dtype)
    for name, layer in base.named_modules():
        if isinstance(layer, Linear4bit):
            weight = layer.base_layer.weight
            merged = (
                dequantize_4bit(weight.data, weight.quant_state).float() + layer.get_delta_weight("default").float()
            )
            whole.get_submodule(name).weight.copy_(merged)
    return whole


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
