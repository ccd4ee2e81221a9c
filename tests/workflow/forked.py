"""Snakemake's command line in a process that has imported it already: half of a small dry-run is imports.

python -m tests.workflow.forked      forks itself for each line of JSON that it reads, and answers with an exit status
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path


@cache
def _server() -> subprocess.Popen[str]:
    """One for this process; it ends with its standard input."""
    command = [sys.executable, "-m", "tests.workflow.forked"]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def snakemake(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run(["snakemake", *arguments], cwd=folder, env=environment)`."""
    with tempfile.TemporaryDirectory() as temporary:
        out, err = Path(temporary, "out"), Path(temporary, "err")
        asked = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
        server = _server()
        server.stdin.write(json.dumps(asked | {"out": str(out), "err": str(err)}) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(arguments, status, out.read_text(), err.read_text())


def main() -> None:
    import snakemake.cli  # and with it all that a dry-run needs

    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            for number, path in ((1, asked["out"]), (2, asked["err"])):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
            os.chdir(asked["folder"])
            os.environ.clear()
            os.environ.update(asked["environment"])
            sys.argv = ["snakemake", *asked["arguments"]]
            snakemake.cli.main(asked["arguments"])
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
