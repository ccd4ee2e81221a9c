"""Opening models and tokenizers from local folders, with errors a user can act on."""

import os
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from agentark.errors import UserError


def open_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The folder's tokenizer.

    Raises:
        UserError: the folder has no tokenizer or no chat template.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise UserError(f"{folder}: no tokenizer in this model folder; put its tokenizer files beside the weights")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.chat_template is None:
        raise UserError(
            f"{folder}: the tokenizer has no chat template; use the model's instruct version, "
            "or add a chat_template.jinja to the folder"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def open_model(folder: Path, dtype: torch.dtype | str = "auto", **options: Any) -> PreTrainedModel:
    """The folder's causal language model; safetensors only, no code from the folder is run."""
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, **options
    )


def device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # torchrun's number of this process on its node.
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def faster_dtype() -> torch.dtype:
    return torch.bfloat16 if multiplies_bf16() else torch.float32


def multiplies_bf16() -> bool:
    """Whether the hardware multiplies in bfloat16 faster than in float32.

    On Intel's processors that takes AMX, which virtual machines tend to hide: by their AVX512-BF16 alone, products
    take up to twice as long as in float32. Without either, bfloat16 is emulated.
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    on_cpu = torch.cpu.get_capabilities()
    if "Intel" in on_cpu.get("cpu_name", ""):
        return on_cpu.get("amx_bf16", False)
    return on_cpu.get("avx512_bf16", False)
