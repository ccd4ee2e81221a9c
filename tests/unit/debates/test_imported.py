"""Imported debate logs: the three shapes, real files, bad and hostile files."""

import json
import tracemalloc
from pathlib import Path

import pytest

from agentark.config.datasets import Dataset
from agentark.debates import imported
from agentark.errors import UserError
from agentark.questions.datasets import questions as questions_of
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


def question(text: str, gold: str, **more: object) -> Question:
    key = question_id(text, more.get("choices"))
    fields = {"dataset": "d", "split": "train", "gold_type": "number", **more}
    return Question(question_id=key, question=text, gold=gold, **fields)


def spoken(agent: int | str, number: int, reply: str, **more: object) -> dict[str, object]:
    return {"agent": agent, "round": number, "reply": reply, **more}


def as_line(question: str, gold: object, *turns: dict[str, object], **more: object) -> str:
    return json.dumps({"question": question, "gold": gold, "turns": turns, **more}) + "\n"


def read(path: Path) -> list[imported.Log]:
    rejected = Quarantine("logged debates", 0, "key")
    logs = list(imported.read(path, rejected))
    rejected.judge(path / "rejected.jsonl")
    return logs


CONTEXTS = [context("It is 3.", "It is \\boxed{4}."), context("The answer is 4.", "Still 4.")]


