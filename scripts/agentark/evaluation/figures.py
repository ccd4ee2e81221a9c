"""How figures name and colour arms."""

from collections.abc import Hashable, Mapping
from typing import Any

from agentark.evaluation.arms import BASE, called

COLOURS = {
    "base": "#8c8c8c",
    "rsft": "#1f77b4",
    "da": "#2ca02c",
    "pad": "#d62728",
    **dict.fromkeys(("answer_only", "single_cot", "majority", "rejection"), "#e0a030"),
}
"""By the last training."""


def colour(row: Mapping[Hashable, Any]) -> str:
    return COLOURS[BASE if row["method"] == BASE else row["recipe"].rpartition("-")[2]]


def name(row: Mapping[Hashable, Any]) -> str:
    """`pad, smollm2-135m`, `long/pad, smollm2-135m` or `debate, smollm2-135m`."""
    untrained = row["method"] == BASE and row["protocol"] != "single"
    what = str(row["protocol"]).replace("_", " ") if untrained else row["method"]
    return f"{called(row['variant'], what)}, {row['model']}"
