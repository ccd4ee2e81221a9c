"""The verifier: what it reads, what its words mean, how far it agrees, and the stage on a tiny random model."""

import csv
import json
from pathlib import Path

import pytest

from agentark.config.engine import Engine
from agentark.config.models import Model
from agentark.engines.chat import Reply
from agentark.grading import verifier
from agentark.grading.verifier import Agreement
from agentark.provenance.manifests import read_manifest
from agentark.records.debates import SETTLER, Debate, Turn
from agentark.records.files import read_rows, write_rows
from agentark.records.questions import Question
from agentark.records.traces import Trace, Verdict
from agentark.stages import models, traces, verify
from agentark.traces.extraction import verdicts_of
from tests import tiny_model

QUESTION = Question(
    question_id="q1", dataset="d", split="train", question="Why?", gold="It rained.", gold_type="free"
)  # fmt: skip


def test_it_reads_question_gold_and_answer_and_no_reasoning() -> None:
    [message] = verifier.messages(QUESTION, "Rain fell.", None)
    for part in ("Why?", "It rained.", "Rain fell.", "true or false"):
        assert part in message["content"]
    trace = "secret reasoning " * 10_000 + "and so the end"
    [shown] = verifier.messages(QUESTION, "Rain fell.", trace)
    for part in ("Why?", "It rained.", "Rain fell.", "and so the end"):
        assert part in shown["content"]
    assert len(shown["content"]) < 25_000


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply("true", chances={"true": 0.9, "false": 0.1}), (True, 0.9)),
        (Reply(" False."), (False, None)),
        (Reply("Certainly!"), (None, None)),
        (Reply("true or false"), (None, None)),
        (Reply("", status="failed", error="HTTP 500"), (None, None)),
    ],
)
def test_only_true_and_false_are_verdicts(reply: Reply, expected: tuple[bool | None, float | None]) -> None:
    assert verifier.read(reply) == expected


def verdict(by_rules: bool | None, by_verifier: bool | None, number: int = 0) -> Verdict:
    return Verdict(
        item_id=f"{number}", question_id="q", question="?", gold="1", answer="2", by_rules=by_rules,
        by_verifier=by_verifier, probability=None, reply="",
    )  # fmt: skip


def test_agreement_is_cohens_kappa() -> None:
    """The textbook table: 20 and 15 agreed, 5 and 10 not; 0.7 agreed, 0.5 by chance."""
    table = [(True, True)] * 20 + [(False, False)] * 15 + [(False, True)] * 5 + [(True, False)] * 10
    found = Agreement.of([verdict(*pair) for pair in table] + [verdict(None, True), verdict(True, None)])
    assert (found.n, found.false_accepts, found.false_rejects) == (50, 5, 10)
    assert found.kappa == pytest.approx(0.4)
    assert Agreement.of([]).kappa is None
    assert Agreement.of([verdict(True, True)]).kappa is None


def test_its_verdict_stands_only_where_rules_have_none() -> None:
    replies = ["The answer is It rained.", "The answer is the weather.", "The answer is a goat.", " "]
    turns = [Turn(agent=i, round=1, prompt="", reply=text, answer=text) for i, text in enumerate(replies)]
    debate = Debate(question=QUESTION, teacher="t", protocol="debate", turns=turns)
    grades = verdicts_of(debate)
    known = {
        verifier.item_id(QUESTION, grades[0].answer, None): False,
        verifier.item_id(QUESTION, grades[1].answer, None): True,
    }
    settled = verifier.settled(debate, grades, known, "answer")
    assert [(g.correct, g.undecided, g.by_verifier) if g else None for g in settled] == [
        (True, False, False),
        (True, False, True),
        (False, True, False),
        None,
    ]


