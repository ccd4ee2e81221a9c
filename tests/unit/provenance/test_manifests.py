"""Manifests and code digests: what changes them and what does not."""

import json
import shutil
from pathlib import Path

import pytest

from agentark.errors import UserError
from agentark.provenance import manifests


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "agentark"
    shutil.copytree(manifests.LIBRARY, copy)
    monkeypatch.setattr(manifests, "LIBRARY", copy)
    return copy


def digest(stage: str) -> str:
    manifests.code_digest.cache_clear()
    manifests._normalised.cache_clear()
    return manifests.code_digest(stage)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_comments_docstrings_and_layout_do_not_count(library: Path) -> None:
    before = digest("traces")
    edit(library / "traces/extraction.py", '"""', '"""Other words. ')
    with (library / "traces/extraction.py").open("a") as handle:
        handle.write("\n\n# a comment\n")
    assert digest("traces") == before


def test_a_module_that_a_stage_imports_counts_also_indirectly(library: Path) -> None:
    before = {stage: digest(stage) for stage in ("traces", "evaluate", "summarise", "plot_accuracy")}
    edit(library / "grading/comparing.py", "import ", "CHANGED = 1\nimport ")
    after = {stage: digest(stage) for stage in before}
    assert {stage for stage in before if before[stage] != after[stage]} == {"traces", "evaluate"}


def test_the_place_of_the_library_does_not_count(library: Path) -> None:
    here = digest("sft")
    moved = library.with_name("elsewhere")
    library.rename(moved)
    manifests.LIBRARY = moved
    assert digest("sft") == here


def test_a_manifest_hashes_its_files_and_names_no_path(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.safetensors").write_bytes(b"abc")
    (tmp_path / "set.jsonl").write_text("{}")
    path = tmp_path / "manifest.json"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "set.jsonl").write_text("{}")
    parents = [tmp_path / "set.jsonl", tmp_path / "other" / "set.jsonl"]
    kwargs = {"kind": "student", "stage": "sft", "settings": {"epochs": 2}, "folder": model, "seed": 0}
    manifests.write_manifest(path, parents=parents, **kwargs)
    first = path.read_bytes()
    content = json.loads(first)
    assert content["files"]["weights.safetensors"].startswith("ba7816bf")
    assert content["parents"]["set.jsonl"] == manifests.file_sha256(tmp_path / "set.jsonl")
    assert str(tmp_path) not in first.decode()
    assert len(content["parents"]) == 2  # of the same name, in different folders
    manifests.write_manifest(path, parents=parents, **kwargs)
    assert path.read_bytes() == first
    assert manifests.model_folder(path) == model


def test_a_missing_weight_file_is_named(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.safetensors").write_bytes(b"abc")
    path = tmp_path / "manifest.json"
    manifests.write_manifest(path, kind="model", stage="models", settings={}, parents=[], folder=model)
    (model / "weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"weights\.safetensors is missing"):
        manifests.model_folder(path)
