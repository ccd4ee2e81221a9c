"""How the models of an experiment reason: a line an arm."""

import argparse
from pathlib import Path

from agentark.config.tables import Tables
from agentark.evaluation.arms import read_arms
from agentark.evaluation.reasoning_quality import reasoning_table
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
    evaluations = [args.run / path for path in settings.evaluations]
    perplexities = [args.run / path for path in settings.perplexities]
    table = reasoning_table(read_arms(evaluations, settings), evaluations, perplexities, settings)
    write_csv(args.out, table)
    say(f"reasoning    {settings.experiment}: {len(table)} arms")


if __name__ == "__main__":
    raise SystemExit(main())
