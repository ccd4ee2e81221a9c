"""Debates to traces, one shard: every agent's turn of every round, graded, with its kind."""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from agentark.config.traces import Traces
from agentark.grading.verifier import settled
from agentark.provenance import manifests
from agentark.records.debates import Debate
from agentark.records.files import read_rows, write_json, write_rows
from agentark.records.quarantine import Quarantine
from agentark.records.traces import Trace, Verdict
from agentark.running import stage
from agentark.running.progress import say
from agentark.traces.debate_statistics import Tally
from agentark.traces.extraction import traces_of, verdicts_of, why_no_trace


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--debates", type=Path, required=True, help="debates of one teacher on one dataset")
    parser.add_argument("--verdicts", type=Path, help="the verifier's, on what the rules cannot decide")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--counts", type=Path, required=True, help="how many traces of each kind, JSON")
    parser.add_argument("--statistics", type=Path, required=True, help="what the debates tell, JSON")
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    parser.add_argument("--rejected", type=Path, required=True, help="replies that make no trace, and why")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    counts: Counter[str] = Counter()
    settings = stage.settings(args.config, Traces)
    rejected = Quarantine("replies", settings.rejected_share, "traces.rejected_share")
    tally = Tally()
    known = (
        {row.item_id: row.by_verifier for row in read_rows(args.verdicts, Verdict) if row.by_verifier is not None}
        if args.verdicts
        else {}
    )

    def graded() -> Iterator[Trace]:
        for debate in read_rows(args.debates, Debate):
            counts["debates"] += 1
            verdicts = settled(debate, verdicts_of(debate), known, settings.verifier_sees)
            tally.add(debate, verdicts)
            for turn, verdict in zip(debate.turns, verdicts, strict=True):
                counts["turns"] += 1
                rejected.n_rows += 1
                if verdict is None and (reason := why_no_trace(turn)):
                    where = f"question {debate.question.question_id}, round {turn.round}, agent {turn.agent}"
                    rejected.add(where, reason, turn.reply)
            for trace in traces_of(debate, verdicts):
                counts["traces"] += 1
                counts[trace.kind] += 1
                counts["correct"] += trace.correct
                counts["undecided"] += trace.decided_by is None
                counts["by_verifier"] += trace.decided_by == "verifier"
                counts["truncated"] += trace.truncated
                counts["no_answer"] += trace.answer is None
                yield trace

    write_rows(args.out, graded())
    rejected.judge(args.rejected)
    counts["no_solution"] = counts["turns"] - counts["traces"]
    write_json(args.counts, dict(counts))
    write_json(args.statistics, tally.sums())
    manifests.write_manifest(
        args.manifest,
        kind="traces",
        stage="traces",
        settings=settings.model_dump(mode="json"),
        parents=[args.debates, *([args.verdicts] if args.verdicts else [])],
        outputs=[args.out, args.counts, args.statistics],
    )
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in ("stable", "corrective", "degraded", "wrong", "aggregate"))
    say(f"traces       {counts['traces']} of {counts['debates']} debates: {kinds}; {counts['correct']} correct")


if __name__ == "__main__":
    raise SystemExit(main())