LIST = [{"question": " 2 + 2? ", "answer": 4.0, "agent_contexts": CONTEXTS}]
MAPPING = {"2 + 2?": [CONTEXTS, "2 + 2 = <<2+2=4>>4\n#### 4"]}
LONGER = {"2 + 2?": [CONTEXTS, "4", {"accuracy": 1.0}, None]}
LINE = as_line(
    "2 + 2?",
    4,
    # In any order.
    spoken(1, 2, "Still 4.", prompt="prompt 2"),
    spoken(0, 1, "It is 3.", prompt="prompt 1"),
    spoken(1, 1, "The answer is 4.", prompt="prompt 1"),
    spoken(0, 2, "It is \\boxed{4}.", prompt="prompt 2"),
    model="gpt",
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.json", json.dumps(LIST)),
        ("log.json", json.dumps(MAPPING)),
        ("log.json", json.dumps(LONGER)),
        ("log.jsonl", LINE),
    ],
    ids=["list", "mapping", "longer mapping", "lines"],
)
def test_all_shapes_become_the_same_debate(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    [log] = read(tmp_path)
    assert log.question == "2 + 2?"
    debate = imported.debate(log, question("2 + 2?", "4"), "gpt")
    assert [(t.agent, t.round, t.prompt, t.answer, t.reads) for t in debate.turns] == [
        (0, 1, "prompt 1", "3", []),
        (1, 1, "prompt 1", "4", []),
        (0, 2, "prompt 2", "4", [0]),
        (1, 2, "prompt 2", "4", [1]),
    ]
    assert debate.answer == "4"
    assert [trace.kind for trace in traces_of(debate)] == ["wrong", "stable", "corrective", "stable"]


def test_agents_may_speak_in_some_rounds_only(tmp_path: Path) -> None:
    quotes = "Ann says: It is 4. Cem says: It is 5."
    said = [
        spoken("Ann", 1, "It is 4."),
        spoken("Bo", 1, "It is 3."),
        spoken("Cem", 2, "It is 5."),
        spoken("Bo", 4, "It is 4.", prompt=quotes),
        spoken("Ann", 4, "It is 4."),
    ]
    (tmp_path / "log.jsonl").write_text(as_line("2 + 2?", "4", *said))
    [log] = read(tmp_path)
    debate = imported.debate(log, question("2 + 2?", "4"), "gpt")
    assert [(t.agent, t.round, t.answer, t.reads) for t in debate.turns] == [
        (0, 1, "4", []),
        (1, 1, "3", []),
        (2, 2, "5", []),
        (0, 4, "4", [0]),
        # What an agent said in an earlier round is still there to be read.
        (1, 4, "4", [0, 1, 2]),
    ]
    assert (debate.n_rounds, debate.answer) == (4, "4")
    corrected = next(trace for trace in traces_of(debate) if trace.kind == "corrective")
    assert (corrected.agent, corrected.turned_round, corrected.turned_by) == (1, 4, [0])


def test_a_folder_may_hold_files_of_all_shapes(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(LIST))
    (tmp_path / "b.jsonl").write_text(LINE + as_line("3 + 3?", "6", spoken(0, 1, "6"), choices=["5", 6]))
    (tmp_path / "c.json").write_text(json.dumps(MAPPING))
    logs = read(tmp_path)
    assert [(log.where.rpartition("/")[2], log.choices) for log in logs] == [
        ("a.json, debate 1", None),
        ("b.jsonl, line 1", None),
        ("b.jsonl, line 2", ["5", "6"]),
        ("c.json, debate 1", None),
    ]


def test_a_system_message_belongs_to_the_next_prompt(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "Be brief."}, *context("4")]
    (tmp_path / "log.json").write_text(json.dumps([{"question": "q", "answer": "4", "agent_contexts": [chat]}]))
    [log] = read(tmp_path)
    assert log.turns == [imported.Said(0, 1, "Be brief.\n\nprompt 1", "4")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"question": "q"', "not JSON"),
        ('"text"', "neither a list nor a mapping"),
        ("[" * 100_000, "not JSON"),
        (
            '[{"question": "q", "contexts": []}]',
            "debate 1: the first entry has no `answer`, `agent_contexts`; it has `contexts`, `question`; config/README",
        ),
        ('["text"]', "the first entry has another shape: Expected `object`, got `str`"),
        ('[{"question": "q", "answer": "1", "agent_contexts": []}]', "1 with no replies; first .*debate 1"),
        ('{"q": [[[{"role": "assistant", "content": null}]], "1"]}', "Expected `str`, got `null` - at .*content"),
        ('{"q": [[[{"role": "assistant"}]], "1"]}', "missing required field `content`"),
        ('{"q": {"contexts": []}}', "the first entry has no list of contexts and gold"),
        ('{"q": [[]]}', "the first entry has another shape: Expected `array` of length 2, got 1"),
        ('{"q": [[[{"role": "assistant", "content": "\\ud83d"}]], "1"]}', "bytes that are not UTF-8"),
    ],
)
def test_a_bad_log_is_named(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "log.json").write_text(text)
    with pytest.raises(UserError, match=expected) as caught:
        read(tmp_path)
    assert "log.json" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            json.dumps({"question": "q", "answer": "1", "turns": []}),
            "line 1: the first entry has no `gold`; it has `answer`, `question`, `turns`; config/README.md shows",
        ),
        ("not JSON", "line 1: the first entry has no valid JSON"),
        ('{"x": ' + "[" * 100_000, "no valid JSON"),
        ("", "nothing but an empty line"),
        ("[1, 2]", "another shape: Expected `object`, got `array`"),
        (as_line("q", "1"), "1 with no replies; first"),
        (as_line("q", None, spoken(0, 1, "1")), "got `null` - at `$.gold`"),
        (as_line("q", "1", spoken(0, 0, "1")), "Expected `int` >= 1 - at `$.turns[...].round`"),
        (as_line("q", "1", spoken(0, 10**12, "1")), "Expected `int` <= 300 - at"),
        (as_line("q", "1", spoken(-1, 1, "1")), "Expected `int` >= 0 - at `$.turns[...].agent`"),
        (as_line("q", "1", spoken(True, 1, "1")), "got `bool` - at `$.turns[...].agent`"),
        (as_line("q", "1", {"agent": 0, "round": 1}), "missing required field `reply`"),
        (as_line("q", "1", spoken(0, 1, "1"), spoken(0, 1, "2")), "1 with an agent that speaks twice in one round"),
        (as_line("q", "1", *(spoken(i, 1, "1") for i in range(301))), "1 with more than 300 turns"),
        (as_line("q", "1", spoken(0, 1, "1" * 3000)), "1 with a line of more than 2,048 bytes"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imported, "MAX_LINE_BYTES", 2048 if "1" * 3000 in line else 1 << 20)
    (tmp_path / "log.jsonl").write_text(line.rstrip("\n") + "\n")
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert expected in str(caught.value)
    assert "log.jsonl, line 1" in str(caught.value)


