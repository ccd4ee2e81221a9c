"""Score imported debates on held-out questions: the last round's vote, and the first round's."""

import argparse
from pathlib import Path

from agentark import stage
from agentark.evaluation.scoring import evaluation_row, first_round_vote
from agentark.progress import say
from agentark.records import Debate, read_rows, write_rows


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--debates", type=Path, required=True, help="imported debates of the held-out questions")
    parser.add_argument("--teacher", required=True, help="name for the models that debated")
    parser.add_argument("--out", type=Path, required=True)
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    rows = [
        evaluation_row(protocol, model=args.teacher, method="base", seconds=0.0, seed=0)
        for debate in read_rows(args.debates, Debate)
        for protocol in (debate, first_round_vote(debate))
    ]
    write_rows(args.out, rows)
    say(f"evaluation   {args.teacher}: {len(rows) // 2} imported debates scored")


if __name__ == "__main__":
    raise SystemExit(main())
