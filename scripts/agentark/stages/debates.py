"""Debates of one teacher about one shard of a dataset's train questions; every message of every round is kept.

Finished debates are appended to a partial file at once, so a killed job goes on where it was.
"""

import argparse
import asyncio
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from agentark import config, provenance, scheduler, stage
from agentark.engines import open_engine, watched
from agentark.progress import Progress, say
from agentark.protocols.debate import debate
from agentark.records import Debate, Question, read_rows, write_rows


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--engine", type=Path, required=True, help="frozen engine settings, JSON")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the teacher")
    parser.add_argument("--teacher", required=True, help="its name in the config")
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, config.Debates)
    engine_settings = stage.settings(args.engine, config.Engine)
    questions = list(read_rows(args.questions, Question))[args.shard :: settings.shards]
    key = provenance.file_sha256(args.config)[:8] + provenance.file_sha256(args.engine)[:8]
    kept = args.out.with_name(f".{args.out.name}.{key}.finished")
    done = {row.question.question_id: row for row in finished(kept, questions)}
    todo = [question for question in questions if question.question_id not in done]
    if done:
        say(f"debates      {len(done)} of {len(questions)} were finished before, {len(todo)} to go")
    kept.parent.mkdir(parents=True, exist_ok=True)

    if todo:
        progress = Progress("debates", len(todo), "questions")
        with open_engine(provenance.model_folder(args.model), engine_settings) as engine, kept.open("ab") as handle:
            progress.restart()

            def keep(row: Debate) -> None:
                done[row.question.question_id] = row
                handle.write(msgspec.json.encode(row) + b"\n")
                handle.flush()
                os.fsync(handle.fileno())
                progress.update()

            chat = watched(engine.chat, progress)
            protocol = partial(debate, chat=chat, settings=settings, teacher=args.teacher)
            asyncio.run(scheduler.run(todo, protocol, keep, engine_settings.in_flight))

    # In the order of the questions, whatever the order in which they finished.
    write_rows(args.out, (done[question.question_id] for question in questions))
    kept.unlink(missing_ok=True)


def finished(kept: Path, questions: list[Question]) -> Iterator[Debate]:
    """Debates of an earlier, interrupted job on these questions; its last line may be half-written and is cut off."""
    if not kept.is_file():
        return
    content = kept.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(kept, len(whole))
    asked = {question.question_id: question for question in questions}
    for line in whole.splitlines():
        row = msgspec.json.decode(line, type=Debate)
        if asked.get(row.question.question_id) == row.question:
            yield row


if __name__ == "__main__":
    raise SystemExit(main())
