"""Stage programs that generate, on a tiny random model: models, debates, evaluate, and the tables after them."""

import json
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch

from agentark.config.debates import Debates
from agentark.config.engine import Engine
from agentark.config.evaluation import Evaluation
from agentark.config.models import Member, Model, Team
from agentark.config.tables import Tables
from agentark.engines import chat_template
from agentark.engines.local_models import open_model, open_tokenizer
from agentark.engines.prompts import solve_messages
from agentark.provenance import manifests
from agentark.records.debates import AGGREGATOR, Debate, FailedQuestion
from agentark.records.evaluations import EvaluationRow, PerplexityRow
from agentark.records.files import read_rows, write_rows
from agentark.records.questions import Question, question_id
from agentark.stages import debates, evaluate, measure_perplexity, models, plot_accuracy, summarise
from agentark.traces.debate_statistics import Tally
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
    frozen = {
        "models": Model(source=str(source)),
        "engine": Engine(kind="transformers", max_model_len=512, in_flight=4),
        "debates": Debates(
            options={"agents": 2, "rounds": 2, "stop": "none"}, temperature=0.7, max_tokens=6, failed_share=0.0
        ),
        "team": Team(members=[Member(model="tiny")]),
        "evaluation": Evaluation(max_tokens=6, baseline_share=0.5),
    }
    for name, section in frozen.items():
        (folder / f"{name}.json").write_text(section.model_dump_json())
    assert models.main(f"--config {folder}/models.json --manifest {folder}/model/manifest.json".split()) == 0
    return folder


def hold(folder: Path, out: Path, *more: str, settings: Path | None = None) -> list[Debate]:
    """Runs the stage; its files are `out`.jsonl.zst, .parquet and .json."""
    arguments = (
        f"--config {settings or folder / 'debates.json'} --engine {folder}/engine.json --team {folder}/team.json"
    )
    arguments += f" --models tiny={folder}/model/manifest.json --teacher tiny --questions {folder}/questions.jsonl"
    arguments += f" --work {out}.work --out {out}.jsonl.zst --table {out}.parquet --manifest {out}.json"
    assert debates.main([*arguments.split(), *more]) == 0
    return list(read_rows(Path(f"{out}.jsonl.zst"), Debate))


def test_a_model_folder_is_copied_hashed_and_checked(folder: Path) -> None:
    manifest = manifests.read_manifest(folder / "model/manifest.json")
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(manifest["files"])
    assert manifests.model_folder(folder / "model/manifest.json").is_dir()


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
    (tmp_path / "model.json").write_text(Model(source=source).model_dump_json())
    out = tmp_path / "out" / "manifest.json"
    assert models.main(f"--config {tmp_path}/model.json --manifest {out}".split()) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert expected in error
    assert source in error
    assert not out.exists()
    assert not (tmp_path / "out" / "model").exists()


def test_debates_keep_every_turn_and_are_sorted(folder: Path, tmp_path: Path) -> None:
    rows = hold(folder, tmp_path / "0")
    asked = [row.question_id for row in read_rows(folder / "questions.jsonl", Question)]
    assert [row.question.question_id for row in rows] == sorted(asked)
    for row in rows:
        assert [(t.agent, t.round) for t in row.turns] == [(0, 1), (1, 1), (0, 2), (1, 2), (AGGREGATOR, 2)]
        assert all(turn.prompt_tokens and turn.completion_tokens for turn in row.turns)
    table = pd.read_parquet(tmp_path / "0.parquet")
    assert [row["question"]["question"] for row in table.to_dict("records")] == [row.question.question for row in rows]
    assert [turn["reply"] for turn in table["turns"][0]] == [turn.reply for turn in rows[0].turns]
    manifest = manifests.read_manifest(tmp_path / "0.json")
    assert manifest["facts"]["questions"] == N_QUESTIONS
    assert manifest["facts"]["replies_follow_seeds"] is False
    engine = manifest["facts"]["engines"]["tiny"]
    assert (engine["engine"], len(engine["chat_template_sha256"])) == ("transformers", 64)


def test_a_killed_job_goes_on_where_it_was_and_asks_no_finished_request_again(folder: Path, tmp_path: Path) -> None:
    whole = hold(folder, tmp_path / "whole")
    kept = (tmp_path / "whole.work" / "replies.jsonl").read_bytes().splitlines(keepends=True)
    assert len(kept) == sum(row.calls for row in whole)
    (tmp_path / "again.work").mkdir()
    (tmp_path / "again.work" / "replies.jsonl").write_bytes(b"".join(kept[:20]) + kept[20][:30])
    again = hold(folder, tmp_path / "again")
    # A token's latency never repeats, so a reply that is the same to the microsecond was not asked again.
    times = {turn.latency_s for row in whole for turn in row.turns}
    assert sum(turn.latency_s in times for row in again for turn in row.turns) == 20
    assert len((tmp_path / "again.work" / "replies.jsonl").read_bytes().splitlines()) == len(kept)
    assert [row.question for row in again] == [row.question for row in whole]


