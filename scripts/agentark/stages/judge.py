"""Ask a judge which right traces of a question differ: for `sets.da_selection: judge`."""

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from agentark.config.engine import Engine
from agentark.config.sets import Sets
from agentark.debates import scheduler
from agentark.debates.asking import asking, unexpected
from agentark.engines.chat import Chat
from agentark.provenance import manifests
from agentark.records.files import by_question, write_rows
from agentark.records.sets import Judgement
from agentark.records.traces import Trace
from agentark.running import stage
from agentark.running.progress import say
from agentark.sets import examples, judging
from agentark.sets.diversity import distinct_traces


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--engine", type=Path, required=True, help="frozen engine settings, JSON")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the judge")
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where replies are kept until all are there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Sets)
    engine_settings = stage.settings(args.engine, Engine)
    n_choices = sum(1 for _ in choices(args.traces, settings))
    found: list[Judgement] = []
    if n_choices:
        line = {"stage": "judge", "n_items": n_choices, "unit": "questions"}
        with asking(args.model, engine_settings, args.work, **line) as (chat, places, progress):

            async def judged(traces: list[Trace]) -> Judgement:
                return await judgement(traces, settings.da_traces, chat)

            def keep(row: Judgement) -> None:
                found.append(row)
                progress.update()

            asyncio.run(scheduler.run(choices(args.traces, settings), judged, keep, places, unexpected))
    write_rows(args.out, sorted(found, key=lambda row: row.question_id))
    n_none = sum(not row.chosen for row in found)
    manifests.write_manifest(
        args.manifest,
        kind="judgements",
        stage="judge",
        settings=settings.model_dump(mode="json"),
        parents=[args.traces, args.model],
        outputs=[args.out],
        facts={"questions": len(found), "without_valid_list": n_none},
    )
    say(f"judge        {len(found)} questions with several different traces, no valid list for {n_none}")


def choices(path: Path, settings: Sets) -> Iterator[list[Trace]]:
    """What there is to choose from, question by question; where there is one trace, nothing is asked."""
    which = "exclude" if settings.corrective == "exclude" else "prefer"
    for _, traces in by_question([path], Trace):
        able = distinct_traces(examples.candidates(traces, settings, which, Counter()))
        if len(able) > 1:
            yield able


async def judgement(traces: list[Trace], k: int, chat: Chat) -> Judgement:
    chosen = await judging.judged(traces, k, chat)
    return Judgement(question_id=traces[0].question_id, chosen=[trace.trace_id for trace in chosen or []])


if __name__ == "__main__":
    raise SystemExit(main())
