"""Check all manifests of a run together: is every file still what was made, and where does an artefact come from."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from agentark.errors import UserError
from agentark.provenance.manifests import file_sha256, read_manifest


@dataclass(frozen=True)
class Artefact:
    """A manifest and the files that it speaks of."""

    path: Path
    content: dict[str, Any]

    @cached_property
    def parents(self) -> dict[Path, str]:
        """Files it was made from, with the digest that they had then."""
        return self._absolute(self.content["parents"], self.path.parent)

    @cached_property
    def files(self) -> dict[Path, str]:
        """Its own files, with the digest that they were written with."""
        folder = self.path.parent / (self.content["folder"] or "")
        own = self._absolute(self.content["files"], folder)
        return own | self._absolute(self.content.get("outputs", {}), self.path.parent)

    @staticmethod
    def _absolute(digests: dict[str, str], folder: Path) -> dict[Path, str]:
        return {Path(os.path.normpath(folder / name)): digest for name, digest in digests.items()}


def artefacts(results: Path) -> list[Artefact]:
    """All artefacts of a run, each after those that it was made from.

    Raises:
        UserError: there are none.
    """
    results = results.resolve()
    paths = [path for pattern in ("manifest.json", "*.manifest.json", "*.card.json") for path in results.rglob(pattern)]
    found = [Artefact(path, read_manifest(path)) for path in sorted(paths) if "kept" not in path.parts]
    if not found:
        raise UserError(f"{results}: no manifest there; give the folder of a run, for example results/demo")
    makers = makers_of_files(found)
    ordered: dict[Path, Artefact] = {}

    def visit(artefact: Artefact) -> None:
        if artefact.path not in ordered:
            for parent in artefact.parents:
                if maker := makers.get(parent):
                    visit(maker)
            ordered[artefact.path] = artefact

    for artefact in found:
        visit(artefact)
    return list(ordered.values())


def makers_of_files(found: list[Artefact]) -> dict[Path, Artefact]:
    """Which artefact a file belongs to."""
    return {file: artefact for artefact in found for file in (artefact.path, *artefact.files)}


def broken_links(results: Path) -> Iterator[str]:
    """A sentence for each file that is not what its manifest says, the one that others were made from first."""
    root = results.resolve()
    digests: dict[Path, str | None] = {}

    def digest(path: Path) -> str | None:
        if path not in digests:
            digests[path] = file_sha256(path) if path.is_file() else None
        return digests[path]

    for artefact in artefacts(results):
        name = artefact.path.relative_to(root)
        for file, expected in artefact.files.items():
            if digest(file) != expected:
                how = "is gone" if digest(file) is None else "is not what it was"
                # Snakemake does not miss an intermediate file that nothing waits for, so it has to be asked.
                mend = f"snakemake --force {results / name}, then snakemake"
                yield f"{file.relative_to(root)} {how} when {name} was written; {mend}"
        for file, expected in artefact.parents.items():
            # Logs and other sources from outside may have been moved since.
            if file.is_relative_to(root) and digest(file) != expected:
                what = "is gone" if digest(file) is None else "has changed"
                yield f"{file.relative_to(root)} {what} since {name} was made from it"


def chain(artefact: Path) -> list[str]:
    """A line for an artefact and for all that it comes from, indented under what was made from it.

    Raises:
        UserError: no manifest of its run speaks of it.
    """
    artefact = artefact.resolve()
    root = next((folder for folder in artefact.parents if (folder / "settings").is_dir()), None)
    if root is None:
        raise UserError(f"{artefact}: not in the folder of a run; give a file below results/RUN")
    makers = makers_of_files(artefacts(root))
    if artefact not in makers:
        raise UserError(f"{artefact}: no manifest speaks of it; give a manifest, or a file that one names")
    lines: list[str] = []
    told: set[Path] = set()

    def descend(file: Path, depth: int) -> None:
        maker = makers.get(file)
        place = maker.path if maker else file
        line = "  " * depth + f"{maker.content['kind'] if maker else 'file'} {os.path.relpath(place, root)}"
        if place in told:
            lines.append(f"{line}, see above")
            return
        told.add(place)
        if maker is None:
            lines.append(line)
            return
        seed = "" if maker.content["seed"] is None else f", seed {maker.content['seed']}"
        lines.append(f"{line} (code {maker.content['code']}{seed})")
        # Several files of one artefact are one parent.
        for parent in {makers[p].path if p in makers else p: p for p in maker.parents}.values():
            descend(parent, depth + 1)

    descend(artefact, 0)
    return lines