def test_the_stage_asks_each_answer_once_and_the_traces_follow_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.json").write_text(Model(source=str(tiny_model.build(tmp_path / "source"))).model_dump_json())
    assert models.main(f"--config {tmp_path}/model.json --manifest {tmp_path}/model/manifest.json".split()) == 0
    (tmp_path / "traces.json").write_text('{"audit": 2}')
    engine = Engine(kind="transformers", max_model_len=512)
    (tmp_path / "engine.json").write_text(engine.model_dump_json())
    said = ["The answer is It rained.", "The answer is the weather.", "The answer is the weather.", "=1+1"]
    rows = []
    for number in range(3):
        question = Question(
            question_id=f"q{number}", dataset="d", split="train", question=f"Why {number}?", gold="It rained.",
            gold_type="free",
        )  # fmt: skip
        turns = [Turn(agent=i, round=1, prompt="", reply=text, answer=text) for i, text in enumerate(said)]
        turns.append(Turn(agent=-1, round=1, role=SETTLER, prompt="", reply=said[0], answer=said[0]))
        rows.append(Debate(question=question, teacher="t", protocol="debate", turns=turns))
    write_rows(tmp_path / "debates.jsonl.zst", rows)

    arguments = (
        f"--config {tmp_path}/traces.json --engine {tmp_path}/engine.json --model {tmp_path}/model/manifest.json"
    )
    arguments += f" --debates {tmp_path}/debates.jsonl.zst --work {tmp_path}/work --out {tmp_path}/verdicts.jsonl"
    arguments += (
        f" --counts {tmp_path}/counts.json --audit {tmp_path}/audit.csv --manifest {tmp_path}/verdicts.manifest.json"
    )
    assert verify.main(arguments.split()) == 0
    verdicts = list(read_rows(tmp_path / "verdicts.jsonl", Verdict))
    assert sum(row.by_rules is None for row in verdicts) == 6  # two different answers to each question
    assert sum(row.by_rules is True for row in verdicts) == 2  # of three, audited
    assert all(0 <= row.probability <= 1 for row in verdicts)
    counts = json.loads((tmp_path / "counts.json").read_text())
    manifest = read_manifest(tmp_path / "verdicts.manifest.json")
    assert set(manifest["outputs"]) == {"verdicts.jsonl", "counts.json", "audit.csv"}
    assert set(manifest["parents"]) == {"debates.jsonl.zst", "model/manifest.json"}
    assert (counts["answers"], counts["undecided_by_rules"], counts["undecided_by_both"]) == (15, 9, 0)
    assert counts["audited"] == counts["both_right"] + counts["false_rejects"] == 2
    with (tmp_path / "audit.csv").open(encoding="utf-8") as handle:
        audited = list(csv.DictReader(handle))
    assert len(audited) == 8
    assert {row["answer"] for row in audited} == {"It rained.", "the weather.", "'=1+1"}

    # Killed after its last reply: nothing is asked again.
    before = (tmp_path / "verdicts.jsonl").read_bytes()
    (tmp_path / "verdicts.jsonl").unlink()
    kept = (tmp_path / "work" / "replies.jsonl").read_bytes()
    assert verify.main(arguments.split()) == 0
    assert (tmp_path / "verdicts.jsonl").read_bytes() == before
    assert (tmp_path / "work" / "replies.jsonl").read_bytes() == kept

    arguments = f"--config {tmp_path}/traces.json --debates {tmp_path}/debates.jsonl.zst --out {tmp_path}/0.jsonl.zst"
    arguments += f" --counts {tmp_path}/0.counts.json --statistics {tmp_path}/0.debates.json"
    arguments += f" --manifest {tmp_path}/0.manifest.json --rejected {tmp_path}/0.rejected.jsonl"
    assert traces.main([*arguments.split(), "--verdicts", f"{tmp_path}/verdicts.jsonl"]) == 0
    by_item = {(row.question_id, row.answer): row.by_verifier for row in verdicts}
    for trace in read_rows(tmp_path / "0.jsonl.zst", Trace):
        if trace.answer == "It rained.":
            assert (trace.decided_by, trace.correct) == ("rules", True)
        else:
            assert trace.decided_by == "verifier"
            assert trace.correct == by_item[trace.question_id, trace.answer]
    assert traces.main(arguments.split()) == 0
    undecided = [trace for trace in read_rows(tmp_path / "0.jsonl.zst", Trace) if trace.answer != "It rained."]
    assert [(trace.decided_by, trace.correct) for trace in undecided] == [(None, False)] * 9
