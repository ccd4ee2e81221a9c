"""A model that picks different traces, and one that continues them: what is asked, read and made of it."""

import asyncio
import json
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
from msgspec.structs import replace

from agentark.config.engine import Engine
from agentark.config.models import Model
from agentark.config.sets import Sets
from agentark.debates import asking
from agentark.debates.protocols.conversation import QuestionFailedError
from agentark.engines.chat import Chat, Reply, Sampling
from agentark.engines.prompts import Message
from agentark.engines.scripted import Scripted
from agentark.errors import UserError
from agentark.provenance.manifests import file_sha256, read_manifest
from agentark.records.files import read_rows, write_rows
from agentark.records.sets import Judgement, StepValues
from agentark.sets import examples, judging, labelled_steps, rollouts, step_judging
from agentark.stages import judge, label_steps, models
from agentark.traces.steps import split_steps
from tests import tiny_model
from tests.unit.sets.test_diversity import ADD, COUNT_UP, TENS, trace

WRONG = "12 + 45 = 56\nSo 56 it is.\nThe answer is 56."
RIGHT = "12 + 45 = 57\nSo 57 it is.\nThe answer is 57."


def chat_of(script) -> Chat:
    return Scripted(script).chat


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("[1, 3]", [1, 3]),
        ("I take [2] first, but then: [3,1].", [3, 1]),
        ("[1, 1]", None),
        ("[1, 2, 3, 4]", None),  # more than asked for
        ("[0, 2]", None),
        ("[9]", None),
        ("1 and 3", None),
        ("[[1, 2]", [1, 2]),
        ("[]", None),
        ("[" * 100_000, None),
        ("[1," * 50_000, None),
    ],
)
def test_only_a_list_of_what_is_there_counts(reply: str, expected: list[int] | None) -> None:
    assert judging.read(reply, n_traces=4, k=3) == expected


def test_the_judge_sees_question_gold_and_numbered_traces() -> None:
    asked: list[list[Message]] = []

    def script(messages: list[Message], sampling: Sampling) -> str:
        asked.append(messages)
        return "no idea" if len(asked) == 1 else "[2, 1]"

    traces = [trace(ADD), trace(TENS, 1), trace(COUNT_UP, 2)]
    chosen = asyncio.run(judging.judged(traces, 2, chat_of(script)))
    assert [one.text for one in chosen] == [TENS, ADD]
    assert len(asked) == 2
    text = asked[0][0]["content"]
    for part in ("12 + 45?", "Answer:\n57", f"Solution 1:\n{ADD}", f"Solution 3:\n{COUNT_UP}", "up to 2"):
        assert part in text
    assert asyncio.run(judging.judged(traces, 2, chat_of(lambda *_: "never"))) is None


def test_what_the_judge_picks_makes_the_da_set_and_else_features_do() -> None:
    traces = [trace(ADD), trace(TENS, 1), trace(COUNT_UP, 2)]
    settings = Sets(da_selection="judge", da_traces=2, min_correct_agents=1)
    counts: Counter[str] = Counter()
    picked = ["2-1", "0-1", "not-there"]
    rows = examples.training_examples("da", traces, settings, "prefer", counts, picked)
    assert sorted(row.trace_id for row in rows) == ["0-1", "2-1"]
    assert counts["questions_judged"] == 1
    assert len(examples.training_examples("da", traces, settings, "prefer", counts)) == 2
    assert counts["questions_judged"] == 1


def test_a_step_is_worth_the_continuations_that_end_right() -> None:
    def script(messages: list[Message], sampling: Sampling) -> str:
        assert messages[-1]["role"] == "assistant"
        prefix = messages[-1]["content"]
        if prefix == "12 + 45 = 56":
            return "Wait, 57. The answer is 57." if sampling.seed == 2 else "The answer is 56."
        return "The answer is 56."

    one = trace(WRONG, kind="wrong", answer="56")
    steps = split_steps(WRONG)
    found = asyncio.run(rollouts.values(one, WRONG, steps, 4, chat_of(script)))
    assert found == StepValues(trace_id="0-1", n=4, right=[1, 0, 0])
    good = asyncio.run(rollouts.values(trace(RIGHT), RIGHT, steps, 4, chat_of(lambda *_: "The answer is 57.")))
    assert good.right == [4, 4, 4]


