"""A policy that games a broken reward model is stopped, and goes back to what it was at its best."""

import csv
import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from agentark.config.grpo import Grpo, Guards
from agentark.engines.local_models import open_model
from agentark.provenance import manifests
from agentark.records.files import write_rows, write_text
from agentark.records.questions import Question
from agentark.records.sets import RlPrompt
from agentark.stages import grpo as program
from agentark.stages import summarise_pad
from agentark.training import rollout_rewards, weights
from agentark.training.guards import Answer, Validation, distinct_4_grams, why_stop
from agentark.training.rendering import render

pytestmark = pytest.mark.usefixtures("float32")

START = Validation(step=0, questions=100, correct=0.5, process=0.2, tokens=20, steps=2, distinct=1.0, kl=0.0)


def after(*changes: dict) -> list[Validation]:
    return [START, *(replace(START, step=10 * n, **change) for n, change in enumerate(changes, start=1))]


def test_a_policy_that_wavers_within_chance_goes_on():
    """Of 100 questions, half of them right, two validations differ by 14 points once in twenty times."""
    assert why_stop(after({"correct": 0.37, "process": 0.9}, {"correct": 0.40, "process": 0.9}), Guards()) is None
    assert why_stop(after({"correct": 0.55}, {"correct": 0.42}, {"correct": 0.42}), Guards()) is None


def test_fewer_right_answers_stop_it_when_they_stay_fewer():
    fallen = after({"correct": 0.2, "process": 0.6}, {"correct": 0.1, "process": 0.8})
    assert why_stop(fallen[:2], Guards()) is None
    assert why_stop(fallen, Guards()) == (
        "validation accuracy fell from 50.0% at update 0 to 10.0%, while the process reward rose: it is being gamed"
    )
    assert why_stop(fallen[:2], Guards(patience=1)) is not None
    unrewarded = after({"correct": 0.2, "process": 0.1}, {"correct": 0.1, "process": 0.1})
    assert why_stop(unrewarded, Guards()) == "validation accuracy fell from 50.0% at update 0 to 10.0%"
    control = [replace(each, process=None) for each in fallen]
    assert why_stop(control, Guards()) == "validation accuracy fell from 50.0% at update 0 to 10.0%"


def test_one_wrong_answer_among_many_is_no_sign():
    perfect = replace(START, questions=128, correct=1.0)
    slips = [replace(perfect, step=10 * n, correct=127 / 128) for n in (1, 2, 3)]
    assert why_stop([perfect, *slips], Guards()) is None
    falls = [replace(perfect, step=10 * n, correct=0.8) for n in (1, 2)]
    assert why_stop([perfect, *falls], Guards()) is not None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kl": 1.2}, "KL to the start policy is 1.2 a token, above grpo.guards.max_kl 1"),
        ({"distinct": 0.4}, "completions repeat themselves: 40% of their 4-grams differ, 100% at first"),
        ({"tokens": 61}, "completions went from 20.0 to 61.0 tokens"),
        ({"tokens": 5}, "completions went from 20.0 to 5.0 tokens"),
        ({"steps": 7}, "completions went from 2.0 to 7.0 steps"),
        ({"kl": None, "tokens": 30}, None),
    ],
)
def test_other_signs_stop_it_at_once(change, says):
    assert why_stop(after(change), Guards()) == says


def test_distinct_4_grams():
    assert distinct_4_grams([1, 2, 3, 4, 5]) == 1.0
    assert distinct_4_grams([1] * 8) == pytest.approx(1 / 5)
    assert distinct_4_grams([1, 2]) == 1.0


def test_a_validation_is_the_mean_of_its_answers():
    answers = [Answer("a", "?", "x", [1] * 8, 1, True, 0.5), Answer("b", "?", "y", [1, 2], 2, False, 0.1)]
    assert Validation.of(7, answers, kl=0.1) == Validation(7, 2, 0.5, pytest.approx(0.3), 5, 1.5, 0.6, 0.1)


def asked(i: int) -> dict:
    """Four questions, over and over."""
    x = i % 4
    return {"question": f"What is {x} + 5?", "gold": str(x + 5), "gold_type": "number"}


