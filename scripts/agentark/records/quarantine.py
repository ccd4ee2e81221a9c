"""Quarantine of rows that cannot be used: set aside with the reason, counted, and fatal only when there are too many.

One bad row among a million must not end a run, and a source of which a tenth is bad must not pass for a good one.
"""

from collections import Counter
from pathlib import Path

from agentark.errors import UserError
from agentark.records.files import write_rows
from agentark.records.row import Row

SAMPLE_CHARS = 200
MAX_LISTED = 100_000
"""Rows that are listed; the rest are counted, for a source may hold nothing else."""
REASONS_SHOWN = 5


class RejectedRow(Row):
    """A row of a source that cannot be used, and why."""

    where: str
    """File and place, or an id."""
    reason: str
    """In words that are the same for all rows with this fault, so that they can be counted."""
    sample: str
    """Its beginning."""


class Quarantine:
    """The rows of one source that were set aside."""

    def __init__(self, what: str, allowed_share: float, key: str) -> None:
        """
        Args:
            what: names the rows in the message: "logged debates".
            allowed_share: of all rows.
            key: the config key of that share, for the message.
        """
        self._what, self._allowed, self._key = what, allowed_share, key
        self._rows: list[RejectedRow] = []
        self._reasons: Counter[str] = Counter()
        self.n_rows = 0
        """All rows of the source that were looked at, good and bad; whoever reads them counts."""

    def __len__(self) -> int:
        return self._reasons.total()

    def add(self, where: str, reason: str, sample: str = "") -> None:
        self._reasons[reason] += 1
        if len(self._rows) < MAX_LISTED:
            self._rows.append(RejectedRow(where=where, reason=reason, sample=_printable(sample[:SAMPLE_CHARS])))

    def reasons(self) -> dict[str, int]:
        """How many rows each reason took, most first."""
        return dict(self._reasons.most_common())

    def __str__(self) -> str:
        counts = ", ".join(f"{count} with {reason}" for reason, count in list(self.reasons().items())[:REASONS_SHOWN])
        return f"{len(self)} of {self.n_rows} {self._what} cannot be used: {counts}; first {self._rows[0].where}"

    def judge(self, path: Path) -> None:
        """Write the list.

        Raises:
            UserError: more are bad than may be; the list is written all the same.
        """
        write_rows(path, self._rows)
        if len(self) > self._allowed * self.n_rows:
            listed = "all" if len(self._rows) == len(self) else f"the first {len(self._rows):,}"
            raise UserError(f"{self}. {self._key} allows {self._allowed:.0%}; {listed} are listed in {path}")


def _printable(text: str) -> str:
    """Half a surrogate pair cannot be written as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
