"""Progress a person can see while a stage runs: stage, done/total, tokens a second, time left."""

import sys
import time
from contextlib import suppress
from typing import TextIO

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_REDRAWS = 0.5
ERASE_TO_END = "\x1b[K"
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
    """One line that lives on a terminal; plain lines, one in `SECONDS_BETWEEN_LINES` seconds, in a file or a pipe."""

    terminal: TextIO | None = None
    """Where a person looks, when standard error goes to a log (`output.to_log`)."""
    _live: "Progress | None" = None
    """Whose line stands on the terminal unfinished."""

    def __init__(self, stage: str, total: int, unit: str) -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.done = self.failed = 0
        self.asked = self.replied = 0
        self.tokens_in = self.tokens_cached = self.tokens = 0
        self.started = time.monotonic()
        self._printed = self.started
        self._logged = 0.0

    def restart(self) -> None:
        """Start the clock now: what came before (loading a model) says nothing about the time left."""
        self.started = self._printed = time.monotonic()

    def update(self, done: int = 1, tokens: int = 0, note: str = "") -> None:
        """Add finished units and the tokens that they took."""
        self.done += done
        self.tokens += tokens
        now = time.monotonic()
        wait = SECONDS_BETWEEN_REDRAWS if _terminal().isatty() else SECONDS_BETWEEN_LINES
        if now - self._printed >= wait or (done and self.done >= self.total):
            self._printed = now
            self._print(now - self.started, note)

    def fail(self) -> None:
        """One unit is done without a result."""
        self.failed += 1
        self.update()

    def _print(self, elapsed: float, note: str) -> None:
        seconds = max(elapsed, 1e-9)
        finished = self.done >= self.total
        parts = [f"{self.stage:<12} {self.done:>5}/{self.total} {self.unit}"]
        if self.asked > self.replied:
            parts.append(f"{self.asked - self.replied} in flight")
        if self.tokens_in:
            parts.append(
                f"{self.tokens_in / seconds:,.0f} tokens/s in ({self.tokens_cached / self.tokens_in:.0%} cached)"
            )
            parts.append(f"{self.tokens / seconds:,.0f} out")
        elif self.tokens:
            parts.append(f"{self.tokens / seconds:,.0f} tokens/s")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if finished:
            parts.append(f"done in {duration(elapsed)}")
        elif self.done >= SHARE_TO_FORETELL * self.total:
            parts.append(f"{duration(elapsed / self.done * (self.total - self.done))} left")
        line = ", ".join([*parts[1:], note] if note else parts[1:])
        line = f"{parts[0]}  {line}"
        if not _terminal().isatty():
            say(line)
            return
        _write(f"\r{line}{ERASE_TO_END}" + ("\n" if finished else ""))
        Progress._live = None if finished else self
        # The log tells `agentark status` how far this is, so it must not wait for the end.
        if finished or elapsed - self._logged >= SECONDS_BETWEEN_LINES:
            self._logged = elapsed
            _log(line)


def say(text: str) -> None:
    """One line for the person and, when they differ, for the log."""
    if Progress._live is not None:
        _write("\n")
        Progress._live = None
    _write(f"{text}\n")
    _log(text)


def _terminal() -> TextIO:
    return Progress.terminal or sys.stderr


def _write(text: str) -> None:
    """To the terminal, if it is still there: work must not end because nobody looks."""
    with suppress(OSError):
        _terminal().write(text)
        _terminal().flush()


def _log(text: str) -> None:
    if Progress.terminal is not None:
        print(text, file=sys.stderr, flush=True)