def test_a_finished_solution_is_worth_its_own_verdict() -> None:
    boxed = "12 + 45 = 57\nSo it is \\boxed{57}.\nThe answer is 57."
    found = asyncio.run(rollouts.values(trace(boxed), boxed, split_steps(boxed), 2, chat_of(lambda *_: "")))
    assert found.right == [2, 2, 2]


def test_a_failed_request_is_no_verdict_on_a_step() -> None:
    failed = Reply("", status="failed", error="HTTP 500")
    with pytest.raises(QuestionFailedError, match="HTTP 500"):
        asyncio.run(rollouts.values(trace(RIGHT), RIGHT, split_steps(RIGHT), 2, chat_of(lambda *_: failed)))


def test_many_failed_requests_end_the_job_and_keep_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Models:
        capacity = None

        def chat(self, name: str) -> Chat:
            return chat_of(lambda m, s: Reply("", status="failed", error="HTTP 500") if s.seed == 3 else "fine")

    monkeypatch.setattr(asking, "open_models", lambda *_: nullcontext(Models()))
    monkeypatch.setattr(asking.manifests, "model_identity", lambda path: "model")

    def work(n: int) -> None:
        line = {"stage": "judge", "n_items": n, "unit": "questions"}
        with asking.asking(tmp_path, Engine(), tmp_path, **line) as (chat, _, _):
            for seed in range(n):
                asyncio.run(chat([{"role": "user", "content": "?"}], Sampling(0.0, 8, seed=seed)))

    with pytest.raises(UserError, match="judge: 1 of 50 requests failed, the first: HTTP 500"):
        work(50)
    assert len((tmp_path / "replies.jsonl").read_text().splitlines()) == 49
    work(200)


def test_a_judge_names_the_first_wrong_step() -> None:
    steps = split_steps(WRONG)

    def labels(*said: str) -> list[int] | None:
        asked = iter(said)
        found = asyncio.run(step_judging.values(trace(WRONG), WRONG, steps, chat_of(lambda *_: next(asked))))
        return found and found.right

    assert len(steps) == 3
    assert labels("Step 1 is fine, step [2] is not: [2]") == [1, 0, 0]
    assert labels("All is well [0].") == [1, 1, 1]
    assert labels("I see no mistake", "[1]") == [0, 0, 0]
    assert labels("[4]", "[12345]") is None
    shown = step_judging.messages(trace(WRONG), WRONG, steps)[0]["content"]
    assert "Answer:\n57\n" in shown
    assert f"Step 3: {WRONG[steps[2][0] : steps[2][1]].strip()}" in shown
    failed = Reply("", status="failed", error="HTTP 500")
    with pytest.raises(QuestionFailedError, match="HTTP 500"):
        asyncio.run(step_judging.values(trace(WRONG), WRONG, steps, chat_of(lambda *_: failed)))


@pytest.mark.parametrize("source", ["rollouts", "judge"])
def test_values_label_the_steps(source: str) -> None:
    traces = [trace(RIGHT), trace(WRONG, 1, kind="wrong", answer="56")]
    settings = Sets(prm_labels=source, rollout_model="m", judge="m")
    values = {
        "0-1": StepValues(trace_id="0-1", n=2, right=[2, 1, 2]),
        "1-1": StepValues(trace_id="1-1", n=2, right=[1, 0, 0]),
    }
    rows = labelled_steps.step_examples(traces, settings, values)
    assert {row.trace_id: row.labels for row in rows} == {"0-1": [1, 1, 1], "1-1": [1, 0, 0]}
    assert labelled_steps.step_examples(traces, settings, {}) == []


