"""What arms cost and what they are worth: a table, and accuracy against the time of an answer."""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from agentark.config.tables import Tables
from agentark.evaluation.arms import read_arms
from agentark.evaluation.cost import cost, spent
from agentark.evaluation.figures import colour, name
from agentark.records.files import write_csv, write_svg
from agentark.running import stage
from agentark.running.progress import say


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run; the settings say which rows in it")
    parser.add_argument("--out", type=Path, required=True, help="CSV, a line an arm")
    parser.add_argument("--figure", type=Path, required=True, help="SVG, a panel a benchmark")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Tables)
    evaluations = [args.run / path for path in settings.evaluations]
    table = cost(read_arms(evaluations, settings), spent(args.run, evaluations), settings)
    write_csv(args.out, table)
    write_svg(args.figure, plotted(table))
    say(f"cost         {settings.experiment}: {int(table['pareto'].eq(True).sum())} of {len(table)} arms on the front")


def plotted(table: pd.DataFrame) -> plt.Figure:
    """Score against seconds a question, with the front; arms whose time is not known are left out."""
    timed = table[table["seconds_per_question"].notna()]
    benchmarks = list(dict.fromkeys(table["benchmark"]))
    figure, axes = plt.subplots(
        1, len(benchmarks), squeeze=False, figsize=(7.5 * len(benchmarks), 4.2), layout="constrained"
    )
    for axis, benchmark in zip(axes[0], benchmarks, strict=True):
        rows = timed[timed["benchmark"] == benchmark].sort_values("score")
        front = rows[rows["pareto"] == True].sort_values("seconds_per_question")  # noqa: E712 - a column, some None
        axis.step(
            front["seconds_per_question"], 100 * front["score"], where="post", color="#b0b0b0", linewidth=1, zorder=1
        )
        for rank, row in enumerate(rows.to_dict("records")):
            place = row["seconds_per_question"], 100 * row["score"]
            axis.plot(*place, "o" if row["protocol"] == "single" else "s", color=colour(row))
            # Names stand beside the panel in the order of the scores: points lie close together.
            beside = {"xytext": (1.03, (rank + 0.5) / len(rows)), "textcoords": "axes fraction", "va": "center"}
            axis.annotate(name(row), place, **beside, size=8, arrowprops={"arrowstyle": "-", "color": "#d8d8d8"})
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.margins(x=0.1, y=0.1)
        axis.set_xlabel("seconds a question, all questions at once")
        axis.set_ylabel(f"{rows['judged_by'].iloc[0] if len(rows) else 'score'}, %")
        axis.set_title(benchmark)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    raise SystemExit(main())
