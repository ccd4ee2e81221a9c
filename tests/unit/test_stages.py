"""Stage programs that generate, on a tiny random model: models, debates, evaluate, and the tables after them."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest

from agentark import config, provenance
from agentark.records import AGGREGATOR, Debate, EvaluationRow, Question, question_id, read_rows, write_rows
from agentark.stages import debates, evaluate, models, plot_accuracy, summarise
from tests import tiny_model

N_QUESTIONS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a tiny model, settings and questions in it."""
    folder = tmp_path_factory.mktemp("run")
    source = tiny_model.build(folder / "source")
    texts = [f"What is {i} + 1?" for i in range(N_QUESTIONS)]
    write_rows(
        folder / "questions.jsonl",
        [
            Question(
                question_id=question_id(text), dataset="d", split="test", question=text, gold="1", gold_type="number"
            )
            for text in texts
        ],
    )
    sections = {
        "models": config.Model(source=str(source)),
        "engine": config.Engine(kind="transformers", max_model_len=512, in_flight=4),
        "debates": config.Debates(agents=2, rounds=2, stop="none", temperature=0.7, max_tokens=6),
        "evaluation": config.Evaluation(max_tokens=6, baseline_share=0.5),
    }
    for name, section in sections.items():
        (folder / f"{name}.json").write_text(section.model_dump_json())
    assert models.main(f"--config {folder}/models.json --manifest {folder}/model/manifest.json".split()) == 0
    return folder


def hold(folder: Path, out: str) -> list[Debate]:
    arguments = f"--config {folder}/debates.json --engine {folder}/engine.json --model {folder}/model/manifest.json"
    arguments += f" --teacher tiny --questions {folder}/questions.jsonl --out {folder}/{out}"
    assert debates.main(arguments.split()) == 0
    return list(read_rows(folder / out, Debate))


def test_a_model_folder_is_copied_hashed_and_checked(folder: Path) -> None:
    manifest = provenance.read_manifest(folder / "model/manifest.json")
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(manifest["files"])
    assert provenance.model_folder(folder / "model/manifest.json").is_dir()


@pytest.mark.parametrize(
    ("source", "broken", "expected"),
    [
        ("folder", "tokenizer.json", "no tokenizer in this model folder"),
        ("folder", "config.json", "no config.json in this model folder"),
        ("folder", "model.safetensors", "no safetensors weights"),
        ("/no/such/folder", None, "no such model folder"),
        ("/no/such/file.gguf", None, "no such file"),
        ("package:no-such-package", None, "is not installed"),
    ],
)
def test_an_unusable_model_ends_with_one_sentence(
    source: str, broken: str | None, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if source == "folder":
        source = str(tiny_model.build(tmp_path / "source"))
    if broken:
        (tmp_path / "source" / broken).unlink()
    (tmp_path / "model.json").write_text(config.Model(source=source).model_dump_json())
    out = tmp_path / "out" / "manifest.json"
    assert models.main(f"--config {tmp_path}/model.json --manifest {out}".split()) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert expected in error
    assert source in error
    assert not out.exists()
    assert not (tmp_path / "out" / "model").exists()


def test_debates_keep_every_turn_in_the_questions_order(folder: Path) -> None:
    rows = hold(folder, "debates.jsonl")
    asked = [row.question_id for row in read_rows(folder / "questions.jsonl", Question)]
    assert [row.question.question_id for row in rows] == asked
    for row in rows:
        assert sorted((t.agent, t.round) for t in row.turns) == [(AGGREGATOR, 2), (0, 1), (0, 2), (1, 1), (1, 2)]
        assert all(turn.prompt_tokens and turn.completion_tokens for turn in row.turns)


def test_a_killed_job_goes_on_where_it_was(folder: Path) -> None:
    whole = hold(folder, "whole.jsonl")
    key = provenance.file_sha256(folder / "debates.json")[:8] + provenance.file_sha256(folder / "engine.json")[:8]
    kept = folder / f".again.jsonl.{key}.finished"
    lines = (folder / "whole.jsonl").read_bytes().splitlines(keepends=True)
    kept.write_bytes(lines[4] + lines[1] + lines[2][:50])
    again = hold(folder, "again.jsonl")
    assert [row.question for row in again] == [row.question for row in whole]
    assert (again[4], again[1]) == (whole[4], whole[1])
    # The half-written debate and those that were never held are new; a token's latency never repeats.
    assert all(again[i].turns[0].latency_s != whole[i].turns[0].latency_s for i in (0, 2, 3, 5))
    assert not kept.exists()


def test_shards_share_the_questions_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "debates.json").write_text(config.Debates(agents=1, rounds=1, max_tokens=2, shards=4).model_dump_json())
    seen: list[str] = []
    for shard in range(4):
        arguments = f"--config {tmp_path}/debates.json --engine {folder}/engine.json --shard {shard} --teacher tiny"
        arguments += f" --model {folder}/model/manifest.json --questions {folder}/questions.jsonl"
        assert debates.main(f"{arguments} --out {tmp_path}/{shard}.jsonl".split()) == 0
        seen += [row.question.question_id for row in read_rows(tmp_path / f"{shard}.jsonl", Debate)]
    assert sorted(seen) == sorted(row.question_id for row in read_rows(folder / "questions.jsonl", Question))


