"""Snakemake's records beside the results: where they lie, and which files have none."""

from pathlib import Path

import pytest
from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord
from snakemake.persistence.file import FilePersistence

from agentark.errors import UserError
from agentark.provenance import snakemake_records

DEEP = "results/demo/students/" + "a-long-name/" * 40 + "manifest.json"
"""Its record's name is too long for one file name."""
ARTEFACTS = [
    "results/demo/models/m/manifest.json",
    "results/demo/debates/m/sums/0.manifest.json",
    "results/demo/sets/m/sums/rsft.card.json",
    "results/demo/settings/models/m.json",
    "results/demo/tables/summary.csv",
    DEEP,
]
OTHERS = [
    "results/demo/models/m/model/manifest.json",
    "results/demo/models/m/manifest.run.json",
    "results/demo/logs/manifest.json",
    "results/demo/debates/m/sums/.1.manifest.json.partial",
    "results/other/models/m/manifest.json",
]


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def artefacts() -> list[Path]:
    for name in [*ARTEFACTS, *OTHERS]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("{}")
    return sorted(map(Path, ARTEFACTS))


def snakemakes() -> FilePersistence:
    return FilePersistence(path=Path(".snakemake").absolute())


def test_what_snakemake_has_recorded_or_is_making_is_known(artefacts: list[Path]) -> None:
    snakemake_records.keep_with_results()
    assert snakemake_records.unknown("demo") == artefacts
    with pytest.raises(UserError, match=r"6 of its files were made from, results/demo/debates/m/sums/0.manifest.json"):
        snakemake_records.refuse_unknown("demo")
    for path in artefacts[1:]:
        snakemakes()._write_record(str(path), MetadataRecord(rule="some"))
    assert snakemake_records.unknown("demo") == artefacts[:1]
    snakemakes()._mark_incomplete(str(artefacts[0]), None)
    snakemake_records.refuse_unknown("demo")


def test_distrusted_files_are_made_from_nothing_that_snakemake_knows(artefacts: list[Path]) -> None:
    snakemake_records.keep_with_results()
    snakemake_records.distrust(artefacts)
    for path in artefacts:
        record = snakemakes()._read_record(str(path))
        assert record is not None
        assert record.params == []
        assert record.record_format_version == RECORD_FORMAT_VERSION, "Snakemake would not use it"
    assert snakemake_records.unknown("demo") == []


def test_records_go_where_the_results_go(checkout: Path, artefacts: list[Path]) -> None:
    snakemake_records.keep_with_results()
    snakemakes()._write_record(DEEP, MetadataRecord(rule="some"))
    Path("results").rename("elsewhere")
    Path("results").symlink_to("elsewhere")
    assert Path(".snakemake/metadata").resolve() == checkout / "elsewhere/.snakemake/metadata"
    Path("results").unlink()
    snakemake_records.keep_with_results()
    assert snakemakes()._read_record(DEEP) is None
    Path("results").rename("empty")
    Path("elsewhere").rename("results")
    assert snakemakes()._read_record(DEEP) == MetadataRecord(rule="some")


def test_older_records_move_once_and_those_with_the_results_win() -> None:
    for name in ("a", DEEP):
        snakemakes()._write_record(name, MetadataRecord(rule="older"))
    Path("results/.snakemake").mkdir(parents=True)
    Path(".snakemake/metadata").rename("kept")
    snakemake_records.keep_with_results()
    snakemakes()._write_record("a", MetadataRecord(rule="newer"))
    Path(".snakemake/metadata").unlink()
    Path("kept").rename(".snakemake/metadata")
    for _ in range(2):
        snakemake_records.keep_with_results()
        assert Path(".snakemake/metadata").is_symlink()
        assert [snakemakes()._read_record(name) for name in ("a", DEEP)] == [
            MetadataRecord(rule="newer"),
            MetadataRecord(rule="older"),
        ]


def test_where_results_cannot_be_written_snakemake_keeps_its_own() -> None:
    snakemake_records.keep_with_results()
    Path("results").rename("gone")
    # A place where nobody, not even root, may make a folder.
    Path("results").symlink_to("/proc/self")
    snakemake_records.keep_with_results()
    snakemakes()._write_record("a", MetadataRecord(rule="own"))
    assert not Path(".snakemake/metadata").is_symlink()
    assert snakemakes()._read_record("a") == MetadataRecord(rule="own")
    Path("results").unlink()
    snakemake_records.keep_with_results()
    assert Path(".snakemake/metadata").is_symlink()
    assert snakemakes()._read_record("a") == MetadataRecord(rule="own")
