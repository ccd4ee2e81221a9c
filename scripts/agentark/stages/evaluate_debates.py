"""Score imported debates on held-out questions: the last round's vote, and the first round's."""

import argparse
from pathlib import Path

from agentark.evaluation.scoring import evaluation_row
from agentark.provenance import manifests
from agentark.records.debates import Debate
from agentark.records.evaluations import EvaluationRow
from agentark.records.files import read_rows, write_json, write_rows
from agentark.running import stage
from agentark.running.progress import say
from agentark.traces.debate_statistics import Tally, first_round_vote
from agentark.traces.extraction import verdicts_of


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--debates", type=Path, required=True, help="imported debates of the held-out questions")
    parser.add_argument("--teacher", required=True, help="name for the models that debated")
    parser.add_argument("--variant", default="main", help="whose settings the debates were read with")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--statistics", type=Path, required=True, help="what the debates tell, JSON")
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    rows: list[EvaluationRow] = []
    tally = Tally()
    for debate in read_rows(args.debates, Debate):
        tally.add(debate, verdicts_of(debate))
        rows += [
            evaluation_row(protocol, model=args.teacher, variant=args.variant, recipe=None, seconds=0.0, seed=0)
            for protocol in (debate, first_round_vote(debate))
        ]
    write_rows(args.out, rows)
    write_json(args.statistics, tally.sums())
    manifests.write_manifest(
        args.manifest,
        kind="evaluation",
        stage="evaluate_debates",
        settings={},
        parents=[args.debates],
        outputs=[args.out, args.statistics],
    )
    say(f"evaluation   {args.teacher}: {len(rows) // 2} imported debates scored")


if __name__ == "__main__":
    raise SystemExit(main())
