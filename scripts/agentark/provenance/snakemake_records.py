"""Snakemake's records of what each file was made from: kept with the results, and asked for before one is trusted.

Snakemake writes a record for every output: settings, code digest, inputs and their checksums. Of a file without one it
sees only the time, and calls it up to date whatever has changed. So the records lie in `results/.snakemake/`, where
copies and colleagues find them, and a run whose files have none is refused.

Locks stay with the checkout: Snakemake removes their folder at the end of a run, and cannot where that is a link.
"""

import json
import os
import shutil
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

from agentark.errors import UserError

RESULTS = Path("results")
OWN = Path(".snakemake")
METADATA, INCOMPLETE = OWN / "metadata", OWN / "incomplete"
RECORD_FORMAT = 6
"""Snakemake's RECORD_FORMAT_VERSION: what an older record says, it does not use."""


def keep_with_results() -> None:
    """Make the working folder's records lie with the results; older ones move there.

    To be called before Snakemake opens its records, and not by jobs.
    """
    OWN.mkdir(exist_ok=True)
    for link in (METADATA, INCOMPLETE):
        try:
            _lie_in(RESULTS / link, link)
        except OSError:
            # Results that we may not write, or a file system without links: Snakemake keeps a folder of its own here.
            if link.is_symlink() and not link.exists():
                link.unlink()
            link.mkdir(exist_ok=True)


def _lie_in(folder: Path, link: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # `.snakemake` may be a link itself, from whose place `..` leads elsewhere.
    target = os.path.relpath(folder.absolute(), link.parent.resolve())
    if link.is_symlink():
        if os.readlink(link) == target:
            return
        link.unlink()
    elif link.exists():
        for old in [path for path in link.rglob("*") if path.is_file()]:
            new = folder / old.relative_to(link)
            if not new.exists():
                new.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(old, new)
        shutil.rmtree(link)
    link.symlink_to(target)


def refuse_unknown(run: str) -> None:
    """Stop where a run holds files of which nobody can say what they were made from.

    Raises:
        UserError: there are some.
    """
    if files := unknown(run):
        folder = RESULTS / run
        raise UserError(
            f"{folder}: nothing says what settings and code {len(files)} of its files were made from, {files[0]} the "
            f"first of them, so nobody knows whether they are up to date; copy {RESULTS / OWN} along with them from "
            f"where they were made, or move {folder} away, or run `agentark adopt {folder}`, which has them planned "
            "again, to be made anew or, if this config and code made them, to be accepted by `snakemake --touch`"
        )


def unknown(run: str) -> list[Path]:
    """Artefacts of a run that have no record and are not being made."""
    files = list(_artefacts(RESULTS / run))
    if not files:
        return []
    # In this order none is missed that is made at this moment: a job marks its files before it makes them, and takes
    # the mark away after it has recorded them.
    known = _records(INCOMPLETE) | _records(METADATA)
    longest = _longest_name()
    return sorted(path for path in files if _name(path, longest) not in known)


def distrust(files: list[Path]) -> None:
    """Record files as made from nothing that any rule has, so that Snakemake plans all of them again."""
    for path in files:
        record = METADATA / _name(path, _longest_name())
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"record_format_version": RECORD_FORMAT, "params": []}), encoding="utf-8")


def _artefacts(run: Path) -> Iterator[Path]:
    """The files of a run by which each job that matters is known: one listing a folder, no file is opened."""
    for folder, folders, names in os.walk(run):
        place = Path(folder)
        if place == run:
            folders[:] = [name for name in folders if name not in ("logs", "benchmarks", "kept")]
        if "manifest.json" in names:
            # Weights, which the manifest describes.
            folders[:] = [name for name in folders if name not in ("model", "checkpoints")]
        section = place.relative_to(run).parts[:1]
        for name in names:
            if (
                name == "manifest.json"
                or name.endswith((".manifest.json", ".card.json"))
                or (section == ("settings",) and name.endswith(".json"))
                or (section == ("tables",) and name.endswith(".csv"))
            ):
                yield place / name


def _records(store: Path) -> set[str]:
    start = len(f"{store}/")
    return {os.path.join(folder, name)[start:] for folder, _, names in os.walk(store) for name in names}


def _longest_name() -> int:
    return os.pathconf(METADATA, "PC_NAME_MAX") or 255


def _name(path: Path, longest: int) -> str:
    """Where Snakemake keeps the record of a file, below the folder of its records."""
    name = urlsafe_b64encode(path.as_posix().encode()).decode()
    *folders, last = [name[i : i + longest - 1] for i in range(0, len(name), longest - 1)]
    return os.path.join(*(f"@{folder}" for folder in folders), last)
