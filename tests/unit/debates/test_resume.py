"""A job that is killed with SIGKILL, at different places, goes on as if nothing had been."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentark.config.debates import Debates
from agentark.config.engine import Engine
from agentark.config.models import Member, Team
from agentark.records.debates import Debate
from agentark.records.files import read_rows, write_rows
from agentark.records.questions import Question

N_QUESTIONS = 30
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    rows = [
        Question(question_id=f"{i:02}", dataset="d", split="train", question=f"{i} + 1?", gold="1", gold_type="number")
        for i in range(N_QUESTIONS)
    ]
    write_rows(folder / "questions.jsonl", rows)
    settings = Debates(options={"agents": 3, "rounds": 2, "stop": "none"}, temperature=0.7, max_tokens=6)
    (folder / "debates.json").write_text(settings.model_dump_json())
    (folder / "engine.json").write_text(Engine(in_flight=5).model_dump_json())
    (folder / "team.json").write_text(Team(members=[Member(model="m")]).model_dump_json())
    (folder / "model").mkdir()
    (folder / "model" / "weights").touch()
    manifest = {"settings": {"source": "x"}, "folder": "model", "files": {"weights": "their digest"}}
    (folder / "model.json").write_text(json.dumps(manifest))
    return folder


def hold(inputs: Path, out: Path, die_at: str = "never", **sharded: object) -> int:
    arguments = f"--config {sharded.get('config', inputs / 'debates.json')} --engine {inputs}/engine.json"
    arguments += (
        f" --team {inputs}/team.json --models m={inputs}/model.json --teacher t --shard {sharded.get('shard', 0)}"
    )
    arguments += f" --questions {inputs}/questions.jsonl --work {out}/work --out {out}/0.jsonl.zst"
    arguments += f" --table {out}/0.parquet --manifest {out}/0.json"
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.scripted_teacher", die_at, str(out / "given"), "--", *arguments.split()]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120).returncode


FILES = ("0.jsonl.zst", "0.parquet", "0.json")


@pytest.mark.parametrize(
    "places",
    [["call:1"], ["call:4"], ["call:100"], ["call:100", "call:50", "call:20"], ["finished"], ["write"], ["manifest"]],
    ids="-".join,
)
def test_a_killed_job_ends_with_the_same_files_and_repeats_no_finished_turn(
    places, inputs: Path, tmp_path: Path
) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert hold(inputs, undisturbed) == 0
    for place in places:
        assert hold(inputs, killed, place) == -signal.SIGKILL
        assert not (killed / "0.json").exists()
    assert hold(inputs, killed) == 0
    for name in FILES:
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes(), name
    given = (killed / "given").read_text().split()
    assert len(given) == len(set(given)) == N_QUESTIONS * 7
    assert not list(killed.glob("work/*.finished.jsonl"))


def test_shards_together_are_the_whole(inputs: Path, tmp_path: Path) -> None:
    assert hold(inputs, tmp_path / "whole") == 0
    settings = json.loads((inputs / "debates.json").read_text())
    (tmp_path / "sharded.json").write_text(json.dumps(settings | {"shards": 4}))
    parts: list[Debate] = []
    for shard in range(4):
        assert hold(inputs, tmp_path / f"{shard}", config=tmp_path / "sharded.json", shard=shard) == 0
        parts += read_rows(tmp_path / f"{shard}" / "0.jsonl.zst", Debate)
    parts.sort(key=lambda row: row.question.question_id)
    assert parts == list(read_rows(tmp_path / "whole" / "0.jsonl.zst", Debate))
