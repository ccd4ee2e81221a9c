"""Rows on disk: whole or absent, and a bad line is named."""

from pathlib import Path

import pytest

from agentark.errors import UserError
from agentark.records import quarantine
from agentark.records.files import read_rows, write_rows
from agentark.records.questions import Question, question_id


def question(text: str) -> Question:
    return Question(
        question_id=question_id(text), dataset="d", split="train", question=text, gold="1", gold_type="number"
    )


def test_rows_come_back_as_they_went(tmp_path: Path) -> None:
    rows = [question("a\nb"), question("ü ∑ \u2028")]
    assert write_rows(tmp_path / "q.jsonl", rows) == 2
    assert list(read_rows(tmp_path / "q.jsonl", Question)) == rows


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (b"\n", "line 2 is empty"),
        (b'{"question_id": "x", "da', "line 2 is not a Question"),
        (b'{"question_id": "x"}\n', "missing required field"),
        (b'{"question_id": 7}\n', "Expected `str`"),
        (b"\xff\xfe\n", "line 2 is not a Question"),
    ],
)
def test_a_bad_line_is_named_with_its_cure(tmp_path: Path, bad: bytes, expected: str) -> None:
    path = tmp_path / "q.jsonl"
    write_rows(path, [question("a")])
    with path.open("ab") as handle:
        handle.write(bad)
    with pytest.raises(UserError, match="delete the file and run again") as caught:
        list(read_rows(path, Question))
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)


def test_a_crash_leaves_no_file_that_looks_complete(tmp_path: Path) -> None:
    def rows():
        yield question("a")
        raise OSError(28, "No space left on device")

    path = tmp_path / "q.jsonl"
    with pytest.raises(OSError, match="No space"):
        write_rows(path, rows())
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_survives_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    write_rows(path, [question("old")])

    def rows():
        yield question("new")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_rows(path, rows())
    assert [row.question for row in read_rows(path, Question)] == ["old"]


def test_question_identity_ignores_case_and_spacing_but_not_choices() -> None:
    assert question_id("What  is\n2 + 2?") == question_id("what is 2 + 2? ")
    assert question_id("what?", ["a", "b"]) != question_id("what?", ["b", "a"])


def test_of_endless_bad_rows_the_first_are_listed_and_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "MAX_LISTED", 3)
    rejected = quarantine.Quarantine("rows", 0.5, "key")
    for number in range(5):
        rejected.n_rows += 1
        rejected.add(f"line {number}", "nothing in it")
    assert (len(rejected), rejected.reasons()) == (5, {"nothing in it": 5})
    with pytest.raises(UserError, match=r"5 of 5 rows cannot be used.*the first 3 are listed in"):
        rejected.judge(tmp_path / "rejected.jsonl")
    assert len(list(read_rows(tmp_path / "rejected.jsonl", quarantine.RejectedRow))) == 3
