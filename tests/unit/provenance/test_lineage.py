"""Manifests together: `agentark verify`, `agentark lineage` and `agentark crate`."""

import json
from pathlib import Path

import pytest

from agentark import cli
from agentark.provenance import manifests


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Questions, debates of them, a model, a student."""
    root = tmp_path / "demo"
    (root / "settings").mkdir(parents=True)
    (root / "settings" / "sft.json").write_text("{}")

    def make(manifest: str, kind: str, parents: list[str], outputs: list[str], folder: bool = False) -> None:
        path = root / manifest
        for name in outputs:
            (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
            (path.parent / name).write_text(f"{kind} {name}")
        manifests.write_manifest(
            path,
            kind=kind,
            stage="sft",
            settings={},
            parents=[root / name for name in parents],
            outputs=[] if folder else [path.parent / name for name in outputs],
            folder=path.parent / "model" if folder else None,
            seed=0 if kind == "student" else None,
        )

    make("questions/sums/manifest.json", "questions", [], ["train.jsonl", "test.jsonl"])
    make("models/m/manifest.json", "model", [], ["model/model.safetensors"], folder=True)
    make(
        "debates/m/sums/0.manifest.json",
        "debates",
        ["questions/sums/train.jsonl", "models/m/manifest.json"],
        ["0.jsonl.zst"],
    )
    make(
        "students/s/manifest.json",
        "student",
        ["models/m/manifest.json", "debates/m/sums/0.jsonl.zst"],
        ["model/model.safetensors"],
        folder=True,
    )
    return root


def test_an_untouched_run_is_as_it_was_made_also_elsewhere(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = run.rename(run.with_name("moved"))
    assert cli.main(["verify", str(moved)]) == 0
    assert capsys.readouterr().out == "4 artefacts, all files as they were made\n"


def test_circumstances_stand_beside_the_manifest(run: Path) -> None:
    path = run / "students/s/manifest.json"
    before = path.read_text()
    told = json.loads((path.parent / "manifest.run.json").read_text())
    assert told["wall_seconds"] > 0
    assert told["accelerator_seconds"] == 0 or told["accelerators"]
    assert set(told) == set(manifests.circumstances())
    assert not any(str(value) in before for key, value in told.items() if key in ("began", "machine"))


def test_a_truncated_file_is_named_first(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = run / "debates/m/sums/0.jsonl.zst"
    shard.write_text(shard.read_text()[:-3])
    assert cli.main(["verify", str(run)]) == 1
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == (
        "debates/m/sums/0.jsonl.zst is not what it was when debates/m/sums/0.manifest.json was written; "
        f"snakemake --force {run}/debates/m/sums/0.manifest.json, then snakemake"
    )
    assert second == "debates/m/sums/0.jsonl.zst has changed since students/s/manifest.json was made from it"
    assert last == "4 artefacts, 2 broken links"


@pytest.mark.parametrize("name", ["models/m/model/model.safetensors", "questions/sums/test.jsonl"])
def test_a_lost_file_is_named(run: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (run / name).unlink()
    assert cli.main(["verify", str(run)]) == 1
    assert capsys.readouterr().out.startswith(f"{name} is gone when ")


def test_lineage_goes_down_to_the_questions(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lineage", str(run / "students/s/model/model.safetensors")]) == 0
    code = manifests.code_digest("sft")
    assert capsys.readouterr().out.splitlines() == [
        f"student students/s/manifest.json (code {code}, seed 0)",
        f"  debates debates/m/sums/0.manifest.json (code {code})",
        f"    model models/m/manifest.json (code {code})",
        f"    questions questions/sums/manifest.json (code {code})",
        "  model models/m/manifest.json, see above",
    ]


def test_what_no_manifest_speaks_of_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lineage", str(run / "settings/sft.json")]) == 1
    assert "no manifest speaks of it" in capsys.readouterr().err
    assert cli.main(["verify", str(run / "settings")]) == 1
    assert "no manifest there" in capsys.readouterr().err


def test_a_crate_holds_every_file_and_what_made_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = run.parent / "logs.json"
    log.write_text("[]")
    manifests.write_manifest(
        run / "debates/m/sums/1.manifest.json",
        kind="debates", stage="import_debates", settings={}, parents=[log], outputs=[],
    )  # fmt: skip
    (run / "tables").mkdir()
    (run / "tables" / "summary.csv").write_text("accuracy")
    assert cli.main(["crate", str(run), "--licence", "CC-BY-4.0"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == run / "ro-crate-metadata.json"
    graph = {entity["@id"]: entity for entity in json.loads(path.read_text())["@graph"]}
    assert graph["./"]["license"] == "CC-BY-4.0"
    assert graph["./"]["conformsTo"] == {"@id": "https://w3id.org/ro/wfrun/process/0.5"}
    actions = {name: entity for name, entity in graph.items() if entity["@type"] == "CreateAction"}
    assert len(actions) == 5

    def names(entity: dict, key: str) -> set[str]:
        return {part["@id"] for part in entity[key]}

    trained = actions["#made-students/s/manifest.json"]
    assert names(trained, "object") == {"models/m/manifest.json", "debates/m/sums/0.jsonl.zst"}
    assert names(trained, "result") == {"students/s/manifest.json", "students/s/model/model.safetensors"}
    assert trained["startTime"] <= trained["endTime"] <= graph["./"]["datePublished"]
    assert graph[trained["instrument"]["@id"]]["softwareVersion"] == manifests.code_digest("sft")
    for entity in actions.values():
        assert all(name in graph for key in ("object", "result") if key in entity for name in names(entity, key))
    (source,) = names(actions["#made-debates/m/sums/1.manifest.json"], "object")
    assert graph[source]["name"] == "logs.json"
    files = {name for name, entity in graph.items() if entity["@type"] == "File"}
    assert {"tables/summary.csv", "questions/sums/test.jsonl", "settings/sft.json"} <= files
    assert str(run.parent) not in path.read_text()
