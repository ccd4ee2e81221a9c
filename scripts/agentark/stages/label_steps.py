"""Have a model label the steps of traces: by rolling out from each, or as a judge (`sets.prm_labels`)."""

import argparse
import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from agentark.config.engine import Engine
from agentark.config.sets import Sets
from agentark.debates import scheduler
from agentark.debates.asking import asking
from agentark.provenance import manifests
from agentark.records.files import by_question, write_rows
from agentark.records.sets import StepValues
from agentark.records.traces import Trace
from agentark.running import stage
from agentark.running.progress import say
from agentark.sets import rollouts, step_judging
from agentark.sets.labelled_steps import Cut, label_source, traces_for_steps


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--source", choices=("rollouts", "judge"), required=True, help="how it labels them")
    parser.add_argument("--engine", type=Path, required=True, help="frozen engine settings, JSON")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the model that continues, or judges")
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where replies are kept until all are there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Sets)
    engine_settings = stage.settings(args.engine, Engine)
    n_traces = sum(1 for _ in items(args.traces, settings, args.source))
    found: list[StepValues] = []
    if n_traces:
        line = {"stage": args.source, "n_items": n_traces, "unit": "traces"}
        with asking(args.model, engine_settings, args.work, **line) as (chat, places, progress):

            async def valued(item: Cut) -> StepValues | None:
                if args.source == "judge":
                    return await step_judging.values(*item, chat)
                return await rollouts.values(*item, settings.rollouts, chat)

            def give_up(item: Cut, reason: str) -> None:
                progress.fail()

            def keep(row: StepValues | None) -> None:
                if row is not None:
                    found.append(row)
                progress.update()

            asyncio.run(scheduler.run(items(args.traces, settings, args.source), valued, keep, places, give_up))
    write_rows(args.out, sorted(found, key=lambda row: row.trace_id))
    n_steps = sum(len(row.right) for row in found)
    n_right = sum(right > 0 for row in found for right in row.right)
    manifests.write_manifest(
        args.manifest,
        kind="step values",
        stage="label_steps",
        settings=settings.model_dump(mode="json"),
        parents=[args.traces, args.model],
        outputs=[args.out],
        facts={
            "traces": len(found),
            "traces_without_labels": n_traces - len(found),
            "steps": n_steps,
            "steps_right": n_right,
        },
    )
    say(f"{args.source:<12} {n_steps} steps of {len(found)} of {n_traces} traces, {n_right} of them right")


def items(path: Path, settings: Sets, source: Literal["rollouts", "judge"]) -> Iterator[Cut]:
    """The traces of the questions whose steps this source labels."""
    for question_id, traces in by_question([path], Trace):
        if label_source(question_id, settings.prm_labels) == source:
            yield from traces_for_steps(traces, settings)


if __name__ == "__main__":
    raise SystemExit(main())
