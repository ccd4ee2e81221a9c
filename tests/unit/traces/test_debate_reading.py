"""What the debates tell: the tally, the table, the transcript that a person reads."""

import json
from pathlib import Path

import pandas as pd
import pytest

from agentark import cli
from agentark.grading.grades import Grade
from agentark.records.debates import AGGREGATOR, SETTLER, SOLVER, Debate, Turn
from agentark.records.evaluations import EvaluationRow
from agentark.records.files import write_rows
from agentark.records.questions import Question
from agentark.stages import summarise_debates
from agentark.traces.debate_statistics import Tally
from agentark.traces.extraction import verdicts_of
from agentark.traces.transcripts import as_html, as_text


def question(number: int = 0, text: str = "What is 2 + 3?") -> Question:
    return Question(question_id=f"q{number}", dataset="sums", split="test", question=text, gold="5", gold_type="number")


def turn(agent: int, number: int, answer: str | None, reads: list[int] = [], **more: object) -> Turn:  # noqa: B006
    fields: dict[str, object] = {
        "role": SETTLER if agent == AGGREGATOR else SOLVER,
        "reply": f"I say {answer}." if answer else "I do not know",
        "prompt_tokens": 10,
        "cached_tokens": 5 * (number - 1),
        "completion_tokens": 4,
        "latency_s": 0.5,
    }
    return Turn(agent=agent, round=number, prompt="p", answer=answer, reads=reads, **fields | more)


def debate(*turns: Turn, answer: str | None, number: int = 0) -> Debate:
    return Debate(question=question(number), teacher="t", protocol="debate", turns=list(turns), answer=answer)


CORRECTED = debate(
    turn(0, 1, "5"),
    turn(1, 1, "7"),
    turn(2, 1, None, status="truncated"),
    turn(0, 2, "5", [0, 1, 2]),
    turn(1, 2, "5", [0, 1, 2]),
    turn(2, 2, "9", [0, 1, 2], n_left_out=1),
    turn(AGGREGATOR, 2, "5", [3, 4, 5]),
    answer="5",
)
MISLED = debate(
    turn(0, 1, "5"), turn(1, 1, "6"), turn(2, 1, "5"), turn(0, 2, "6", [0, 1, 2]), turn(1, 2, "6"), turn(2, 2, "6"),
    answer="6", number=1,
)  # fmt: skip


def tally(*debates: Debate) -> Tally:
    tally = Tally()
    for row in debates:
        tally.add(row, verdicts_of(row))
    return tally


def test_the_tally_counts_who_was_right_and_who_moved_whom() -> None:
    row = tally(CORRECTED, MISLED).row()
    assert Tally.merged(json.loads(json.dumps(tally(one).sums())) for one in (CORRECTED, MISLED)).row() == row
    assert (row["teacher"], row["dataset"], row["part"], row["protocol"]) == ("t", "sums", "test", "debate")
    assert (row["questions"], row["accuracy"], row["first_round_vote_accuracy"]) == (2, 0.5, 1.0)
    assert (row["better_than_vote"], row["worse_than_vote"]) == (0, 1)
    assert {kind: row[kind] for kind in ("stable", "corrective", "degraded", "wrong")} == {
        "stable": 1,
        "corrective": 1,
        "degraded": 2,
        "wrong": 2,
    }
    moves = {key: n for key, n in row.items() if key.startswith(("led_", "alone_")) and n}
    # Agent 3 of the second debate did not read whom it followed.
    assert moves == {"led_corrected": 1, "alone_other": 1, "led_misled": 1, "alone_misled": 1}
    assert (row["accuracy_round_1"], row["accuracy_round_2"]) == (0.5, round(2 / 6, 6))
    assert (row["distinct_answers_first"], row["distinct_answers_last"]) == (2.0, 1.5)
    assert (row["truncated_share"], row["replies_left_out"]) == (round(1 / 13, 6), 1)
    assert (row["cached_prompt_share"], row["seconds_per_turn"], row["calls_per_question"]) == (
        round(7 / 26, 6),
        0.5,
        6.5,
    )


