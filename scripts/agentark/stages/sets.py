"""Traces to one training set: R-SFT, DA, step examples for the PRM, or prompts for RL."""

import argparse
import itertools
from collections import Counter
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from agentark import config, provenance, sets, stage
from agentark.errors import UserError
from agentark.progress import say
from agentark.records import Row, Trace, read_rows, write_rows

KINDS = ("rsft", "da", "prm", "rl")


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--card", type=Path, required=True, help="counts at every filter, JSON")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, config.Sets)
    counts: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        # The traces stage writes a question's traces side by side.
        for _, group in itertools.groupby(read_rows(args.traces, Trace), attrgetter("question_id")):
            traces = list(group)
            made = rows_of(args.kind, traces, settings)
            counts["questions"] += 1
            counts["questions_used"] += bool(made)
            counts["questions_without_a_right_agent"] += not sets.agents_right_at_the_end(traces)
            counts["rows"] += len(made)
            counts["corrective_rows"] += _n_corrective(made, traces)
            yield from made

    write_rows(args.out, rows())
    if not counts["rows"]:
        args.out.unlink()
        raise UserError(
            f"{args.traces}: no trace fits the {args.kind} set ({counts['questions']} questions, "
            f"{counts['questions_without_a_right_agent']} without an agent that was right at the end); "
            "debate more or easier questions, or lower sets.min_correct_agents"
        )
    provenance.write_manifest(
        args.card,
        kind="set",
        stage="sets",
        settings=settings.model_dump(mode="json"),
        parents=[args.traces],
        facts=dict(counts),
    )
    used = f"{counts['questions_used']}/{counts['questions']} questions"
    say(f"sets         {args.kind}: {counts['rows']} rows from {used}")


def rows_of(kind: str, traces: list[Trace], settings: config.Sets) -> list[Row]:
    """The rows of one question for one kind of set."""
    if kind == "rsft":
        return sets.training_examples(traces, kind, settings.rsft_traces, settings)
    if kind == "da":
        return sets.training_examples(traces, kind, settings.da_traces, settings)
    if kind == "prm":
        return sets.step_examples(traces, settings.prm_traces)
    return [sets.rl_prompt(traces)]


def _n_corrective(rows: list[Row], traces: list[Trace]) -> int:
    corrective = {trace.trace_id for trace in traces if trace.kind == "corrective"}
    return sum(getattr(row, "trace_id", None) in corrective for row in rows)


if __name__ == "__main__":
    raise SystemExit(main())
