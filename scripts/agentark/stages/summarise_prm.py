"""One table of what reward models know, a text of it for the terminal, and a figure."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import pandas as pd

from agentark.evaluation.prm_table import BEST_OF_N, OURS, TRIVIAL, WHOSE, as_text, headline, prm_table
from agentark.records.files import read_rows, write_csv, write_svg, write_text
from agentark.records.scores import ScoredTrace

COLOURS = {OURS: "#d62728", "vote": "#1f77b4", "oracle": "#2ca02c"}
OTHER = "#8c8c8c"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--scores", type=Path, nargs="+", required=True)
    parser.add_argument("--published", nargs="*", default=[], help="BENCHMARK=PART of ProcessBench that it is")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--figure", type=Path, required=True, help="SVG")
    work(parser.parse_args(argv))
    return 0


def work(args: argparse.Namespace) -> None:
    table = prm_table(rows(args.scores), dict(pair.split("=") for pair in args.published))
    write_csv(args.out, table)
    write_text(args.text, as_text(table))
    write_svg(args.figure, plotted(headline(table)))


def rows(paths: list[Path]) -> Iterator[ScoredTrace]:
    for path in paths:
        yield from read_rows(path, ScoredTrace)


def plotted(table: pd.DataFrame) -> plt.Figure:
    """For each reward model and benchmark a line of two panels: steps told apart, and answers chosen."""
    own = table[table["n_seeds"].notna() & table["against"].isna()]
    groups = list(own.groupby(WHOSE, sort=False))
    figure, axes = plt.subplots(
        max(1, len(groups)), 2, squeeze=False, figsize=(12, 2.6 * max(1, len(groups)) + 0.4), layout="constrained"
    )
    for (left, right), (whose, found) in zip(axes, groups, strict=False):
        about = dict(zip(WHOSE, whose, strict=True))
        title = f"{about['model']}, {about['variant']}, on {about['benchmark']}"
        steps = found[(found["measure"] == "auroc") & found["judge"].isin([OURS, *TRIVIAL])]
        draw(left, f"{title}: AUROC of steps", steps, 1.0)
        draw(right, f"{title}: best of n, %", found[found["measure"] == BEST_OF_N], 100.0)
    return figure


def draw(axis: plt.Axes, title: str, found: pd.DataFrame, scale: float) -> None:
    """Horizontal points with their intervals."""
    lines = found.iloc[::-1].to_dict("records")
    for height, row in enumerate(lines):
        low, middle, high = (scale * row[key] for key in ("ci_low", "value", "ci_high"))
        colour = COLOURS.get(row["judge"], OTHER)
        axis.errorbar(middle, height, xerr=[[middle - low], [high - middle]], fmt="o", color=colour, capsize=3)
    axis.set_yticks(range(len(lines)), [row["judge"].replace("_", " ") for row in lines], size=8)
    axis.set_title(title, size=9)
    axis.spines[["top", "right"]].set_visible(False)
    if not lines:
        axis.set_axis_off()


if __name__ == "__main__":
    raise SystemExit(main())
