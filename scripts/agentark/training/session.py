"""A trainer's session: what it shows, when it saves, where an interrupted one goes on."""

import csv
import json
import math
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations import TensorBoardCallback, WandbCallback, is_wandb_available

from agentark.config.section import Section
from agentark.engines import local_models
from agentark.errors import UserError
from agentark.provenance import manifests
from agentark.records.files import atomic_path
from agentark.records.row import content_id
from agentark.running.deadline import Deadline, StoppedError
from agentark.running.ownership import own_folder
from agentark.running.progress import Progress, say
from agentark.training import processes

CHECKPOINTS = "checkpoints"

MINUTES_BETWEEN_CHECKPOINTS = 10.0
"""A checkpoint holds weights and both moments of Adam: for most of the demo's runs it would cost more than it saves."""


def trainer_options(checkpoints: Path, seed: int) -> dict[str, Any]:
    """Arguments that all our trainers share."""
    trained, part = _what(checkpoints)
    return {
        "output_dir": str(checkpoints),
        "seed": seed,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": local_models.multiplies_bf16(),
        "optim": "adamw_torch_fused",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "gradient_checkpointing": torch.cuda.is_available(),
        "logging_steps": 1,
        "save_strategy": "no",  # `Watch` asks for checkpoints by the clock
        "save_total_limit": 2,  # one to fall back to
        "report_to": "none",  # `reporters` says who
        "run_name": "/".join((str(trained), *part)),
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        **processes.options(),
    }


class Watch(TrainerCallback):
    """Prints progress and keeps the log rows; asks for a checkpoint every few minutes."""

    def __init__(self, stage: str, deadline: Deadline | None = None) -> None:
        self.stage = stage
        self.rows: list[dict[str, float]] = []
        self.deadline = deadline or Deadline()
        self.stopped: str | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # A resumed run counts from where it goes on, so that speed and time left are true.
        self._progress = Progress(self.stage, state.max_steps - state.global_step, "updates")
        self._saved = self._logged = time.monotonic()
        self._tokens = state.num_input_tokens_seen
        self.rows = [
            {key: value for key, value in row.items() if not isinstance(value, dict | list)}
            for row in state.log_history
            if "loss" in row
        ]

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._logged = time.monotonic()  # what was done between two passes is no update's time

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            return
        why = self.deadline.why_stop()
        due = time.monotonic() - self._saved > 60 * MINUTES_BETWEEN_CHECKPOINTS
        stop, save = processes.any_says(why is not None, due)
        if stop or save:
            self._saved = time.monotonic()
            control.should_save = True
        if stop:
            control.should_evaluate = False  # what is done is to be saved before the grace period ends
            self.stopped = why or "another process"
            control.should_training_stop = True

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        if "loss" not in logs:
            return
        if not math.isfinite(logs.get("grad_norm") or 0.0):
            # Before anything is saved: the last checkpoint is one of weights that are numbers.
            raise UserError(
                f"{self.stage}: the gradient of update {state.global_step} is no number; lower the learning rate"
            )
        tokens, self._tokens = state.num_input_tokens_seen - self._tokens, state.num_input_tokens_seen
        now = time.monotonic()
        seconds, self._logged = now - self._logged, now
        # Where the trainer does not count, as many in every process: updates of equal size are shared out evenly.
        spent = {"tokens_read": logs.get("tokens_read", tokens * processes.count()), "seconds": seconds}
        # In the trainer's history too, which a resumed run has its first rows from.
        state.log_history[-1] |= spent
        self.rows.append({**logs, **spent, "step": state.global_step})
        reward = "" if logs.get("reward") is None else f"  reward {logs['reward']:.3f}"
        self._progress.update(tokens=int(spent["tokens_read"]), note=f"loss {logs['loss']:.4f}{reward}")


def checkpoint_folder(manifest: Path, stage: str, settings: Section, seed: int, parents: list[Path]) -> Path:
    """A folder under `checkpoints/`, beside the manifest to be, for exactly this work: a run with other settings, data
    or code must not go on from it.

    Waits while another job trains there.
    """
    root = manifest.with_name(CHECKPOINTS)
    if processes.is_first():
        own_folder(root)
    identity = content_id(
        manifests.code_digest(stage), settings.model_dump(mode="json"), seed, *map(manifests.file_sha256, parents)
    )
    return root / identity


