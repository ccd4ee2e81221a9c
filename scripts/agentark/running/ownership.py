"""Lock a work folder for one job at a time: one submitted anew waits for the one that nobody watches any more.

When Snakemake is killed, its jobs on a cluster run on; started again, it submits them a second time.
"""

import fcntl
from pathlib import Path
from typing import IO

from agentark.running.progress import say

_held: list[IO[bytes]] = []


def own_folder(folder: Path) -> None:
    """Have a folder to oneself until this process ends; its lock lies beside it, so that the folder may go."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    handle = folder.with_name(f".{folder.name}.lock").open("ab")
    own(handle, folder)
    _held.append(handle)


def own(handle: IO[bytes], what: Path) -> None:
    """Lock an open file until it is closed or this process ends; wait for whoever holds it, on whichever node."""
    # A record lock: network file systems keep it for all nodes, and a process never waits for itself.
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if not isinstance(error, BlockingIOError | PermissionError):
            return  # a file system without locks
        say(f"waiting      another job still works in {what}; this one goes on when that has ended")
        fcntl.lockf(handle, fcntl.LOCK_EX)
