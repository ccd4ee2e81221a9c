"""The tables of an experiment: one of all its arms, one of all comparisons, and a text of both for the terminal."""

import argparse
from pathlib import Path

from agentark.config.tables import Tables
from agentark.evaluation.arms import read_arms
from agentark.evaluation.comparisons import compare, comparison_table
from agentark.evaluation.summary import as_text, summary
from agentark.provenance import manifests
from agentark.records.files import write_csv, write_text
from agentark.running import stage
from agentark.running.progress import say


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run; the settings say which rows in it")
    parser.add_argument("--out", type=Path, required=True, help="table of the arms, CSV")
    parser.add_argument("--comparisons", type=Path, required=True, help="table of the comparisons, CSV")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Tables)
    # Thousands of arms have more paths than a command line holds.
    evaluations = [args.run / path for path in settings.evaluations]
    arms = read_arms(evaluations, settings)
    comparisons, skipped = compare(arms, settings)
    for sentence in skipped:
        say(f"tables       {sentence}")
    table = summary(arms, comparisons, settings)
    write_csv(args.out, table)
    write_csv(args.comparisons, comparison_table(comparisons, settings))
    write_text(args.text, as_text(table, comparisons))
    n_corrected = sum(one.counts for one in comparisons)
    manifests.write_manifest(
        args.manifest,
        kind="tables",
        stage="summarise",
        settings=settings.model_dump(mode="json"),
        parents=evaluations,
        outputs=[args.out, args.comparisons, args.text],
        facts={"arms": len(arms), "comparisons_corrected_together": n_corrected},
    )
    say(f"tables       {settings.experiment}: {len(arms)} arms, {n_corrected} comparisons")


if __name__ == "__main__":
    raise SystemExit(main())
