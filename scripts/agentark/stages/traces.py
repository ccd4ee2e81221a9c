"""Debates to traces: every agent's turn of every round, graded, with its kind."""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from agentark import stage
from agentark.progress import say
from agentark.records import Debate, Trace, read_rows, write_json, write_rows
from agentark.traces import traces_of


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--debates", type=Path, nargs="+", required=True, help="the shards of one teacher and dataset")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--counts", type=Path, required=True, help="how many traces of each kind, JSON")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    counts: Counter[str] = Counter()

    def graded() -> Iterator[Trace]:
        for shard in args.debates:
            for debate in read_rows(shard, Debate):
                counts["debates"] += 1
                counts["turns"] += len(debate.turns)
                for trace in traces_of(debate):
                    counts[trace.kind] += 1
                    counts["correct"] += trace.correct
                    counts["truncated"] += trace.truncated
                    counts["no_answer"] += trace.answer is None
                    counts["traces"] += 1
                    yield trace

    write_rows(args.out, graded())
    counts["dropped_empty_or_failed"] = counts["turns"] - counts["traces"]
    write_json(args.counts, dict(counts))
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in ("stable", "corrective", "degraded", "wrong", "aggregate"))
    say(f"traces       {counts['traces']} of {counts['debates']} debates: {kinds}; {counts['correct']} correct")


if __name__ == "__main__":
    raise SystemExit(main())