def test_only_the_questions_that_rollouts_label_are_rolled_out(tmp_path: Path) -> None:
    settings = Sets(prm_labels={"consensus": 1, "rollouts": 1}, rollout_model="m")
    pair = [trace(RIGHT), trace(WRONG, 1, kind="wrong", answer="56")]
    ids = [f"{number:04}" for number in range(40)]
    write_rows(tmp_path / "0.jsonl", [replace(one, question_id=id_) for id_ in ids for one in pair])
    rolled = {one.question_id for one, _, _ in label_steps.items(tmp_path / "0.jsonl", settings, "rollouts")}
    assert rolled == {id_ for id_ in ids if labelled_steps.label_source(id_, settings.prm_labels) == "rollouts"}
    assert 10 < len(rolled) < 30


def assert_speaks_of(manifest: Path, out: Path, *parents: Path) -> None:
    content = read_manifest(manifest)
    assert content["outputs"] == {out.name: file_sha256(out)}
    assert {(manifest.parent / name).resolve() for name in content["parents"]} == {p.resolve() for p in parents}


def test_the_stages_on_a_tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Model(source=str(tiny_model.build(tmp_path / "source")))
    (tmp_path / "model.json").write_text(source.model_dump_json())
    assert models.main(f"--config {tmp_path}/model.json --manifest {tmp_path}/model/manifest.json".split()) == 0
    (tmp_path / "sets.json").write_text(json.dumps({"rollouts": 2, "prm_labels": "rollouts", "min_correct_agents": 1}))
    (tmp_path / "engine.json").write_text(Engine(kind="transformers", max_model_len=512).model_dump_json())
    some = [trace(RIGHT), trace(TENS, 1), trace(WRONG, 2, kind="wrong", answer="56")]
    write_rows(tmp_path / "0.jsonl.zst", some)
    arguments = f"--config {tmp_path}/sets.json --engine {tmp_path}/engine.json --model {tmp_path}/model/manifest.json"
    arguments += f" --traces {tmp_path}/0.jsonl.zst"

    out, manifest = tmp_path / "judged.jsonl", tmp_path / "judged.manifest.json"
    assert judge.main(f"{arguments} --work {tmp_path}/judge --out {out} --manifest {manifest}".split()) == 0
    assert_speaks_of(manifest, out, tmp_path / "0.jsonl.zst", tmp_path / "model/manifest.json")
    [row] = read_rows(tmp_path / "judged.jsonl", Judgement)
    assert row.question_id == "q"
    assert set(row.chosen) <= {"0-1", "1-1"}

    monkeypatch.setattr(rollouts, "MAX_TOKENS", 8)
    rolling = f"{arguments} --source rollouts --work {tmp_path}/rolls"
    out, manifest = tmp_path / "values.jsonl", tmp_path / "values.manifest.json"
    assert label_steps.main(f"{rolling} --out {out} --manifest {manifest}".split()) == 0
    assert_speaks_of(manifest, out, tmp_path / "0.jsonl.zst", tmp_path / "model/manifest.json")
    values = {row.trace_id: row for row in read_rows(out, StepValues)}
    assert set(values) == {"0-1", "1-1", "2-1"}
    assert values["0-1"].right[-1] == 2
    assert values["2-1"].right[-1] == 0
    before = out.read_bytes()
    assert label_steps.main(f"{rolling} --out {out} --manifest {manifest}".split()) == 0
    assert out.read_bytes() == before

    out, manifest = tmp_path / "found.jsonl", tmp_path / "found.manifest.json"
    content = {"prm_labels": "judge", "judge": "m", "min_correct_agents": 1}
    (tmp_path / "sets.json").write_text(json.dumps(content))
    monkeypatch.setattr(step_judging, "MAX_TOKENS", 8)
    arguments += f" --source judge --work {tmp_path}/found"
    assert label_steps.main(f"{arguments} --out {out} --manifest {manifest}".split()) == 0
    assert_speaks_of(manifest, out, tmp_path / "0.jsonl.zst", tmp_path / "model/manifest.json")
    facts = read_manifest(manifest)["facts"]
    assert facts["traces"] + facts["traces_without_labels"] == 3