def question(i: int) -> Question:
    return Question(question_id=f"v{i}", dataset="sums", split="validation", **asked(i))


VALIDATION = [question(i) for i in range(64)]
PROMPTS = [RlPrompt(question_id=f"p{i}", choices=None, pass_rate=0.5, **asked(i)) for i in range(4)]


@pytest.fixture(scope="module")
def policy(folder, tokenizer, tmp_path_factory):
    """A tiny model that has learnt most of the answers."""
    model = open_model(folder).float()
    rendered = [
        render(tokenizer, q.question, None, "number", f"first add {q.gold}. The answer is {q.gold}.")
        for q in VALIDATION[:4]
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    torch.manual_seed(0)
    for _ in range(100):
        for one in rendered:
            ids = torch.tensor([[*one.input_ids, tokenizer.eos_token_id]])
            labels = ids.clone()
            labels[:, : one.n_prompt] = -100
            loss = model(input_ids=ids, labels=labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    target = tmp_path_factory.mktemp("policy") / "model"
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    manifests.write_manifest(
        target.parent / "manifest.json", kind="model", stage="models", settings={}, parents=[], folder=target
    )
    return target


def settings(**changes) -> Grpo:
    hacked = {
        "learning_rate": 2e-3,
        "beta": 0.01,
        "steps": 40,
        "prompts_per_step": 4,
        "group_size": 8,
        "micro_batch_size": 32,
        "max_tokens": 24,
        "validation_every": 5,
        "validation_questions": 64,
    }
    return Grpo(**hacked | changes)


STUDENT = "students/rsft-pad/teacher/sums/tiny/0"


def summarised(tmp_path) -> tuple[str, pd.DataFrame, pd.DataFrame, str]:
    """What the study says of its policies: text, table, curves, page."""
    files = {"--out": "pad.csv", "--curves": "curves.csv", "--text": "pad.txt", "--figure": "pad.svg"}
    files |= {"--samples": "p.html"}
    given = [text for option, file in files.items() for text in (option, str(tmp_path / file))]
    assert summarise_pad.main(["--students", str(tmp_path / STUDENT / "manifest.json"), *given]) == 0
    assert "<svg" in (tmp_path / "pad.svg").read_text()
    tables = [pd.read_csv(tmp_path / name) for name in ("pad.csv", "curves.csv")]
    return (tmp_path / "pad.txt").read_text(), *tables, (tmp_path / "p.html").read_text()


def broken(completion_ids, **_):
    """A reward model that rewards repeated text."""
    return [1 - len(set(ids)) / max(len(ids), 1) for ids in completion_ids]


def train(policy, tmp_path, monkeypatch, chosen) -> tuple[dict, list[dict]]:
    """The manifest's facts and the validations of the stage, with a broken reward model."""
    graded = rollout_rewards.reward_functions
    monkeypatch.setattr(program, "reward_functions", lambda *given: {"process": broken} | graded(*given))
    write_text(tmp_path / "grpo.json", chosen.model_dump_json())
    write_rows(tmp_path / "set.jsonl", PROMPTS)
    write_rows(tmp_path / "validation.jsonl", VALIDATION)
    files = {
        "--config": "grpo.json",
        "--set": "set.jsonl",
        "--validation": "validation.jsonl",
        "--manifest": f"{STUDENT}/manifest.json",
    }
    given = [text for option, file in files.items() for text in (option, str(tmp_path / file))]
    assert program.main([*given, "--policy", str(policy.parent / "manifest.json"), "--seed", "0"]) == 0
    path, seen = tmp_path / STUDENT / "validation.csv", []
    if path.exists():
        with path.open() as handle:
            seen = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(handle)]
    return json.loads((tmp_path / STUDENT / "manifest.json").read_text())["facts"], seen


def test_without_a_guard_a_broken_reward_ruins_the_policy(policy, tmp_path, monkeypatch):
    facts, seen = train(policy, tmp_path, monkeypatch, settings(guards=None))
    assert (facts["stopped"], facts["policy_of_update"], facts["updates"]) == (None, 40, 40)
    assert seen[0]["correct"] > 0.5
    assert seen[-1]["correct"] < 0.1
    assert seen[-1]["process"] > seen[0]["process"] + 0.3


@pytest.mark.parametrize("lora_rank", [None, 8])
def test_hacking_is_caught_and_undone(policy, tmp_path, monkeypatch, lora_rank):
    rate = 2e-2 if lora_rank else 2e-3
    restore, kept = weights.restore, {}

    def watched(model, path):
        kept.update(load_file(path))
        restore(model, path)

    monkeypatch.setattr(weights, "restore", watched)
    facts, seen = train(policy, tmp_path, monkeypatch, settings(lora_rank=lora_rank, learning_rate=rate))
    assert facts["stopped"]
    best = max(seen, key=lambda row: row["correct"])
    assert facts["policy_of_update"] == best["step"]
    if not lora_rank:
        student = dict(open_model(tmp_path / STUDENT / "model").named_parameters())
        assert kept
        for name, tensor in kept.items():
            torch.testing.assert_close(student[name], tensor)
    assert facts["validation_accuracy"]["kept"] == best["correct"] > 0.5
    # Two validations of 5 updates, and one in which chance may explain the fall.
    assert facts["stopped_at"] == facts["updates"] <= best["step"] + 15
    text, table, curves, page = summarised(tmp_path)
    assert f"stopped, and back to update {facts['policy_of_update']}: {facts['stopped']}" in text
    assert table["stopped"].tolist() == [facts["stopped"]]
    assert 0 < table["generation_share"][0] + table["scoring_share"][0] < 1
    assert curves["step"].tolist() == list(range(facts["updates"] + 1))
    assert curves["validation_accuracy"].dropna().tolist() == [row["correct"] for row in seen]
    assert page.count("<h3>What is ") == 8
    samples = json.loads((tmp_path / STUDENT / "samples.json").read_text())
    assert len(samples) == 8 * len(seen)
    assert {sample["question_id"] for sample in samples[:8]} == {sample["question_id"] for sample in samples[-8:]}
    if best["step"] == 0:
        start, student = open_model(policy), open_model(tmp_path / STUDENT / "model")
        for ours, theirs in zip(student.parameters(), start.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_without_validation_questions_nothing_guards(policy, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("tests.unit.training.test_guards.VALIDATION", [])
    _, seen = train(policy, tmp_path, monkeypatch, settings(steps=1))
    assert seen == []
    assert "no validation, so nothing guards it" in capfd.readouterr().err
    assert summarised(tmp_path)[1]["validation_kept"].isna().all()


def test_only_a_policy_that_was_stopped_is_said_to_be(policy, tmp_path, monkeypatch):
    train(policy, tmp_path, monkeypatch, settings(steps=1))
    facts = tmp_path / STUDENT / "manifest.json"
    other = tmp_path / STUDENT.replace("rsft-pad", "pad")
    shutil.copytree(tmp_path / STUDENT, other)
    ended = json.loads(facts.read_text())
    write_text(facts, json.dumps(ended | {"facts": ended["facts"] | {"stopped": "it rambles"}}))
    files = {"--out": "pad.csv", "--curves": "curves.csv", "--text": "pad.txt", "--figure": "pad.svg"}
    files |= {"--samples": "p.html"}
    given = [text for option, file in files.items() for text in (option, str(tmp_path / file))]
    assert summarise_pad.main(["--students", str(facts), str(other / "manifest.json"), *given]) == 0
    assert (tmp_path / "pad.txt").read_text().count("stopped, and back") == 1


def test_a_later_training_without_validation_leaves_no_old_ones(policy, tmp_path, monkeypatch):
    train(policy, tmp_path, monkeypatch, settings(steps=1))
    _, seen = train(policy, tmp_path, monkeypatch, settings(steps=2, validation_every=None))
    assert seen == []
    assert not (tmp_path / STUDENT / "samples.json").exists()


def test_what_policies_say_is_shown_as_text(policy, tmp_path, monkeypatch):
    train(policy, tmp_path, monkeypatch, settings(steps=1))
    hostile = "<script>alert(1)</script>"
    said = [{"step": 0, "question_id": "q", "question": hostile, "text": hostile, "correct": False}]
    write_text(tmp_path / STUDENT / "samples.json", json.dumps(said))
    assert summarised(tmp_path)[3].count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2
