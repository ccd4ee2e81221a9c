"""Benchmarks: ours beside a reference in one run, alternately (A B A B), because machines are noisy and days differ.

`make bench TOPIC=dag` runs tests/benchmarks/dag.py; a topic is a module here with `rows() -> Iterator[Row]`.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of results/bench/<topic>.csv; `ratio` is ours / reference."""

    name: str
    ours: float
    reference: float
    unit: str
    note: str

    @property
    def ratio(self) -> float:
        return self.ours / self.reference


def alternate(ours: Callable[[], float], reference: Callable[[], float], rounds: int = 2) -> tuple[float, float]:
    """Medians of both measurements, taken in turn."""
    pairs = [(ours(), reference()) for _ in range(rounds)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)