def test_one_bad_line_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imported, "MAX_LINE_BYTES", 1000)
    fine = as_line("q", "1", spoken(0, 1, "1")).encode()
    caf = as_line("caf@", "1", spoken(0, 1, "1")).encode().replace(b"@", b"\xe9")
    lines = [fine, b"{}\n", b" " * 999 + b"\n", b"x" * 1000 + b"\n", b"x" * 5000 + b"\n", caf, b"\n", fine.rstrip()]
    (tmp_path / "log.jsonl").write_bytes(b"".join(lines))
    rejected = Quarantine("logged debates", 1, "key")
    assert [log.where[-6:] for log in imported.read(tmp_path, rejected)] == ["line 1", "line 8"]
    assert rejected.n_rows == 8
    assert rejected.reasons() == {
        "nothing but an empty line": 2,
        "a line of more than 1,000 bytes": 2,
        "another shape: Object missing required field `question`": 1,
        "bytes that are not UTF-8": 1,
    }
    rejected.judge(tmp_path / "rejected.jsonl")
    assert "log.jsonl, line 2" in (tmp_path / "rejected.jsonl").read_text()


def test_lines_are_read_one_at_a_time(tmp_path: Path) -> None:
    """Each debate is 2 MB, and far fewer of them are ever held than there are."""
    with (tmp_path / "log.jsonl").open("w") as file:
        for number in range(40):
            file.write(as_line(f"q {number}", "1", spoken(0, 1, "1" * 2_000_000)))
    tracemalloc.start()
    count = sum(1 for _ in imported.read(tmp_path, Quarantine("logged debates", 0, "key")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 40
    assert peak < 30_000_000


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
    write_rows(tmp_path / "train.jsonl", [question("a", "4"), question("y", "4")])
    write_rows(tmp_path / "test.jsonl", [question("c", "4")])
    out, held_out = tmp_path / "out.jsonl", tmp_path / "held_out.jsonl"
    arguments = f"--config {tmp_path}/debates.json --teacher gpt --train {tmp_path}/train.jsonl"
    arguments += f" --held-out {tmp_path}/test.jsonl --out {out} --held-out-debates {held_out}"
    arguments += f" --manifest {tmp_path}/0.manifest.json --rejected {tmp_path}/rejected.jsonl"
    assert import_debates.main(arguments.split()) == 0
    assert [row.question.question for row in read_rows(out, Debate)] == ["a"]
    assert [row.question.question for row in read_rows(held_out, Debate)] == ["c"]
    facts = json.loads((tmp_path / "0.manifest.json").read_text())["facts"]
    assert (facts["train_questions"], facts["train_questions_without_a_debate"]) == (2, 1)
    assert (facts["held_out_questions"], facts["held_out_questions_without_a_debate"]) == (1, 0)

    write_rows(tmp_path / "train.jsonl", [question("z", "4")])
    assert import_debates.main(arguments.split()) == 1
    assert "none of its 3 debates is about a train question" in capsys.readouterr().err


def test_questions_of_several_logs_are_each_taken_once(tmp_path: Path) -> None:
    for name, questions in (("one", "abc"), ("other", "bcd")):
        lines = [as_line(f"{q}?", "4", spoken(0, 1, "The answer is 4.")) for q in questions]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    logged = Dataset(source="debate-logs", train=3, test=1)
    logs = [tmp_path / "one.jsonl", tmp_path / "other.jsonl"]
    parts = questions_of("logged", logged, Quarantine("rows", 0, "key"), logs)
    assert sorted(row.question for part in parts.values() for row in part) == ["a?", "b?", "c?", "d?"]


def test_a_question_that_one_log_has_without_its_choices_is_asked_once(tmp_path: Path) -> None:
    said = spoken(0, 1, "The answer is B.")
    lines = [as_line("Which?", "B", said, choices=["x", "y"]), as_line("WHICH?", "B", said)]
    (tmp_path / "logs.jsonl").write_text("".join(lines))
    rejected = Quarantine("rows", 1, "key")
    logged = Dataset(source="debate-logs", gold_type="choice", test={})
    [row] = questions_of("logged", logged, rejected, [tmp_path / "logs.jsonl"])["test"]
    assert row.choices == ["x", "y"]
    assert "the same question has some elsewhere" in str(rejected.reasons())


def test_choices_are_part_of_the_question(tmp_path: Path) -> None:
    lines = [as_line(f"{q}?", "B", spoken(0, 1, "The answer is B."), choices=["4", "5"]) for q in "abcd"]
    (tmp_path / "logs.jsonl").write_text("".join(lines))
    logged = Dataset(source="debate-logs", gold_type="choice", train=2, test=1)
    rejected = Quarantine("rows", 0, "key")
    parts = questions_of("logged", logged, rejected, [tmp_path / "logs.jsonl"])
    assert [row.choices for part in parts.values() for row in part] == [["4", "5"]] * 3
    (tmp_path / "debates.json").write_text(json.dumps({"source": "import", "logs": str(tmp_path / "logs.jsonl")}))
    write_rows(tmp_path / "train.jsonl", parts["train"])
    write_rows(tmp_path / "test.jsonl", parts["test"])
    arguments = f"--config {tmp_path}/debates.json --teacher gpt --train {tmp_path}/train.jsonl"
    arguments += f" --held-out {tmp_path}/test.jsonl --out {tmp_path}/0.jsonl --held-out-debates {tmp_path}/held.jsonl"
    arguments += f" --manifest {tmp_path}/0.manifest.json --rejected {tmp_path}/rejected.jsonl"
    assert import_debates.main(arguments.split()) == 0
    debates = [*read_rows(tmp_path / "0.jsonl", Debate), *read_rows(tmp_path / "held.jsonl", Debate)]
    assert [debate.question for debate in debates] == [*parts["train"], *parts["test"]]
    assert {debate.answer for debate in debates} == {"B"}


@needs_shared
def test_all_real_logs_are_read(tmp_path: Path) -> None:
    """Debates, turns, and replies that prompts show; and the same debates when they are written as lines."""
    rejected = Quarantine("logged debates", 0, "key")
    counts = {}
    for folder in SHARED.iterdir():
        logs = list(imported.read(folder, rejected))
        lines = [
            as_line(
                log.question, log.gold, *(spoken(t.agent, t.round, t.reply, prompt=t.prompt) for t in log.turns)
            )
            for log in logs
        ]  # fmt: skip
        (tmp_path / "log.jsonl").write_text("".join(lines))
        again = list(imported.read(tmp_path / "log.jsonl", rejected))
        assert [(log.question, log.gold, log.turns) for log in again] == [
            (log.question, log.gold, log.turns) for log in logs
        ]
        debates = [imported.debate(log, question(log.question, log.gold), "gpt") for log in logs]
        turns = [turn for debate in debates for turn in debate.turns]
        counts[folder.name] = (len(debates), len(turns), sum(len(turn.reads) for turn in turns))
    assert counts == {
        "gpt35_3x2": (1895, 11370, 17055),
        "gpt35_gsm8k": (200, 1800, 3284),
        "slm_gsm8k": (40, 600, 2000),
    }
    assert rejected.reasons() == {}
