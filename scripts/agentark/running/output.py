"""Where a job's output goes: all of it to its log, and its progress to the terminal as well.

A picture of the run (`picture.py`) reads in their logs how far its jobs are, so they keep off what it stands on.
"""

import argparse
import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from agentark.running.progress import Progress


def log_of(arguments: list[str]) -> Path | None:
    """The log that a stage program's arguments name."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--log", type=Path)
    return parser.parse_known_args(arguments)[0].log


def under_a_picture() -> bool:
    """Whether standard error is the terminal, pipe or file that a picture stands on.

    Its device and inode name it, the same for all that have inherited it, in a container too. A job on a cluster has
    another one.
    """
    stream = os.fstat(2)
    return os.environ.get("AGENTARK_PICTURE") == f"{stream.st_dev}:{stream.st_ino}"


def give_to_log(log: Path) -> None:
    """Send what this process and those that it becomes or starts print to the log, native libraries included."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as handle:
        os.dup2(handle.fileno(), 1)
        os.dup2(handle.fileno(), 2)


@contextmanager
def to_log(log: Path | None) -> Iterator[None]:
    """Send everything that is printed to the log; keep the terminal for progress."""
    if log is None:
        yield
        return
    if Progress.terminal is not None:  # since the first import
        atexit.unregister(_show_from)
        yield
        return
    # Of the processes of one training, the first one speaks.
    given_before = log.exists() and os.path.samestat(os.fstat(2), log.stat())
    silent = int(os.environ.get("RANK", 0)) > 0 or under_a_picture() or given_before
    saved = [os.dup(1), os.dup(2)]
    with open(os.devnull if silent else os.dup(2), "w", buffering=1) as terminal:
        give_to_log(log)
        Progress.terminal = terminal
        try:
            yield
        finally:
            Progress.terminal = None
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in zip((1, 2), saved, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)


def to_log_from_here(log: Path) -> None:
    """The same until this process ends. Should its work never begin, the terminal is told what was said till then.

    That is why: a wrong argument, a library that is missing.
    """
    begins_at = log.stat().st_size if log.exists() else 0
    until_the_end = ExitStack()
    until_the_end.enter_context(to_log(log))
    atexit.register(until_the_end.close)
    atexit.register(_show_from, log, begins_at)


def _show_from(log: Path, begins_at: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    with suppress(OSError), log.open("rb") as handle:
        handle.seek(begins_at)
        Progress.terminal.write(handle.read().decode(errors="replace"))
