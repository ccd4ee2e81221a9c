"""A run as an RO-Crate: its files, and which program made which of them from what, for archives and registries.

Conforms to Process Run Crate 0.5 (https://w3id.org/ro/wfrun/process/0.5), which is based on RO-Crate 1.1.
"""

import mimetypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentark.provenance.lineage import Artefact, artefacts
from agentark.provenance.manifests import read_manifest
from agentark.records.row import content_id

if TYPE_CHECKING:
    from rocrate.model import Entity
    from rocrate.rocrate import ROCrate

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
PAGES = ("settings/**/*.json", "variants/*/settings/**/*.json", "tables/**/*.*", "figures/**/*.*", "report.html")
"""What a run holds beside its artefacts."""


def write(results: Path, licence: str | None = None) -> Path:
    """Write `ro-crate-metadata.json` into the folder of a run.

    Args:
        licence: of the whole run; None = those of its questions are named.

    Raises:
        UserError: the folder holds no run.
    """
    from rocrate.rocrate import ROCrate

    root = results.resolve()
    found = artefacts(root)
    crate = ROCrate(version="1.1")
    files = _Files(crate, root)
    actions = [_action(crate, artefact, files) for artefact in found]
    for pattern in PAGES:
        for path in sorted(root.glob(pattern)):
            files.of(path)

    profile = _context(crate, PROFILE, "CreativeWork", name="Process Run Crate", version="0.5")
    whole = crate.root_dataset
    whole["conformsTo"] = profile
    whole["mentions"] = actions
    whole["name"] = f"AgentArk run {root.name}"
    whole["description"] = (
        "Multi-agent debates, their traces and training sets, the students trained on them, and scores"
    )
    whole["license"] = licence or _licences(found)
    if ends := [action["endTime"] for action in actions if action.get("endTime")]:
        whole["datePublished"] = max(ends)
    crate.metadata.write(root)
    return root / "ro-crate-metadata.json"


class _Files:
    """The crate's files, each once."""

    def __init__(self, crate: "ROCrate", root: Path) -> None:
        self._crate, self._root = crate, root
        self._found: dict[Path, Entity] = {}

    def of(self, path: Path, digest: str | None = None) -> "Entity":
        if path not in self._found:
            self._found[path] = self._add(path, digest)
        return self._found[path]

    def _add(self, path: Path, digest: str | None) -> "Entity":
        known = {"sha256": digest} if digest else {}
        if not path.is_relative_to(self._root) or not path.is_file():
            # From outside, a debate log for example, or deleted since: named, not part of the crate.
            return _context(self._crate, f"#source-{digest}", "CreativeWork", name=path.name, **known)
        name = path.relative_to(self._root).as_posix()
        known |= {"name": name, "encodingFormat": mimetypes.guess_type(name)[0] or "application/octet-stream"}
        known["contentSize"] = str(path.stat().st_size)
        return self._crate.add_file(path, dest_path=name, properties=known)


def _action(crate: "ROCrate", artefact: Artefact, files: _Files) -> "Entity":
    """What made an artefact: a program with its digest, from these files to those."""
    content = artefact.content
    packages = [f"{name} {version}" for name, version in content["packages"].items()]
    program = f"#agentark-{content_id(content['code'], *packages)}"
    instrument = crate.get(program) or _context(
        crate,
        program,
        "SoftwareApplication",
        name=f"agentark: what makes {content['kind']}",
        softwareVersion=content["code"],
        softwareRequirements=packages,
    )
    name = os.path.relpath(artefact.path, files._root)
    action = crate.add_action(
        instrument,
        identifier=f"#made-{name}",
        object=[files.of(path, digest) for path, digest in artefact.parents.items()],
        result=[files.of(artefact.path), *(files.of(path, digest) for path, digest in artefact.files.items())],
        properties={"name": f"{content['kind']} {name}"} | _times(artefact),
    )
    return action


def _times(artefact: Artefact) -> dict[str, str]:
    told = artefact.path.with_suffix(".run.json")
    if not told.is_file():
        return {}
    run = read_manifest(told)
    return {"startTime": run["began"], "endTime": run["ended"], "description": f"on {run['machine']}"}


def _licences(found: list[Artefact]) -> str:
    of_questions = {
        artefact.content["settings"].get("licence") for artefact in found if artefact.content["kind"] == "questions"
    }
    named = ", ".join(sorted(filter(None, of_questions)))
    return f"of the questions: {named}" if named else "not stated"


def _context(crate: "ROCrate", identifier: str, kind: str, **properties: Any) -> "Entity":
    from rocrate.model.contextentity import ContextEntity

    return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))