def test_another_round_asks_only_what_is_new(folder: Path, tmp_path: Path) -> None:
    hold(folder, tmp_path / "0")
    before = len((tmp_path / "0.work" / "replies.jsonl").read_bytes().splitlines())
    longer = Debates(options={"agents": 2, "rounds": 3, "stop": "none"}, temperature=0.7, max_tokens=6)
    (tmp_path / "longer.json").write_text(longer.model_dump_json())
    rows = hold(folder, tmp_path / "0", settings=tmp_path / "longer.json")
    after = len((tmp_path / "0.work" / "replies.jsonl").read_bytes().splitlines())
    assert {row.calls for row in rows} == {7}
    assert after - before == N_QUESTIONS * 3


def test_shards_share_the_questions_out(folder: Path, tmp_path: Path) -> None:
    settings = Debates(protocol="single", max_tokens=2, shards=4)
    (tmp_path / "debates.json").write_text(settings.model_dump_json())
    seen: list[str] = []
    for shard in range(4):
        rows = hold(folder, tmp_path / f"{shard}", "--shard", f"{shard}", settings=tmp_path / "debates.json")
        seen += [row.question.question_id for row in rows]
    assert sorted(seen) == sorted(row.question_id for row in read_rows(folder / "questions.jsonl", Question))


def test_two_local_models_debate_in_one_team(folder: Path, tmp_path: Path) -> None:
    tiny_model.build(tmp_path / "other", seed=1)
    (tmp_path / "other.json").write_text(Model(source=str(tmp_path / "other")).model_dump_json())
    assert models.main(f"--config {tmp_path}/other.json --manifest {tmp_path}/made/manifest.json".split()) == 0
    members = [Member(model="tiny"), Member(model="other", temperature=0.1)]
    (tmp_path / "team.json").write_text(Team(members=members).model_dump_json())
    arguments = f"--config {folder}/debates.json --engine {folder}/engine.json --team {tmp_path}/team.json"
    arguments += f" --models tiny={folder}/model/manifest.json other={tmp_path}/made/manifest.json --teacher pair"
    arguments += f" --questions {folder}/questions.jsonl --work {tmp_path}/work --out {tmp_path}/0.jsonl.zst"
    assert debates.main(f"{arguments} --table {tmp_path}/0.parquet --manifest {tmp_path}/0.json".split()) == 0
    for row in read_rows(tmp_path / "0.jsonl.zst", Debate):
        assert [turn.model for turn in row.turns] == ["tiny", "other", "tiny", "other", "tiny"]
    manifest = manifests.read_manifest(tmp_path / "0.json")
    assert set(manifest["facts"]["engines"]) == {"tiny", "other"}
    assert len(manifest["parents"]) == 3


