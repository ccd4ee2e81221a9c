"""One table of what reward models know, a text of it for the terminal, and a figure."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import pandas as pd

from agentark.evaluation.prm_table import BEST_OF_N, FIRST_ERROR, OURS, TRIVIAL, WHOSE, as_text, headline, prm_table
from agentark.records.files import read_rows, write_csv, write_svg, write_text
from agentark.records.scores import ScoredTrace

COLOURS = {"vote": "#1f77b4", "oracle": "#2ca02c", **dict.fromkeys(("random", *TRIVIAL), "#8c8c8c")}
BY_REWARD, PUBLISHED = "#d62728", "#e0a030"


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
    """For each reward model and benchmark two panels: steps told apart, and answers chosen or, where there are
    none to choose from, first errors found."""
    own = table[table["n_seeds"].notna() & table["against"].isna()]
    published = table[table["n_seeds"].isna()]
    groups = list(own.groupby(WHOSE, sort=False))
    figure, axes = plt.subplots(
        max(1, len(groups)), 2, squeeze=False, figsize=(12, 2.6 * max(1, len(groups)) + 0.4), layout="constrained"
    )
    for (left, right), (whose, found) in zip(axes, groups, strict=False):
        about = dict(zip(WHOSE, whose, strict=True))
        title = f"{about['model']}, {about['variant']}, on {about['benchmark']}"
        steps = found[(found["measure"] == "auroc") & found["judge"].isin([OURS, *TRIVIAL])]
        draw(left, f"{title}: AUROC of steps", steps, 1.0)
        if (found["measure"] == BEST_OF_N).any():
            draw(right, f"{title}: best of n, %", found[found["measure"] == BEST_OF_N], 100.0)
        else:
            beside = published[published["benchmark"] == about["benchmark"]]
            errors = pd.concat([found[found["measure"] == FIRST_ERROR], beside])
            draw(right, f"{title}: first errors found, F1, %", errors, 100.0)
    return figure


def draw(axis: plt.Axes, title: str, found: pd.DataFrame, scale: float) -> None:
    """Horizontal points, with their intervals where they have one."""
    lines = found.iloc[::-1].to_dict("records")
    for height, row in enumerate(lines):
        low, middle, high = (scale * row[key] for key in ("ci_low", "value", "ci_high"))
        colour = PUBLISHED if pd.isna(row["n_seeds"]) else COLOURS.get(row["judge"], BY_REWARD)
        interval = None if pd.isna(low) else [[middle - low], [high - middle]]
        axis.errorbar(middle, height, xerr=interval, fmt="o", color=colour, capsize=3)
    axis.set_yticks(range(len(lines)), [row["judge"].replace("_", " ") for row in lines], size=8)
    axis.set_title(title, size=9)
    axis.spines[["top", "right"]].set_visible(False)
    if not lines:
        axis.set_axis_off()


if __name__ == "__main__":
    raise SystemExit(main())
