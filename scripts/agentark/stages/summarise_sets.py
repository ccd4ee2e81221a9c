"""One table of all training sets, and a figure of how long their rows are."""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import pandas as pd

from agentark.config.variants import MAIN, variant_of
from agentark.records.files import write_csv, write_svg
from agentark.sets.cards import BIN

FIRST = ["variant", "teacher", "dataset", "set", "questions", "questions_used", "rows", "tokens", "corrective_rows"]
NOT_IN_TABLE = {"kinds", "sources", "licences", "tokens_histogram", "examples"}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--cards", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path, required=True)
    args = parser.parse_args(argv)

    cards = [card(path) for path in args.cards]
    table = pd.DataFrame([{key: value for key, value in one.items() if key not in NOT_IN_TABLE} for one in cards])
    table = table[FIRST + [name for name in table if name not in FIRST]]
    write_csv(args.out, table)
    draw([one for one in cards if one["set"] != "rl"], args.figure)
    return 0


def card(path: Path) -> dict[str, Any]:
    """A set's facts, with whose they are: the path says `[variants/NAME/]sets/TEACHER/DATASET/KIND.card.json`."""
    facts = json.loads(path.read_text(encoding="utf-8"))["facts"]
    return {"variant": variant_of(path), "teacher": path.parts[-3], "dataset": path.parts[-2], **facts}


def draw(cards: list[dict[str, Any]], path: Path) -> None:
    """A histogram a set, all on one scale."""
    figure, axes = plt.subplots(
        len(cards), squeeze=False, sharex=True, figsize=(6.5, 0.6 + 0.9 * len(cards)), layout="constrained"
    )
    for axis, one in zip(axes[:, 0], cards, strict=True):
        lengths = {int(key): count for key, count in one["tokens_histogram"].items()}
        axis.bar(list(lengths), list(lengths.values()), width=BIN, align="edge", color="#1f77b4")
        whose = ", ".join([one["teacher"], one["dataset"], *([one["variant"]] if one["variant"] != MAIN else [])])
        title = f"{one['set']}: {one['rows']:,} rows ({whose})"
        axis.set_title(title, loc="left", fontsize="small")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("words and signs of a row")
    write_svg(path, figure)


if __name__ == "__main__":
    raise SystemExit(main())