def test_a_verifiers_verdict_counts_in_every_column() -> None:
    accepted = [Grade("7", correct=True, undecided=False, by_verifier=True) for _ in range(2)]
    told = debate(turn(0, 1, "7"), turn(1, 1, "7"), answer="7")
    row = Tally()
    row.add(told, accepted)
    found = row.row()
    assert (found["accuracy"], found["first_round_vote_accuracy"], found["accuracy_round_1"]) == (1, 1, 1)


def test_no_debates_are_no_line() -> None:
    assert Tally().row()["questions"] == 0


def test_the_table_puts_the_vote_and_equal_calls_beside_the_debate(tmp_path: Path) -> None:
    for name, one in (("test", CORRECTED), ("second_shard", MISLED)):
        (tmp_path / f"{name}.json").write_text(json.dumps(tally(one).sums()))
    (tmp_path / "none.json").write_text(json.dumps(Tally().sums()))
    rows = [
        EvaluationRow(
            model="t", method="base", recipe=None, variant="main", teacher=None, train_set=None, protocol=protocol,
            benchmark="sums", seed=0, question_id=f"q{i}", output="", answer=None, correct=correct, truncated=False,
            calls=7, prompt_tokens=1, completion_tokens=1, seconds=0.0,
        )
        for protocol, verdicts in (("debate", [True, False]), ("self_consistency", [True, True]))
        for i, correct in enumerate(verdicts)
    ]  # fmt: skip
    write_rows(tmp_path / "rows.jsonl", rows)
    write_rows(tmp_path / "0.jsonl.zst", [CORRECTED, MISLED])
    arguments = f"--statistics {tmp_path}/test.json {tmp_path}/second_shard.json {tmp_path}/none.json"
    arguments += f" --evaluations {tmp_path}/rows.jsonl"
    arguments += f" --debates {tmp_path}/0.jsonl.zst --out {tmp_path}/debates.csv --text {tmp_path}/debates.txt"
    assert summarise_debates.main(f"{arguments} --samples {tmp_path}/debates.html".split()) == 0
    (line,) = pd.read_csv(tmp_path / "debates.csv").to_dict("records")
    assert (line["accuracy"], line["first_round_vote_accuracy"], line["self_consistency_accuracy"]) == (0.5, 1.0, 1.0)
    assert (line["p_value_vote"], line["p_value_self_consistency"]) == (1.0, 1.0)
    assert "100.0%  50.0%" in (tmp_path / "debates.txt").read_text()
    page = (tmp_path / "debates.html").read_text()
    assert "A right answer was lost" in page
    assert "Right from the start" in page


def test_a_transcript_says_who_changed_and_after_whom() -> None:
    shown = as_text(CORRECTED, colour=False)
    assert "Agent 2  right  answer 5  changed from 7 to what Agent 1 said" in shown
    assert "Agent 3  wrong  answer 9  changed from no answer" in shown
    assert "Aggregator  right  answer 5" in shown
    assert "truncated" in shown
    assert "1 replies did not fit" in shown
    assert "\x1b" not in shown
    assert "\x1b[32mright\x1b[0m" in as_text(CORRECTED, colour=True)


HOSTILE = "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>\u202egnp.exe\x00\r"


def test_hostile_words_are_only_words() -> None:
    row = debate(turn(0, 1, HOSTILE, reply=HOSTILE), answer=HOSTILE)
    shown = as_text(row, colour=False, prompts=True)
    assert not set(shown) & set("\x1b\x07\x00\r\u202e")
    page = as_html([(HOSTILE, row)])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_show_debate_lists_finds_and_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(tmp_path / "debates/t/sums/0.jsonl.zst", [CORRECTED])
    write_rows(tmp_path / "evaluations/base/t/sums.debates.jsonl.zst", [MISLED])
    assert cli.main(["show-debate", str(tmp_path)]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == ["q0", "q1"]
    assert "5,7,- > 5,5,9 = 5 (gold 5)" in listed[0]
    assert cli.main(["show-debate", str(tmp_path), "q1"]) == 0
    assert "answer 6, gold 5" in capsys.readouterr().out
    assert cli.main(["show-debate", str(tmp_path), "zz"]) == 1
    assert "no debate about this question" in capsys.readouterr().err
    assert cli.main(["show-debate", str(tmp_path / "nothing")]) == 1
    assert "no debates there" in capsys.readouterr().err
