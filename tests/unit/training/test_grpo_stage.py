"""The stage that trains a policy: what it writes, and what it says when it cannot."""

import csv
import json

import pytest
import torch

from agentark.engines.local_models import open_model, open_tokenizer
from agentark.provenance import manifests
from agentark.records.files import write_rows, write_text
from agentark.records.sets import PassRate, RlPrompt
from agentark.stages import grpo as program
from agentark.training import grpo
from tests.unit.training.test_grpo import prompts, settings

pytestmark = pytest.mark.usefixtures("float32")


def run(folder, prm_folder, tmp_path, rows, chosen, rates=()) -> int:
    write_text(tmp_path / "grpo.json", chosen.model_dump_json())
    write_rows(tmp_path / "set.jsonl", rows)
    write_rows(tmp_path / "rates.jsonl", rates)
    write_rows(tmp_path / "validation.jsonl", [])
    policy, reward_model = folder.parent / "manifest.json", prm_folder.parent / "manifest.json"
    for path, kind, model in ((policy, "model", folder), (reward_model, "prm", prm_folder)):
        manifests.write_manifest(path, kind=kind, stage="grpo", settings={}, parents=[], folder=model)
    return program.main(
        ["--config", str(tmp_path / "grpo.json"), "--policy", str(policy)]
        + ["--prm", *([str(reward_model)] if chosen.asks_reward_model else [])]
        + ["--rates", *([str(tmp_path / "rates.jsonl")] if rates else [])]
        + ["--set", str(tmp_path / "set.jsonl"), "--validation", str(tmp_path / "validation.jsonl"), "--seed", "0"]
        + ["--manifest", str(tmp_path / "out" / "manifest.json")]
    )


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_program_writes_a_self_contained_student(folder, prm_folder, tmp_path, lora_rank):
    chosen = settings(
        steps=2, beta=0.01, reward_weights={"process": 1, "verifiable": 0.5}, lora_rank=lora_rank, learning_rate=1e-2
    )
    assert run(folder, prm_folder, tmp_path, prompts(), chosen) == 0
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert written["facts"]["updates"] == 2
    assert set(written["facts"]) >= set(program.LOGGED)
    assert 0 <= written["facts"]["truncated_rate"]["last"] <= 1
    student = tmp_path / "out" / "model"
    assert set(written["files"]) == {file.name for file in student.iterdir()}
    assert not any("adapter" in name for name in written["files"])
    assert open_tokenizer(student).chat_template
    pairs = zip(open_model(folder).parameters(), open_model(student).parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)
    assert not (tmp_path / "out" / "checkpoints").exists()
    assert len((tmp_path / "out" / "metrics.csv").read_text().splitlines()) == 3


def test_a_control_asks_no_reward_model(folder, prm_folder, tmp_path):
    assert run(folder, prm_folder, tmp_path, prompts(), settings(algorithm="outcome")) == 0
    with (tmp_path / "out" / "metrics.csv").open() as handle:
        (row,) = csv.DictReader(handle)
    assert "rewards/process/mean" not in row
    assert row["reward"] == row["rewards/verifiable/mean"]
    assert len(json.loads((tmp_path / "out" / "manifest.json").read_text())["parents"]) == 3


@pytest.mark.parametrize(
    ("wanted", "lacking", "taken"),
    [
        ("auto", "vLLM is not installed", "transformers"),
        ("auto", None, "vllm"),
        ("vllm", "vLLM is not installed", "vllm"),
        ("transformers", None, "transformers"),
    ],
)
def test_rollouts_are_by_vllm_where_it_is_installed(folder, prm_folder, tmp_path, monkeypatch, wanted, lacking, taken):
    used, original = [], grpo.fit

    def fit(model, tokenizer, prompts, rewards, chosen, *more, **options):
        used.append(chosen.rollouts_by)
        # What vLLM does is another test's; here it is who is asked.
        by_hand = chosen.model_copy(update={"rollouts_by": "transformers"})
        return original(model, tokenizer, prompts, rewards, by_hand, *more, **options)

    monkeypatch.setattr(grpo, "fit", fit)
    monkeypatch.setattr(program, "lacking_for_vllm", lambda: lacking)
    assert run(folder, prm_folder, tmp_path, prompts(), settings(rollouts_by=wanted)) == 0
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [written["facts"]["rollouts_by"]] == used == [taken]


def test_program_says_when_too_few_questions_are_left(folder, prm_folder, tmp_path, capfd):
    rows = [*prompts(1, pass_rate=0.5), *prompts(4, pass_rate=0.0)[1:]]
    assert run(folder, prm_folder, tmp_path, rows, settings(pass_rate=[0.1, 0.9])) == 1
    assert "1 of 4 questions have a pass rate" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_program_goes_by_the_policys_own_rates_where_it_has_them(folder, prm_folder, tmp_path, monkeypatch):
    """The debate found all of these neither easy nor hard; the fourth's rate could not be measured."""
    asked = []
    original = grpo.fit

    def fit(model, tokenizer, prompts, *arguments, **options):
        asked.extend(prompt.question_id for prompt in prompts)
        return original(model, tokenizer, prompts, *arguments, **options)

    monkeypatch.setattr(grpo, "fit", fit)
    rates = [PassRate(question_id=str(i), rollouts=4, right=right) for i, right in enumerate((0, 1, 3))]
    chosen = settings(pass_rate=[0.0, 0.75], pass_rates_of="policy")
    assert run(folder, prm_folder, tmp_path, [*prompts(4, pass_rate=1.0)], chosen, rates) == 0
    assert asked == ["0", "1", "2"]
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert written["facts"]["questions_in_pass_rate"] == 3
    assert "../rates.jsonl" in written["parents"]


def test_a_prompt_that_leaves_no_room_for_an_answer_is_left_out_and_counted(folder, prm_folder, tmp_path):
    long = RlPrompt(
        question_id="long", question="1 + " * 2000, choices=None, gold="1", gold_type="number", pass_rate=0.5
    )
    chosen = settings(algorithm="outcome")
    assert run(folder, prm_folder, tmp_path, [*prompts(2), long], chosen) == 0
    facts = json.loads((tmp_path / "out" / "manifest.json").read_text())["facts"]
    assert (facts["questions_in_pass_rate"], facts["questions_too_long"]) == (3, 1)
