"""What survives a kill: rows on disk with an index, and replies that are asked once."""

import asyncio
from pathlib import Path

import pytest

from agentark.debates.replies import ReplyLog
from agentark.engines.chat import Reply, Sampling
from agentark.records.debates import FailedQuestion
from agentark.records.rowlog import RowLog


def row(name: str, reason: str = "r") -> FailedQuestion:
    return FailedQuestion(question_id=name, question="?", reason=reason)


def test_rows_come_back_sorted_and_the_last_of_a_key_counts(tmp_path: Path) -> None:
    log = RowLog(tmp_path / "x.jsonl", FailedQuestion)
    for name, reason in (("b", "1"), ("a", "2"), ("b", "3")):
        log.append(name, row(name, reason))
    assert [(r.question_id, r.reason) for r in log.rows()] == [("a", "2"), ("b", "3")]
    assert ("a" in log, "c" in log, log.get("c")) == (True, False, None)
    log.close()
    assert len(RowLog(tmp_path / "x.jsonl", FailedQuestion)) == 2


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_half_written_last_line_is_cut_off_and_counted(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.jsonl"
    log = RowLog(path, FailedQuestion)
    for name in "abc":
        log.append(name, row(name))
    log.close()
    path.write_bytes(path.read_bytes()[:-cut])
    log = RowLog(path, FailedQuestion)
    assert (sorted(r.question_id for r in log.rows()), log.n_damaged) == (["a", "b"], 1)
    log.append("c", row("c", "anew"))
    log.close()
    again = RowLog(path, FailedQuestion)
    assert ([r.reason for r in again.rows()], again.n_damaged) == (["r", "r", "anew"], 0)


@pytest.mark.parametrize("damage", [b"\n", b"{}\n", b"\xff\xfe\n", b'["b"]\n', b'["b", {"reason": 1}]\n'])
def test_a_damaged_line_in_the_middle_costs_that_line_only(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "x.jsonl"
    log = RowLog(path, FailedQuestion)
    log.append("a", row("a"))
    log.close()
    path.write_bytes(damage + path.read_bytes())
    log = RowLog(path, FailedQuestion)
    assert ([r.question_id for r in log.rows()], log.n_damaged) == (["a"], 1)


def asked(log: ReplyLog, replies: list[Reply], sampling: Sampling, model: str = "m", text: str = "?") -> Reply:
    async def chat(messages, sampling) -> Reply:
        return replies.pop(0)

    return asyncio.run(log.kept(chat, model)([{"role": "user", "content": text}], sampling))


def test_a_reply_is_asked_once_for_each_model_prompt_sampling_and_seed(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    log = ReplyLog(path)
    same = Sampling(0.5, 9, seed=1)
    first = Reply("a", prompt_tokens=3, completion_tokens=1, latency_s=0.25, status="truncated", overflow=True)
    assert asked(log, [first], same) == first
    log.close()
    log = ReplyLog(path)
    assert asked(log, [], same) == first
    assert log.n_reused == 1
    for sampling, model, text in (
        (Sampling(0.5, 9, seed=2), "m", "?"),
        (Sampling(0.6, 9, seed=1), "m", "?"),
        (Sampling(0.5, 8, seed=1), "m", "?"),
        (same, "n", "?"),
        (same, "m", "!"),
    ):
        assert asked(log, [Reply("new")], sampling, model, text).text == "new"


def test_a_failed_reply_is_asked_again(tmp_path: Path) -> None:
    log = ReplyLog(tmp_path / "replies.jsonl")
    same = Sampling(0.5, 9, seed=1)
    assert asked(log, [Reply("", status="failed", error="no")], same).status == "failed"
    log.close()
    assert asked(ReplyLog(tmp_path / "replies.jsonl"), [Reply("b")], same).text == "b"