def score(folder: Path, out: Path, *more: str) -> list[EvaluationRow]:
    arguments = f"--config {folder}/evaluation.json --engine {folder}/engine.json --name tiny --seed 0"
    arguments += f" --model {folder}/model/manifest.json --questions {folder}/questions.jsonl --out {out}"
    assert evaluate.main([*arguments.split(), *more]) == 0
    return list(read_rows(out, EvaluationRow))


def test_a_teacher_is_scored_beside_its_debate_and_votes(folder: Path, tmp_path: Path) -> None:
    rows = score(folder, tmp_path / "base.jsonl", "--method", "base", "--debates", str(folder / "debates.json"))
    by_protocol = {
        protocol: [row for row in rows if row.protocol == protocol] for protocol in {r.protocol for r in rows}
    }
    assert {protocol: len(group) for protocol, group in by_protocol.items()} == {
        "single": N_QUESTIONS,
        "self_consistency": N_QUESTIONS // 2,
        "debate": N_QUESTIONS // 2,
        "first_round_vote": N_QUESTIONS // 2,
    }
    calls = {protocol: group[0].calls for protocol, group in by_protocol.items()}
    assert calls == {"single": 1, "self_consistency": 5, "debate": 5, "first_round_vote": 2}
    assert len({row.question_id for row in rows if row.protocol != "single"}) == N_QUESTIONS // 2
    again = score(folder, tmp_path / "again.jsonl", "--method", "base")
    assert [row.output for row in again] == [row.output for row in by_protocol["single"]]


def test_tables_and_figure_are_made_of_the_rows(folder: Path, tmp_path: Path) -> None:
    base = tmp_path / "base.jsonl"
    score(folder, base, "--method", "base", "--debates", str(folder / "debates.json"))
    student = tmp_path / "student.jsonl"
    score(folder, student, "--method", "rsft", "--teacher", "tiny", "--train-set", "d")
    table, text, figure = tmp_path / "summary.csv", tmp_path / "summary.txt", tmp_path / "accuracy.svg"
    assert summarise.main(f"--evaluations {base} {student} --out {table} --text {text}".split()) == 0
    rows = pd.read_csv(table)
    assert len(rows) == 5
    assert rows["n"].tolist() == [6, 3, 3, 3, 6]
    assert plot_accuracy.main(f"--table {table} --out {figure}".split()) == 0
    first = figure.read_bytes()
    assert ElementTree.fromstring(first).tag.endswith("svg")
    plot_accuracy.main(f"--table {table} --out {figure}".split())
    assert figure.read_bytes() == first


def test_no_questions_is_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.jsonl").write_text("")
    arguments = f"--config {folder}/evaluation.json --engine {folder}/engine.json --name tiny --seed 0 --method base"
    arguments += f" --model {folder}/model/manifest.json --questions {tmp_path}/none.jsonl --out {tmp_path}/out.jsonl"
    assert evaluate.main(arguments.split()) == 1
    assert "none.jsonl: no questions to score on" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()
    assert json.loads((folder / "engine.json").read_text())["kind"] == "transformers"
