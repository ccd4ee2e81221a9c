"""Debates to traces: every agent's turn of every round, graded, with its kind."""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from agentark import stage
from agentark.debate_statistics import Tally
from agentark.progress import say
from agentark.records import Debate, Trace, read_rows, write_json, write_rows
from agentark.traces import traces_of, verdicts_of


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--debates", type=Path, nargs="+", required=True, help="the shards of one teacher and dataset")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--counts", type=Path, required=True, help="how many traces of each kind, JSON")
    parser.add_argument("--statistics", type=Path, required=True, help="what the debates tell, JSON")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    counts: Counter[str] = Counter()
    tally = Tally()

    def graded() -> Iterator[Trace]:
        for shard in args.debates:
            for debate in read_rows(shard, Debate):
                counts["debates"] += 1
                counts["turns"] += len(debate.turns)
                verdicts = verdicts_of(debate)
                tally.add(debate, verdicts)
                for trace in traces_of(debate, verdicts):
                    counts[trace.kind] += 1
                    counts["correct"] += trace.correct
                    counts["truncated"] += trace.truncated
                    counts["no_answer"] += trace.answer is None
                    counts["traces"] += 1
                    yield trace

    write_rows(args.out, graded())
    counts["no_solution"] = counts["turns"] - counts["traces"]
    write_json(args.counts, dict(counts))
    write_json(args.statistics, tally.row())
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in ("stable", "corrective", "degraded", "wrong", "aggregate"))
    say(f"traces       {counts['traces']} of {counts['debates']} debates: {kinds}; {counts['correct']} correct")


if __name__ == "__main__":
    raise SystemExit(main())
