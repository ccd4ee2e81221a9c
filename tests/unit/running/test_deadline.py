"""A training that must stop saves, says so by its exit status, and goes on to the same end."""

import os
import signal
import stat
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from agentark.config.sft import Sft
from agentark.provenance import manifests
from agentark.records.files import write_rows, write_text
from agentark.running import deadline
from agentark.stages import sft
from agentark.training import session
from tests import tiny_model
from tests.unit.training.test_sft import example


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1-02:03:04", 93_784), ("2:03:04", 7_384), ("3:04", 184), ("0:07", 7), ("UNLIMITED", None), ("", None)],
)
def test_slurms_times_are_read(text: str, seconds: float | None) -> None:
    assert deadline.parsed(text) == seconds


def test_outside_slurm_there_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert deadline.seconds_left() is None
    assert deadline.Deadline().why_stop() is None


def test_a_job_stops_before_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    clock = deadline.Deadline(1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: now + 890)
    assert clock.why_stop() is None
    monkeypatch.setattr(time, "monotonic", lambda: now + 910)
    assert clock.why_stop() == "time limit"


@pytest.fixture
def train(tmp_path: Path):
    """Runs the program that trains an R-SFT student, 6 updates, in a folder of its own."""
    folder = tiny_model.build(tmp_path / "base" / "model")
    model = folder.parent / "manifest.json"
    manifests.write_manifest(model, kind="model", stage="models", settings={}, parents=[], folder=folder)
    settings = Sft(batch_size=2, micro_batch_size=2, epochs=2, max_length=128)
    write_text(tmp_path / "sft.json", settings.model_dump_json())
    write_rows(tmp_path / "set.jsonl", [example(i) for i in range(6)])
    write_rows(tmp_path / "validation.jsonl", [])

    def run(where: str) -> int:
        out = tmp_path / where
        return sft.main(
            f"--config {tmp_path}/sft.json --model {model} --set {tmp_path}/set.jsonl "
            f"--validation {tmp_path}/validation.jsonl --seed 0 "
            f"--manifest {out}/manifest.json --log {out}/log".split()
        )

    run.folder = tmp_path
    return run


def weights_of(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model" / "model.safetensors")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_a_training_that_goes_on(
    train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    assert train("straight") == 0

    def told(watch, args, state, control, **_):
        if state.global_step == 3:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(session.Watch, "on_step_begin", told)
        assert train("halted") == deadline.STOPPED
    halted = train.folder / "halted"
    assert not (halted / "manifest.json").exists()
    assert f"stopped by {number.name} after 4 of 6 updates" in capsys.readouterr().err
    assert train("halted") == 0
    assert "goes on from update 4" in capsys.readouterr().err
    straight = weights_of(train.folder / "straight")
    torch.testing.assert_close(weights_of(halted), straight)


def test_slurms_limit_stops_a_training(
    train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    squeue = train.folder / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text('#!/bin/sh\n[ "$3" = 17 ] && echo 0:05\n')
    squeue.chmod(squeue.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert train("late") == deadline.STOPPED
    assert "stopped by time limit after 1 of 6 updates" in capsys.readouterr().err