def test_failed_questions_are_listed_and_the_job_stops_above_the_share(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Prompts of every question are longer than this context.
    (tmp_path / "engine.json").write_text(Engine(kind="transformers", max_model_len=64).model_dump_json())
    long = [
        Question(
            question_id=str(i), dataset="d", split="train", question="x " * 400 * (i == 2), gold="1", gold_type="number"
        )
        for i in range(4)
    ]
    write_rows(tmp_path / "questions.jsonl", long)
    arguments = f"--config {folder}/debates.json --engine {folder}/engine.json --team {folder}/team.json --teacher tiny"
    arguments += f" --models tiny={folder}/model/manifest.json --questions {tmp_path}/questions.jsonl"
    arguments += f" --work {tmp_path}/work --out {tmp_path}/0.jsonl.zst --table {tmp_path}/0.parquet"
    arguments += f" --manifest {tmp_path}/0.json"
    assert debates.main(arguments.split()) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "1 of 4 questions failed, debates.failed_share allows 0" in error
    assert "engine.max_model_len" in error
    assert not (tmp_path / "0.jsonl.zst").exists()
    (failed,) = read_rows(tmp_path / "work" / "failed.jsonl", FailedQuestion)
    assert failed.question_id == "2"
    tolerant = Debates(**json.loads((folder / "debates.json").read_text()) | {"failed_share": 0.25})
    (tmp_path / "tolerant.json").write_text(tolerant.model_dump_json())
    assert debates.main(arguments.replace(f"{folder}/debates.json", f"{tmp_path}/tolerant.json").split()) == 0
    assert len(list(read_rows(tmp_path / "0.jsonl.zst", Debate))) == 3


def as_teacher(folder: Path, tmp_path: Path) -> list[str]:
    arguments = f"--debates {folder}/debates.json --team {folder}/team.json --held {tmp_path}/held.jsonl.zst"
    return f"{arguments} --statistics {tmp_path}/held.json".split()


def score(folder: Path, out: Path, *more: str) -> list[EvaluationRow]:
    arguments = f"--config {folder}/evaluation.json --engine {folder}/engine.json --name tiny --seed 0"
    arguments += f" --models tiny={folder}/model/manifest.json --questions {folder}/questions.jsonl --out {out}"
    arguments += f" --manifest {out.with_suffix('.manifest.json')}"
    assert evaluate.main([*arguments.split(), *more]) == 0
    return list(read_rows(out, EvaluationRow))


def test_a_teacher_is_scored_beside_its_debate_and_votes(folder: Path, tmp_path: Path) -> None:
    rows = score(folder, tmp_path / "base.jsonl", *as_teacher(folder, tmp_path))
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
    statistics = json.loads((tmp_path / "held.json").read_text())
    row = Tally.merged([statistics]).row()
    assert (row["protocol"], row["questions"], row["calls_per_question"]) == ("debate", 3, 5)
    assert len(list(read_rows(tmp_path / "held.jsonl.zst", Debate))) == 3
    again = score(folder, tmp_path / "again.jsonl")
    assert [row.output for row in again] == [row.output for row in by_protocol["single"]]


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [("single", {"single": 6}), ("self_consistency", {"single": 6, "self_consistency": 3})],
)
def test_a_teacher_that_does_not_debate_is_scored_once(
    folder: Path, tmp_path: Path, protocol: str, expected: dict[str, int]
) -> None:
    settings = Debates(protocol=protocol, temperature=0.7, max_tokens=6)
    (tmp_path / "debates.json").write_text(settings.model_dump_json())
    arguments = as_teacher(tmp_path, tmp_path)
    arguments[arguments.index("--team") + 1] = f"{folder}/team.json"
    rows = score(folder, tmp_path / "base.jsonl", *arguments)
    assert Counter(row.protocol for row in rows) == expected


def test_a_context_that_does_not_fit_is_cut_or_fails_as_configured(folder: Path, tmp_path: Path) -> None:
    about = Question(
        question_id="q",
        dataset="d",
        split="test",
        question="word " * 2000 + "\n\nWhat is 1 + 1?",
        gold="2",
        gold_type="number",
        context_chars=10002,
    )
    write_rows(tmp_path / "questions.jsonl", [about])
    given = ["--questions", str(tmp_path / "questions.jsonl")]
    [cut] = score(folder, tmp_path / "cut.jsonl", *given)
    assert (cut.context_cut, cut.calls) == (True, 1)
    # Nearly all of the window is used.
    assert 460 < cut.prompt_tokens + 6 <= 512
    (tmp_path / "strict.json").write_text(Evaluation(max_tokens=6, too_long="fail").model_dump_json())
    [failed] = score(folder, tmp_path / "failed.jsonl", *given, "--config", str(tmp_path / "strict.json"))
    assert (failed.context_cut, failed.calls, failed.correct) == (False, 0, False)


