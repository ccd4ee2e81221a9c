"""Write the files for `snakemake --sdm conda` from the locks: python envs/conda.py (a part of `make docs`).

Conda brings Python and a compiler; the lock is installed by a script that Snakemake runs afterwards, since a conda file
can say neither --no-deps nor where the lock lies once Snakemake has copied it.
"""

from pathlib import Path

HERE = Path(__file__).parent

ENVIRONMENT = """# Made from {lock} by envs/conda.py; the lock itself is installed by {name}.post-deploy.sh.
channels: [conda-forge]
dependencies:
  - python=3.11
  - pip
  # For what has no wheel (pycosat), and for Triton's kernels.
  - c-compiler
"""
SCRIPT = """#!/bin/bash
# Made from {lock} by envs/conda.py: the lock in an environment of its own, torch first with what it needs.
set -euo pipefail
lock=$(mktemp)
trap 'rm "$lock"' EXIT
cat > "$lock" <<'END'
{packages}
END
python -m pip install --no-compile "$(grep '^torch==' "$lock")"
python -m pip install --no-compile --no-deps -r "$lock"
"""


def files(lock: Path) -> dict[Path, str]:
    """Both files of an environment, and what belongs in them."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    names = {
        "lock": lock.name,
        "name": lock.stem,
        "packages": "\n".join(line for line in lines if not line.startswith("#")),
    }
    return {
        lock.with_suffix(".yaml"): ENVIRONMENT.format(**names),
        lock.with_suffix(".post-deploy.sh"): SCRIPT.format(**names),
    }


def main() -> None:
    for lock in sorted(HERE.glob("worker-*.txt")):
        for path, text in files(lock).items():
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
