"""Progress a person can see while a stage runs: stage, done/total, tokens a second, time left."""

import sys
import time
from typing import TextIO

SECONDS_BETWEEN_LINES = 5.0
SHARE_TO_FORETELL = 0.05
"""Done before time left is told: of a batch that started together, the first to finish foretells nothing."""


def duration(seconds: float) -> str:
    """`75.2` -> `1m15s`."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


class Progress:
    """Prints at most one line in `SECONDS_BETWEEN_LINES` seconds, and one at the end.

    Plain lines rather than a redrawn one: several jobs share Snakemake's terminal, and the log keeps them too.
    """

    terminal: TextIO = sys.stderr
    """Where a person looks; `stage.session` points it past the log redirection."""

    def __init__(self, stage: str, total: int, unit: str) -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.done = 0
        self.tokens = 0
        self.started = time.monotonic()
        self._printed = self.started

    def restart(self) -> None:
        """Start the clock now: what came before (loading a model) says nothing about the time left."""
        self.started = self._printed = time.monotonic()

    def update(self, done: int = 1, tokens: int = 0, note: str = "") -> None:
        """Add finished units and the tokens they took."""
        self.done += done
        self.tokens += tokens
        now = time.monotonic()
        if now - self._printed >= SECONDS_BETWEEN_LINES or self.done >= self.total:
            self._printed = now
            self._print(now - self.started, note)

    def _print(self, elapsed: float, note: str) -> None:
        parts = [f"{self.stage:<12} {self.done:>5}/{self.total} {self.unit}"]
        if self.tokens:
            parts.append(f"{self.tokens / max(elapsed, 1e-9):,.0f} tokens/s")
        if self.done >= self.total:
            parts.append(f"done in {duration(elapsed)}")
        elif self.done >= SHARE_TO_FORETELL * self.total:
            parts.append(f"{duration(elapsed / self.done * (self.total - self.done))} left")
        say("  ".join([*parts, note] if note else parts))


def say(text: str) -> None:
    """One line for the person and, when they differ, for the log."""
    print(text, file=Progress.terminal, flush=True)
    if Progress.terminal is not sys.stderr:
        print(text, file=sys.stderr, flush=True)