def reporters(checkpoints: Path, update: int) -> list[TrainerCallback]:
    """Who else is told what is logged: TensorBoard where the config asks for it (`tensorboard`), Weights & Biases where
    the user's environment does.

    Args:
        update: the one that the training goes on from; what an earlier attempt told of later ones is taken back.
    """
    if not processes.is_first():
        return []
    found: list[TrainerCallback] = []
    if os.environ.get("AGENTARK_TENSORBOARD"):
        from tensorboardX import SummaryWriter

        trained, part = _what(checkpoints)
        folder = trained.joinpath("tensorboard", *part)
        if update == 0:
            shutil.rmtree(folder, ignore_errors=True)
        found.append(TensorBoardCallback(SummaryWriter(str(folder), purge_step=update + 1)))
    if os.environ.get("WANDB_PROJECT"):
        if is_wandb_available():
            found.append(WandbCallback())
        else:
            say("wandb        WANDB_PROJECT is set, but wandb is not installed: nothing is sent there")
    return found


def _what(checkpoints: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder of the model whose checkpoints these are, and the part of its training; see `checkpoint_folder`."""
    root = next((folder for folder in checkpoints.parents if folder.name == CHECKPOINTS), checkpoints.parent)
    return root.parent, checkpoints.relative_to(root).parts[1:]


def train(trainer: Trainer, watch: Watch, checkpoints: Path) -> None:
    """Train, or go on from the last whole checkpoint.

    The trainer writes its state last, so one without it was not written to its end.

    Raises:
        StoppedError: the deadline came first; what was done is saved.
    """
    trainer.remove_callback(PrinterCallback)
    # One process looks, and tells the others: it may throw one away.
    (update,) = processes.largest(_last_whole(checkpoints, watch.stage) if processes.is_first() else 0)
    told = reporters(checkpoints, update)
    for callback in [*told, watch]:
        trainer.add_callback(callback)
    newest = checkpoints / f"checkpoint-{update}" if update else None
    if newest:
        say(f"{watch.stage:<12} goes on from update {update}")
    trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    if any(isinstance(callback, WandbCallback) for callback in told):
        import wandb

        wandb.finish()  # the second stage of a reward model is a run of its own
    if watch.stopped:
        done = f"{trainer.state.global_step} of {trainer.state.max_steps} updates"
        raise StoppedError(f"stopped by {watch.stopped} after {done}, which are saved; the same command goes on")


def _last_whole(checkpoints: Path, stage: str) -> int:
    """The update of the last checkpoint that can be read; 0 = there is none."""
    written = [int(path.parent.name.rpartition("-")[2]) for path in checkpoints.glob("checkpoint-*/trainer_state.json")]
    for update in sorted(written, reverse=True):
        if _can_be_read(checkpoints / f"checkpoint-{update}"):
            return update
        say(f"{stage:<12} the checkpoint of update {update} is damaged, and thrown away")
        shutil.rmtree(checkpoints / f"checkpoint-{update}")
    return 0


def _can_be_read(checkpoint: Path) -> bool:
    """Whether no file ends before its end, as a full disk and a dead node leave them."""
    try:
        for path in checkpoint.rglob("*"):
            if path.suffix == ".safetensors":
                with safe_open(path, "pt"):
                    pass
            elif path.suffix in (".pt", ".pth", ".bin"):
                ZipFile(path).close()
            elif path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, BadZipFile, SafetensorError):
        return False
    return True


def write_metrics(path: Path, rows: list[dict[str, float]]) -> None:
    """One line an update, all that the trainer logged."""
    columns = ["step", *sorted({key for row in rows for key in row} - {"step"})]
    with atomic_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        writer.writerows(rows)


def first_and_last(rows: list[dict[str, float]], keys: list[str]) -> dict[str, dict[str, float]]:
    """Means over the first and the last tenth of the updates, for the manifest; without what neither has."""
    tenth = max(1, len(rows) // 10)
    found: dict[str, dict[str, float]] = {}
    for key in keys:
        for name, part in (("first", rows[:tenth]), ("last", rows[-tenth:])):
            if values := [row[key] for row in part if row.get(key) is not None]:
                found.setdefault(key, {})[name] = round(statistics.fmean(values), 4)
    return found