def test_the_perplexity_of_a_solution_is_that_of_its_tokens_alone(folder: Path, tmp_path: Path) -> None:
    solutions = ["Two and two are four.", "a " * 2000, None, "One more."]
    asked = {"dataset": "d", "split": "test", "question": "2 + 2?", "gold": "4", "gold_type": "number"}
    rows = [Question(question_id=str(i), reasoning=text, **asked) for i, text in enumerate(solutions)]
    write_rows(tmp_path / "questions.jsonl", rows)
    (tmp_path / "perplexity.json").write_text(Evaluation(perplexity_questions=3).model_dump_json())
    arguments = f"--config {tmp_path}/perplexity.json --model {folder}/model/manifest.json --name tiny --seed 0"
    arguments += f" --questions {tmp_path}/questions.jsonl --out {tmp_path}/out.jsonl --manifest {tmp_path}/out.json"
    assert measure_perplexity.main(arguments.split()) == 0
    first, last = read_rows(tmp_path / "out.jsonl", PerplexityRow)
    assert (first.question_id, last.question_id) == ("0", "3")  # one is longer than the model reads, one has none
    assert json.loads((tmp_path / "out.json").read_text())["facts"] == {"questions": 2, "too_long": 1}

    weights = manifests.model_folder(folder / "model" / "manifest.json")
    tokenizer, model = open_tokenizer(weights), open_model(weights, torch.float32)
    prompt = chat_template.render(tokenizer, solve_messages("2 + 2?", None, "number"))
    ids = tokenizer(prompt + solutions[0], add_special_tokens=False, return_tensors="pt")["input_ids"]
    n_prompt = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        logits = model(ids).logits[0, n_prompt - 1 : -1].log_softmax(-1)
    nats = -logits.gather(-1, ids[0, n_prompt:, None]).sum().item()
    assert first.tokens == ids.shape[1] - n_prompt
    assert first.nats == pytest.approx(nats, rel=0.02)  # the stage may multiply in bfloat16
    assert first.bytes == len(solutions[0])

    write_rows(tmp_path / "questions.jsonl", rows[2:3])
    assert measure_perplexity.main(arguments.split()) == 1


def test_tables_and_figure_are_made_of_the_rows(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base.jsonl"
    score(folder, base, *as_teacher(folder, tmp_path))
    rows = [base]
    for recipe, variant, seed in (("rsft", "main", 0), ("rsft", "main", 1), ("rsft-pad", "long", 0)):
        rows.append(tmp_path / f"{recipe}-{seed}.jsonl")
        how = f"--recipe {recipe} --variant {variant} --teacher tiny --train-set d --seed {seed}"
        (first, *_) = score(folder, rows[-1], *how.split())
        assert (first.recipe, first.variant, first.seed) == (recipe, variant, seed)
    settings = Tables(
        experiment="main",
        variants={"main": None, "long": "main"},
        recipes={"rsft": ["rsft"], "pad": ["rsft", "pad"], "da": ["da"]},
        compare={"pad": ["rsft", "da"]},
        evaluations=[path.name for path in rows],
    )
    (tmp_path / "tables.json").write_text(settings.model_dump_json())
    table, compared, text, figure = (
        tmp_path / name for name in ("summary.csv", "comparisons.csv", "summary.txt", "accuracy.svg")
    )
    arguments = f"--config {tmp_path}/tables.json --out {table} --comparisons {compared} --text {text}"
    arguments += f" --manifest {tmp_path}/manifest.json --log {tmp_path}/log --run {tmp_path}"
    assert summarise.main(arguments.split()) == 0
    lines = pd.read_csv(table)
    assert lines["n"].tolist() == [6, 3, 3, 3, 6, 6, 6, 6]
    assert lines["n_seeds"].tolist() == [1, 1, 1, 1, 1, 1, 2, 1]
    comparisons = pd.read_csv(compared)
    assert comparisons["against"].tolist() == ["base"] * 7 + ["rsft"]
    assert comparisons["p_holm"].notna().sum() == 6
    assert "long/pad vs rsft: +0.0" in text.read_text()
    assert "no da is there to compare it with" in capsys.readouterr().err
    manifest = manifests.read_manifest(tmp_path / "manifest.json")
    assert set(manifest["outputs"]) == {"summary.csv", "comparisons.csv", "summary.txt"}
    assert set(manifest["parents"]) == {path.name for path in rows}
    assert manifest["facts"] == {"arms": 6, "comparisons_corrected_together": 6}

    assert plot_accuracy.main(f"--table {table} --out {figure}".split()) == 0
    first = figure.read_bytes()
    assert ElementTree.fromstring(first).tag.endswith("svg")
    labels = first.decode()
    assert "<!-- long/pad, tiny on d, seed 0 (n=6) -->" in labels
    assert "<!-- rsft, tiny on d, 2 seeds (n=6) -->" in labels
    assert "rsft, tiny on d, seed" not in labels
    plot_accuracy.main(f"--table {table} --out {figure}".split())
    assert figure.read_bytes() == first


def test_no_questions_is_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.jsonl").write_text("")
    arguments = f"--config {folder}/evaluation.json --engine {folder}/engine.json --name tiny --seed 0"
    arguments += f" --models tiny={folder}/model/manifest.json --questions {tmp_path}/none.jsonl"
    arguments += f" --out {tmp_path}/out.jsonl --manifest {tmp_path}/out.manifest.json"
    assert evaluate.main(arguments.split()) == 1
    assert "none.jsonl: no questions to score on" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()
    assert json.loads((folder / "engine.json").read_text())["kind"] == "transformers"
