"""Train questions that are left out: those that a benchmark asks too, and near-repeats of other train questions."""

import argparse
from collections import Counter
from pathlib import Path

from agentark.config.sets import Sets
from agentark.errors import UserError
from agentark.provenance import manifests
from agentark.questions.overlap import overlaps
from agentark.records.files import read_rows, write_rows
from agentark.records.questions import Question
from agentark.running import stage
from agentark.running.progress import say


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--benchmarks", type=Path, nargs="+", required=True, help="questions of all benchmarks")
    parser.add_argument("--skip", type=Path, required=True, help="questions to leave out, and why")
    parser.add_argument("--found", type=Path, required=True, help="all that was found, JSONL")
    parser.add_argument("--manifest", type=Path, required=True, help="how many by each rule and benchmark, and of what")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Sets)
    train = list(read_rows(args.train, Question))
    benchmarks = [row for path in args.benchmarks for row in read_rows(path, Question)]
    found = list(overlaps(train, benchmarks))
    write_rows(args.found, found)
    asked = {row.question_id for row in benchmarks}
    contaminated = [row for row in found if row.other_id in asked]
    repeated = [row for row in found if row.other_id not in asked]
    counts = Counter(f"{row.reason} of {row.other_set} {row.other_split}" for row in found)
    shown = ", ".join(f"{count} {what}" for what, count in counts.most_common()) or "none"
    say(f"overlap      {len(found)} of {len(train)} train questions: {shown}")
    if contaminated and settings.contamination == "fail":
        raise UserError(
            f"{args.train}: {len(contaminated)} questions are also asked by a benchmark ({shown}); all are listed in "
            f"{args.found}. Take them out, or set sets.contamination to drop"
        )
    leave_out = contaminated if settings.contamination == "drop" else []
    leave_out = leave_out + (repeated if settings.near_duplicates == "drop" else [])
    if len(leave_out) == len(train):
        raise UserError(f"{args.train}: every question is asked by a benchmark or repeated ({shown}); nothing is left")
    write_rows(args.skip, leave_out)
    manifests.write_manifest(
        args.manifest,
        kind="overlap",
        stage="overlap",
        settings=settings.model_dump(mode="json"),
        parents=[args.train, *args.benchmarks],
        outputs=[args.skip],
        facts={"questions": len(train), "left_out": len(leave_out), **counts},
    )


if __name__ == "__main__":
    raise SystemExit(main())
