"""The stage that trains by R-SFT and DA, as Snakemake starts it, and the table of its trainings."""

import json
import signal
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from tensorboardX.proto.event_pb2 import Event
from transformers import TrainerCallback

from agentark.engines.local_models import open_model, open_tokenizer
from agentark.provenance import manifests
from agentark.records.files import write_rows, write_text
from agentark.running.deadline import STOPPED
from agentark.stages import sft as program
from agentark.stages import summarise_sft
from agentark.training import session, sft, weights
from tests.unit.training.test_sft import asked, example, settings, unanswered


def manifest(folder):
    path = folder.parent / "manifest.json"
    manifests.write_manifest(path, kind="model", stage="sft", settings={}, parents=[], folder=folder)
    return path


def arguments(folder, tmp_path, examples, chosen, out=None, others=()) -> list[str]:
    write_text(tmp_path / "sft.json", chosen.model_dump_json())
    sets = [tmp_path / f"{name}.jsonl" for name in ("set", *(["others"] if others else []))]
    for path, rows in zip(sets, (examples, others), strict=False):
        write_rows(path, rows)
    write_rows(tmp_path / "validation.jsonl", [asked(i) for i in range(chosen.validation_questions or 0)])
    return [
        *("--config", str(tmp_path / "sft.json"), "--model", str(manifest(folder))),
        *("--set", *map(str, sets), "--validation", str(tmp_path / "validation.jsonl"), "--seed", "0"),
        *("--manifest", str(out or tmp_path / "out" / "manifest.json")),
    ]


def run(folder, tmp_path, examples, chosen, out=None) -> int:
    return program.main(arguments(folder, tmp_path, examples, chosen, out))


def test_tensorboard_is_told_every_update_when_it_is_asked_for(folder, tmp_path, monkeypatch):
    assert run(folder, tmp_path, [example(i) for i in range(6)], settings()) == 0
    assert not (tmp_path / "out" / "tensorboard").exists()
    monkeypatch.setenv("AGENTARK_TENSORBOARD", "1")
    for _ in range(2):  # another training takes the place of the one before
        assert run(folder, tmp_path, [example(i) for i in range(6)], settings()) == 0
    (file,) = (tmp_path / "out" / "tensorboard").glob("events.*")
    content, events = file.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        events.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    told = {(value.tag, event.step): value.simple_value for event in events for value in event.summary.value}
    logged = pd.read_csv(tmp_path / "out" / "metrics.csv").set_index("step")["loss"]
    assert {step: told["train/loss", step] for step in (1, 2, 3, 4)} == pytest.approx(logged.to_dict(), rel=1e-5)


