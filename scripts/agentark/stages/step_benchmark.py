"""Traces whose steps people have judged, in one form, from ProcessBench, PRMBench or files like theirs."""

import argparse
from pathlib import Path

from agentark.config.prm_evaluation import StepBenchmark
from agentark.provenance import manifests
from agentark.questions.step_benchmarks import step_examples
from agentark.records.files import write_rows
from agentark.records.quarantine import Quarantine
from agentark.running import stage
from agentark.running.progress import say


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--name", required=True, help="of the step benchmark in the config")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    parser.add_argument("--rejected", type=Path, required=True, help="rows that cannot be read, and why")
    return stage.run(work, parser.parse_args(argv), online=True)


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, StepBenchmark)
    # Published figures are about all of it, so that nothing may be missing.
    rejected = Quarantine("rows", 0.0, f"prm_evaluation.benchmarks.{args.name} must be whole, so that it")
    rows = step_examples(settings, rejected)
    rejected.judge(args.rejected)
    write_rows(args.out, rows)
    n_wrong = sum(0 in row.labels for row in rows)
    manifests.write_manifest(
        args.manifest,
        kind="step benchmark",
        stage="step_benchmark",
        settings=settings.model_dump(mode="json"),
        parents=[],
        outputs=[args.out],
        facts={"traces": len(rows), "traces_with_an_error": n_wrong},
    )
    say(f"steps        {args.name}: {len(rows)} traces, {n_wrong} with an error")


if __name__ == "__main__":
    raise SystemExit(main())
