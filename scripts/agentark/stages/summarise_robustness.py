"""What arms lose on changed questions: a line an arm and benchmark."""

import argparse
from pathlib import Path

from agentark.config.tables import Tables
from agentark.evaluation.arms import read_arms
from agentark.evaluation.robustness import robustness
from agentark.records.files import write_csv
from agentark.running import stage
from agentark.running.progress import say


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run; the settings say which rows in it")
    parser.add_argument("--out", type=Path, required=True, help="CSV")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Tables)
    arms = read_arms([args.run / path for path in settings.evaluations], settings)
    table = robustness(arms, settings)
    write_csv(args.out, table)
    say(f"robustness   {settings.experiment}: {len(table)} arms on changed questions")


if __name__ == "__main__":
    raise SystemExit(main())
