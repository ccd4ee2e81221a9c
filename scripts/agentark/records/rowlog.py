"""An append-only log of rows, indexed in memory: what was done survives a kill, wherever it strikes.

A row reaches the operating system before `append` returns, so a killed process loses nothing; the disk gets it within
a second, so a power cut loses that second. A half-written last line is cut off when the file is opened again.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from agentark.records.row import Row
from agentark.running.ownership import own

R = TypeVar("R", bound=Row)

SECONDS_BETWEEN_SYNCS = 1.0


class RowLog(Generic[R]):
    """Rows by a key; of several rows with one key the last one counts.

    Memory: some 200 bytes a remembered row.
    """

    def __init__(self, path: Path, kind: type[R]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.n_damaged = 0
        """Lines that were no rows and were left out, a half-written last one among them."""
        self._decode = msgspec.json.Decoder(tuple[str, kind]).decode
        self._places: dict[str, int] = {}
        self._handle = path.open("a+b")
        own(self._handle, path.parent)
        self._index()
        self._synced = time.monotonic()

    def _index(self) -> None:
        self._handle.seek(0)
        place = 0
        for line in self._handle:
            if not line.endswith(b"\n"):
                self._handle.truncate(place)
                self.n_damaged += 1
                break
            try:
                self._places[self._decode(line)[0]] = place
            except (msgspec.DecodeError, UnicodeDecodeError):
                self.n_damaged += 1
            place += len(line)
        self._handle.seek(0, os.SEEK_END)

    def append(self, key: str, row: R, *, remember: bool = True) -> None:
        """Keep a row; unless it is remembered, it can be asked for only when the file is opened again."""
        place = self._handle.seek(0, os.SEEK_END)
        self._handle.write(msgspec.json.encode((key, row)) + b"\n")
        self._handle.flush()
        if remember:
            self._places[key] = place
        if time.monotonic() - self._synced >= SECONDS_BETWEEN_SYNCS:
            self.sync()

    def get(self, key: str) -> R | None:
        place = self._places.get(key)
        if place is None:
            return None
        self._handle.seek(place)
        return self._decode(self._handle.readline())[1]

    def sync(self) -> None:
        os.fsync(self._handle.fileno())
        self._synced = time.monotonic()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def rows(self) -> Iterator[R]:
        """In the order of their keys, whatever the order in which they came."""
        for key in sorted(self._places):
            yield self.get(key)

    def close(self) -> None:
        self.sync()
        self._handle.close()
