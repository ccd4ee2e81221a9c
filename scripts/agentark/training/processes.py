"""One training in several processes: torchrun starts one a device, all with the same arguments.

The number of processes changes no result but the order of sums: an update has the same examples, however they are
shared. Only an epoch's last update, where it is not full, is filled up with examples from its beginning.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn

import torch
from torch import distributed, nn

from agentark.errors import UserError


def count() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def is_first() -> bool:
    """Whether this is the process that prints and writes."""
    return int(os.environ.get("RANK", 0)) == 0


def any_says(*flags: bool) -> list[bool]:
    """Each flag as true as in any process, so that all of them stop and save at the same update."""
    return [bool(flag) for flag in largest(*flags)]


def largest(*numbers: int) -> list[int]:
    """Each number as large as in any process."""
    if not distributed.is_initialized():
        return list(numbers)
    where = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    together = torch.tensor(numbers, dtype=torch.int32, device=where)
    distributed.all_reduce(together, distributed.ReduceOp.MAX)
    return together.tolist()


def shares(batch_size: int, wanted: int, key: str) -> dict[str, int]:
    """How an update's batch is cut: examples a forward pass, and passes a process.

    Args:
        batch_size: examples an update, over all processes.
        wanted: examples a forward pass; the largest divisor that is not above it is taken, so that it never changes
            the result.
        key: the config key of the batch size, for the message.

    Raises:
        UserError: the batch cannot be shared evenly.
    """
    of_one, rest = divmod(batch_size, count())
    if rest or not of_one:
        raise UserError(
            f"{key}: an update of {batch_size} cannot be shared by {count()} GPUs; make it a multiple of {count()}, or "
            "lower train_gpus in hardware.sizes"
        )
    size = next(size for size in range(min(wanted, of_one), 0, -1) if of_one % size == 0)
    return {"per_device_train_batch_size": size, "gradient_accumulation_steps": of_one // size}


def options() -> dict[str, Any]:
    """The trainer's arguments for several processes; none for one."""
    if count() == 1:
        return {}
    chosen: dict[str, Any] = {"ddp_find_unused_parameters": False}
    if not torch.cuda.is_available():
        chosen["ddp_backend"] = "gloo"
    if stage := zero_stage():
        chosen["deepspeed"] = {
            "zero_optimization": {"stage": stage, "overlap_comm": True, "contiguous_gradients": True},
            "bf16": {"enabled": "auto"},
            "gradient_clipping": "auto",
            "train_batch_size": "auto",
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_accumulation_steps": "auto",
            # torch's fused AdamW is not on DeepSpeed's list, and the update must be the same as on one GPU.
            "zero_allow_untested_optimizer": True,
        }
    return chosen


def leave(status: int) -> NoReturn:
    """End this process.

    Where torch.distributed is at work, for several processes or for vLLM, it ends at once: Python's own way waits for
    no thread of gloo's, and one that lets go of a tensor while the interpreter is taken down aborts the process,
    however well its work went (pytorch/pytorch#179291).
    """
    if count() == 1 and not distributed.is_initialized():
        raise SystemExit(status)
    if status == 0 and distributed.is_initialized():
        distributed.destroy_process_group()  # waits for the others, which a failure might do for ever
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def zero_stage() -> int:
    """DeepSpeed's ZeRO stage, as the launcher says; 0 = every process holds all."""
    return int(os.environ.get("AGENTARK_ZERO", 0)) if count() > 1 else 0


@contextmanager
def gathered(model: nn.Module) -> Iterator[bool]:
    """All weights in every process, of which each may hold a part; gives whether this is the one that writes."""
    parts = nullcontext()
    if zero_stage() == 3:
        import deepspeed

        parts = deepspeed.zero.GatheredParameters(list(model.parameters()))
    with parts:
        yield is_first()
