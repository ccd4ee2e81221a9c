"""Stop a training in time to save it: before its time limit, or at SIGTERM or SIGUSR1.

It then saves, ends with exit status 85, and the next attempt goes on where it was.
"""

import os
import re
import signal
import subprocess
import time
from types import FrameType

from agentark.running.progress import duration, say

STOPPED = 85
"""Exit status of a stage that was stopped and can be gone on with."""
MARGIN = 0.1, 20.0, 600.0
"""Time kept for saving: this share of what was left at the start, in seconds not less and not more than this."""


class StoppedError(Exception):
    """Work that was stopped at a place where it can go on; the message says where."""


class Deadline:
    """Looked at between two updates.

    Args:
        seconds: time left to the job; None = what Slurm says, or no limit.
    """

    def __init__(self, seconds: float | None = None) -> None:
        share, least, most = MARGIN
        left = seconds_left() if seconds is None else seconds
        self._why: str | None = None
        self._at: float | None = None
        if left is not None:
            self._at = time.monotonic() + left - min(max(share * left, least), most)
            say(f"deadline     {duration(left)} left to this job")
        elif "SLURM_JOB_ID" in os.environ:
            say("deadline     not known: squeue names no limit here")
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._told)

    def _told(self, number: int, _: FrameType | None) -> None:
        self._why = signal.Signals(number).name

    def why_stop(self) -> str | None:
        """What makes it time to stop: a signal's name or `time limit`; None when there is time."""
        if self._why is None and self._at is not None and time.monotonic() > self._at:
            self._why = "time limit"
        return self._why


def seconds_left() -> float | None:
    """What Slurm still gives this job; None outside Slurm, and where there is no limit."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return None
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%L"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parsed(answer.stdout.strip())


def parsed(text: str) -> float | None:
    """Slurm's `[days-][[hours:]minutes:]seconds` in seconds; None for anything else, `UNLIMITED` for example."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(?:(\d+):)?(\d+)", text)
    if found is None:
        return None
    days, *clock = found.groups()
    numbers = [int(part) for part in clock if part is not None]
    seconds = 0
    for number in numbers:
        seconds = 60 * seconds + number
    return 86_400 * int(days or 0) + seconds
