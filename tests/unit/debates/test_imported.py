"""Imported debate logs: both public shapes, real files, bad files."""

import json
from pathlib import Path

import pytest

from agentark.debates import imported
from agentark.errors import UserError
from agentark.records.debates import Debate
from agentark.records.files import read_rows, write_rows
from agentark.records.quarantine import Quarantine
from agentark.records.questions import Question, question_id
from agentark.stages import import_debates
from agentark.traces.extraction import traces_of

SHARED = Path(__file__).parents[4] / "shared" / "data" / "debates"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared debate logs are not beside the checkout")


def context(*replies: str) -> list[dict[str, str]]:
    messages = []
    for number, reply in enumerate(replies, start=1):
        messages += [{"role": "user", "content": f"prompt {number}"}, {"role": "assistant", "content": reply}]
    return messages


def question(text: str, gold: str) -> Question:
    return Question(
        question_id=question_id(text), dataset="d", split="train", question=text, gold=gold, gold_type="number"
    )


def read(path: Path) -> list[imported.Log]:
    rejected = Quarantine("logged debates", 0, "key")
    logs = list(imported.read(path, rejected))
    rejected.judge(path / "rejected.jsonl")
    return logs


CONTEXTS = [context("It is 3.", "It is \\boxed{4}."), context("The answer is 4.", "Still 4.")]


@pytest.mark.parametrize(
    "content",
    [
        [{"question": " 2 + 2? ", "answer": 4.0, "agent_contexts": CONTEXTS}],
        {"2 + 2?": [CONTEXTS, "2 + 2 = <<2+2=4>>4\n#### 4"]},
    ],
    ids=["list", "mapping"],
)
def test_both_shapes_become_the_same_debate(tmp_path: Path, content: object) -> None:
    (tmp_path / "log.json").write_text(json.dumps(content))
    [log] = read(tmp_path)
    assert log.question == "2 + 2?"
    debate = imported.debate(log, question("2 + 2?", "4"), "gpt")
    assert [(t.agent, t.round, t.prompt, t.answer) for t in debate.turns] == [
        (0, 1, "prompt 1", "3"),
        (1, 1, "prompt 1", "4"),
        (0, 2, "prompt 2", "4"),
        (1, 2, "prompt 2", "4"),
    ]
    assert debate.answer == "4"
    assert [trace.kind for trace in traces_of(debate)] == ["wrong", "stable", "corrective", "stable"]


def test_a_system_message_belongs_to_the_next_prompt(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "Be brief."}, *context("4")]
    (tmp_path / "log.json").write_text(json.dumps([{"question": "q", "answer": "4", "agent_contexts": [chat]}]))
    [log] = read(tmp_path)
    assert log.dialogues == [[("Be brief.\n\nprompt 1", "4")]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"question": "q"', "not JSON"),
        ('"text"', "neither a list nor a mapping"),
        ('[{"question": "q", "answer": "1"}]', "1 with neither of the two shapes; first .*debate 1"),
        ('[{"question": "q", "answer": "1", "agent_contexts": []}]', "1 with no replies; first .*debate 1"),
        ('{"q": [[[{"role": "assistant", "content": null}]], "1"]}', "neither of the two shapes"),
        ('{"q": [[[{"role": "assistant", "content": "\\ud83d"}]], "1"]}', "bytes that are not UTF-8"),
    ],
)
def test_a_bad_log_is_named(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "log.json").write_text(text)
    with pytest.raises(UserError, match=expected) as caught:
        read(tmp_path)
    assert "log.json" in str(caught.value)


def test_missing_logs_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no debate logs there"):
        imported.files(tmp_path)


def test_what_does_not_fit_the_others_is_set_aside(tmp_path: Path) -> None:
    fine = {"question": "q", "answer": "1", "agent_contexts": [context("1", "2"), context("1", "2")]}
    missed = fine | {"agent_contexts": [context("1"), context("1", "2")]}
    three = fine | {"agent_contexts": [context("1", "2")] * 3}
    text = json.dumps([fine, fine, missed, three, fine | {"question": "caf@"}]).encode().replace(b"@", b"\xe9")
    (tmp_path / "log.json").write_bytes(text)
    rejected = Quarantine("logged debates", 1, "key")
    assert len(list(imported.read(tmp_path, rejected))) == 2
    assert rejected.n_rows == 5
    assert set(rejected.reasons()) == {
        "agents that miss a round",
        "another number of agents than the other debates of its file",
        "bytes that are not UTF-8",
    }


def test_what_a_prompt_quotes_was_read(tmp_path: Path) -> None:
    quotes = [{"role": "user", "content": "One says: It is 4. Think again."}, {"role": "assistant", "content": "4"}]
    contexts = [context("It is 3.") + quotes, context("It is 4.", "4"), context("It is 5.", "5")]
    (tmp_path / "log.json").write_text(json.dumps([{"question": "q", "answer": "4", "agent_contexts": contexts}]))
    [log] = read(tmp_path)
    debate = imported.debate(log, question("q", "4"), "gpt")
    assert [turn.reads for turn in debate.turns] == [[], [], [], [0, 1], [1], [2]]
    corrected = next(trace for trace in traces_of(debate) if trace.kind == "corrective")
    assert (corrected.agent, corrected.turned_round, corrected.turned_by) == (0, 2, [1])


def test_the_stage_splits_debates_by_their_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "logs.json"
    logs.write_text(json.dumps([{"question": q, "answer": "4", "agent_contexts": CONTEXTS} for q in ("a", "b", "c")]))
    (tmp_path / "debates.json").write_text(json.dumps({"source": "import", "logs": str(logs)}))
    write_rows(tmp_path / "train.jsonl", [question("a", "4")])
    write_rows(tmp_path / "test.jsonl", [question("c", "4")])
    out, held_out = tmp_path / "out.jsonl", tmp_path / "held_out.jsonl"
    arguments = f"--config {tmp_path}/debates.json --teacher gpt --train {tmp_path}/train.jsonl"
    arguments += f" --held-out {tmp_path}/test.jsonl --out {out} --held-out-debates {held_out}"
    arguments += f" --manifest {tmp_path}/0.manifest.json --rejected {tmp_path}/rejected.jsonl"
    assert import_debates.main(arguments.split()) == 0
    assert [row.question.question for row in read_rows(out, Debate)] == ["a"]
    assert [row.question.question for row in read_rows(held_out, Debate)] == ["c"]

    write_rows(tmp_path / "train.jsonl", [question("z", "4")])
    assert import_debates.main(arguments.split()) == 1
    assert "none of its 3 debates is about a train question" in capsys.readouterr().err


@needs_shared
def test_all_real_logs_are_read() -> None:
    rejected = Quarantine("logged debates", 0, "key")
    counts = {folder.name: sum(1 for _ in imported.read(folder, rejected)) for folder in SHARED.iterdir()}
    assert counts == {"gpt35_3x2": 1895, "gpt35_gsm8k": 200, "slm_gsm8k": 40}
    assert rejected.reasons() == {}