def test_weights_and_biases_is_told_when_the_environment_asks_for_it(folder, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("WANDB_PROJECT", "sums")
    monkeypatch.setattr(session, "is_wandb_available", lambda: False)
    assert run(folder, tmp_path, [example(i) for i in range(6)], settings()) == 0
    assert "wandb is not installed" in capfd.readouterr().err
    told = []

    class Told(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            told.append(logs)

    monkeypatch.setattr(session, "WandbCallback", Told)
    monkeypatch.setattr(session, "is_wandb_available", lambda: True)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(finish=lambda: told.append({"finished": True})))
    assert run(folder, tmp_path, [example(i) for i in range(6)], settings(), tmp_path / "told" / "manifest.json") == 0
    assert sum("loss" in logs for logs in told) == 4
    assert "finished" in told[-1]


TRAINS = """
import os, sys
from agentark.stages import sft as program
from agentark.training import packing, session

session.MINUTES_BETWEEN_CHECKPOINTS = 0.0
told = int(sys.argv[1])

def on_step_begin(watch, args, state, control, model=None, **_):
    assert packing.packs(model)
    if told and state.global_step == 3:
        os.kill(os.getpid(), told)

session.Watch.on_step_begin = on_step_begin
sys.exit(program.main(sys.argv[2:]))
"""
"""The stage as Snakemake starts it, with a checkpoint after each update, told something in the middle."""


@pytest.mark.parametrize(("told", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, STOPPED)])
def test_a_killed_process_goes_on_to_the_same_weights(folder, tmp_path, told, status):
    examples = [example(i) for i in range(12)]

    def train(number: int, out: Path) -> int:
        command = [sys.executable, "-c", TRAINS, str(int(number))]
        return subprocess.run([*command, *arguments(folder, tmp_path, examples, settings(), out)]).returncode

    broken, straight = (tmp_path / name / "manifest.json" for name in ("broken", "straight"))
    assert train(told, broken) == status
    assert list(broken.parent.glob("checkpoints/*/checkpoint-*"))
    assert not broken.exists()
    assert train(0, broken) == train(0, straight) == 0
    ours, theirs = (path.with_name("model") / "model.safetensors" for path in (broken, straight))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_program_writes_a_self_contained_student(folder, tmp_path, lora_rank):
    assert run(folder, tmp_path, [example(i) for i in range(6)], settings(lora_rank=lora_rank)) == 0
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert written["facts"]["used"] == 6
    assert written["facts"]["updates"] == 4
    assert {Path(parent).name for parent in written["parents"]} == {"manifest.json", "set.jsonl"}
    student = tmp_path / "out" / "model"
    assert set(written["files"]) == {file.name for file in student.iterdir()}
    assert not any("adapter" in name for name in written["files"])
    assert open_tokenizer(student).chat_template
    before, after = open_model(folder), open_model(student)
    assert after.dtype == before.dtype
    assert after.config.use_cache
    moved = [not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert any(moved)
    assert not (tmp_path / "out" / "checkpoints").exists()
    assert len((tmp_path / "out" / "metrics.csv").read_text().splitlines()) == 5


def test_a_mixture_is_the_sets_of_several_teachers(folder, tmp_path):
    own, others = [example(i) for i in range(4)], [example(i) for i in range(2, 5)]
    assert program.main(arguments(folder, tmp_path, own, settings(), others=others)) == 0
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (written["facts"]["used"], written["facts"]["questions"]) == (7, 5)
    rows, _ = sft.encode_all(others, open_tokenizer(folder), settings().max_length)
    learnt = settings().epochs * sum(sft.n_trained(row, settings()) for row in rows)
    assert written["facts"]["loss_tokens_of_other_teachers"] == learnt < written["facts"]["loss_tokens"]
    assert "other_teachers" not in written["settings"]
    assert {Path(parent).name for parent in written["parents"]} == {"manifest.json", "set.jsonl", "others.jsonl"}


def test_the_study_has_a_line_and_a_curve_for_each_student(folder, tmp_path):
    students = [Path("students/rsft/teacher/sums/tiny/0"), Path("variants/more/students/rsft/teacher/sums/tiny/0")]
    for student, budget, validation in zip(students, (None, 18), (None, 2), strict=True):
        place = tmp_path / "run" / student
        examples = [example(i) for i in range(6)] + [unanswered()]
        chosen = settings(epochs=1, examples=budget, validation_questions=validation)
        assert run(folder, tmp_path, examples, chosen, place / "manifest.json") == 0
    files = {"--out": "sft.csv", "--curves": "curves.csv", "--figure": "sft.svg"}
    given = [text for option, file in files.items() for text in (option, str(tmp_path / file))]
    manifests_of = [str(tmp_path / "run" / student / "manifest.json") for student in students]
    assert summarise_sft.main(["--students", *manifests_of, *given]) == 0
    table, curves = pd.read_csv(tmp_path / "sft.csv"), pd.read_csv(tmp_path / "curves.csv")
    columns = ["variant", "recipe", "budget", "questions", "rows", "updates", "examples", "passes"]
    assert table[columns].values.tolist() == [
        ["main", "rsft", "passes", 6, 6, 2, 6, 1.0],
        ["more", "rsft", "examples", 6, 6, 6, 18, 3.0],
    ]
    assert table["loss_tokens"][1] == 3 * table["loss_tokens"][0] > 0
    assert curves.groupby("variant")["step"].apply(list).to_dict() == {"main": [1, 2], "more": [0, 1, 2, 3, 4, 5, 6]}
    assert (curves.loc[curves["step"] > 0, ["tokens_read", "seconds", "nll_answer", "grad_norm"]] > 0).all().all()
    assert curves.loc[curves["validation_accuracy"].notna(), "step"].tolist() == [0, 2, 4, 6]
    assert table["validation_last"].isna().tolist() == [True, False]
    assert "<svg" in (tmp_path / "sft.svg").read_text()


def test_program_trains_in_4_bits_or_says_what_is_missing(folder, tmp_path, monkeypatch, capfd):
    chosen = settings(lora_rank=2, load_in_4bit=True)
    assert run(folder, tmp_path, [example(i) for i in range(6)], chosen) == 0
    assert not any("4bit" in str(value) for value in json.loads((tmp_path / "out/model/config.json").read_text()))
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    assert run(folder, tmp_path, [example(i) for i in range(6)], chosen, tmp_path / "other" / "manifest.json") == 1
    assert "needs bitsandbytes, which is not installed" in capfd.readouterr().err


def test_program_says_why_there_is_nothing_to_train_on(folder, tmp_path, capfd):
    assert run(folder, tmp_path, [], settings()) == 1
    assert "no example to train on" in capfd.readouterr().err
    assert run(folder, tmp_path, [example(1)], settings(max_length=16)) == 1
    assert "raise sft.max_length" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
