"""Accuracy, or what else a benchmark is judged by, of every model and protocol with its interval, as SVG."""

import argparse
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import pandas as pd

from agentark.evaluation.arms import BASE
from agentark.evaluation.figures import COLOURS, colour, name
from agentark.evaluation.summary import headline
from agentark.records.files import write_svg


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)

    table = headline(pd.read_csv(args.table))
    benchmarks = list(dict.fromkeys(table["benchmark"]))
    tallest = table["benchmark"].value_counts().max()
    figure, axes = plt.subplots(
        1, len(benchmarks), squeeze=False, figsize=(6.5 * len(benchmarks), 1.4 + 0.38 * tallest), layout="constrained"
    )
    for axis, benchmark in zip(axes[0], benchmarks, strict=True):
        draw(axis, benchmark, table[table["benchmark"] == benchmark].iloc[::-1])
    write_svg(args.out, figure)
    return 0


def draw(axis: plt.Axes, benchmark: str, rows: pd.DataFrame) -> None:
    """Horizontal points with their intervals, and a line at the untrained model."""
    labels = [label(row) for row in rows.to_dict("records")]
    for height, row in enumerate(rows.to_dict("records")):
        low, middle, high = (100 * row[key] for key in ("ci_low", "score", "ci_high"))
        axis.errorbar(
            middle,
            height,
            xerr=[[middle - low], [high - middle]],
            fmt="o" if row["protocol"] == "single" else "s",
            color=colour(row),
            capsize=3,
        )
        axis.annotate(f"{middle:.1f}", (middle, height), xytext=(0, 5), textcoords="offset points", ha="center", size=8)
    base = rows[(rows["method"] == BASE) & (rows["protocol"] == "single")]["score"]
    if len(base) == 1:
        axis.axvline(100 * base.iloc[0], color=COLOURS["base"], linewidth=0.8, linestyle="--")
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(-0.6, len(labels) - 0.3)
    axis.set_xlabel(f"{rows['metric'].iloc[0]}, %")
    axis.set_title(benchmark)
    axis.spines[["top", "right"]].set_visible(False)


def label(row: dict[Hashable, Any]) -> str:
    """Its name, with what tells it from its neighbours."""
    seeds = f"seed {row['seed']:.0f}" if row["n_seeds"] == 1 else f"{row['n_seeds']} seeds"
    how = f" on {row['train_set']}, {seeds}" if row["method"] != BASE else ""
    return f"{name(row)}{how} (n={row['n']})"


if __name__ == "__main__":
    raise SystemExit(main())
