"""How often a policy is right before it is trained."""

import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from agentark.config.engine import Engine
from agentark.config.grpo import Grpo
from agentark.debates.protocols.conversation import QuestionFailedError
from agentark.engines.chat import Reply, Sampling
from agentark.engines.prompts import Message, solve_messages
from agentark.provenance import manifests
from agentark.records.files import read_rows, write_rows
from agentark.records.sets import PassRate, RlPrompt
from agentark.stages import pass_rates

PROMPT = RlPrompt(question_id="a", question="What is 2 + 5?", choices=None, gold="7", gold_type="number", pass_rate=0.5)
SETTINGS = Grpo(pass_rate_rollouts=4, temperature=0.9, max_tokens=6)


def test_a_rate_is_of_rollouts_like_the_trainings() -> None:
    asked: list[tuple[list[Message], Sampling]] = []

    async def chat(messages: list[Message], sampling: Sampling) -> Reply:
        asked.append((messages, sampling))
        return Reply("The answer is 7." if sampling.seed == 2 else "The answer is 8.")

    assert asyncio.run(pass_rates.pass_rate(PROMPT, SETTINGS, chat)) == PassRate(question_id="a", rollouts=4, right=1)
    messages = solve_messages(PROMPT.question, None, "number")
    assert asked == [(messages, Sampling(0.9, 6, seed=number)) for number in range(4)]


def test_a_failed_request_is_no_wrong_answer() -> None:
    async def chat(messages: list[Message], sampling: Sampling) -> Reply:
        return Reply("", status="failed", error="gone")

    with pytest.raises(QuestionFailedError, match="gone"):
        asyncio.run(pass_rates.pass_rate(PROMPT, SETTINGS, chat))


def test_the_stage_asks_every_question_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pass_rates.json").write_text(json.dumps({"max_tokens": 6, "pass_rate_rollouts": 3}))
    (tmp_path / "engine.json").write_text(Engine(kind="transformers", max_model_len=512).model_dump_json())
    policy, rows, out = folder.parent / "manifest.json", tmp_path / "rl.jsonl", tmp_path / "rates.jsonl"
    manifests.write_manifest(policy, kind="model", stage="grpo", settings={}, parents=[], folder=folder)
    write_rows(rows, [replace(PROMPT, question_id="b"), PROMPT])
    asks = f"--config {tmp_path}/pass_rates.json --engine {tmp_path}/engine.json --policy {policy} --set {rows}"
    asks += f" --work {tmp_path}/kept --out {out} --manifest {tmp_path}/rates.manifest.json"
    assert pass_rates.main(asks.split()) == 0
    found = list(read_rows(out, PassRate))
    assert [(row.question_id, row.rollouts) for row in found] == [("a", 3), ("b", 3)]
    facts = manifests.read_manifest(tmp_path / "rates.manifest.json")["facts"]
    assert facts["questions"] == 2
    assert facts["never_right"] == sum(row.right == 0 for row in found)
    first = out.read_bytes()
    assert pass_rates.main(asks.split()) == 0
    assert out.read_bytes() == first
