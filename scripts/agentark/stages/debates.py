"""Debates of one teacher about one shard of a dataset's train questions; every message of every round is kept.

What is finished survives a kill, in a folder of work that stays: whole questions until the result is written, single
replies for good, so that more agents or rounds ask only what was not asked before.
"""

import argparse
import asyncio
import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from agentark.config.debates import Debates
from agentark.config.engine import Engine
from agentark.config.models import Team
from agentark.debates import protocols, scheduler, teams
from agentark.debates.replies import ReplyLog
from agentark.engines.chat import Chat
from agentark.engines.opening import open_models, watched
from agentark.errors import UserError
from agentark.provenance import manifests
from agentark.records.debates import Debate, FailedQuestion
from agentark.records.files import read_rows, write_json, write_parquet, write_rows
from agentark.records.questions import Question
from agentark.records.rowlog import RowLog
from agentark.running import stage
from agentark.running.progress import Progress, say

FAILURES_TO_STOP = 20
"""So many failed questions in a row, more than the share that may fail, and the job waits for no more of them."""


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--engine", type=Path, required=True, help="frozen engine settings, JSON")
    parser.add_argument("--team", type=Path, required=True, help="frozen team of the teacher, JSON")
    parser.add_argument("--models", nargs="+", required=True, help="NAME=MANIFEST of every model in the team")
    parser.add_argument("--teacher", required=True, help="its name in the config")
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True, help="folder of what survives a kill")
    parser.add_argument("--out", type=Path, required=True, help="the debates, one JSON line each, .jsonl.zst")
    parser.add_argument("--table", type=Path, required=True, help="the same as Parquet")
    parser.add_argument("--manifest", type=Path, required=True)
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Debates)
    engine_settings = stage.settings(args.engine, Engine)
    team = stage.settings(args.team, Team)
    model_manifests = {name: Path(path) for name, _, path in (pair.partition("=") for pair in args.models)}
    n_questions = sum(1 for _ in questions_of(args, settings))

    job = identity(args, settings, model_manifests)
    finished = RowLog(args.work / f"{job}.finished.jsonl", Debate)
    replies = ReplyLog(args.work / "replies.jsonl")
    failures = Failures(args.work / "failed.jsonl", n_questions, settings.failed_share)
    if n_damaged := finished.n_damaged + replies.n_damaged:
        say(f"debates      {n_damaged} damaged lines of an earlier job left out; what stood there is asked again")
    if len(finished) or len(replies):
        say(f"debates      kept from before: {len(finished)} of {n_questions} questions, {len(replies)} replies")

    # Written when the last question is finished; a job killed just before that opens its engines again.
    engines = args.work / f"{job}.engines.json"
    if len(finished) < n_questions or not engines.is_file():
        with open_models(model_manifests, engine_settings) as models:
            progress = Progress("debates", n_questions - len(finished), "questions")

            def chat(model: str) -> Chat:
                decides = engine_settings.model_dump_json(include={"kind", "dtype", "max_model_len", "seed"})
                is_model = f"{manifests.model_identity(model_manifests[model])} {decides}"
                return replies.kept(watched(models.chat(model), progress), is_model)

            def keep(row: Debate) -> None:
                finished.append(row.question.question_id, row)
                failures.end_of_row()
                progress.update()

            def give_up(question: Question, reason: str) -> None:
                progress.fail()
                failures.add(question, reason)

            todo = (q for q in questions_of(args, settings) if q.question_id not in finished)
            hold = teams.at_work(args.teacher, team, settings, chat, engine_settings.seed)
            places = scheduler.places(engine_settings.in_flight, models.capacity, engine_settings.max_model_len)
            asyncio.run(scheduler.run(todo, hold, keep, places, give_up))
            write_json(engines, {"replies_follow_seeds": models.seeds_requests, "engines": models.facts})
    failures.judge()

    # By question id, whatever the order in which they finished.
    write_parquet(args.table, finished.rows(), Debate)
    write_rows(args.out, finished.rows())
    manifests.write_manifest(
        args.manifest,
        kind="debates",
        stage="debates",
        settings={"debates": settings.model_dump(mode="json"), "team": team.model_dump(mode="json")},
        parents=[args.questions, *model_manifests.values()],
        outputs=[args.out, args.table],
        seed=engine_settings.seed,
        more_code=[protocols.source(settings.protocol)],
        facts={"questions": len(finished), "failed": len(failures), **json.loads(engines.read_text(encoding="utf-8"))},
    )
    replies.close()
    finished.close()
    for path in (*args.work.glob("*.finished.jsonl"), *args.work.glob("*.engines.json")):
        path.unlink()


def questions_of(args: argparse.Namespace, settings: Debates) -> Iterator[Question]:
    """This shard's questions, streamed."""
    return islice(read_rows(args.questions, Question), args.shard, None, settings.shards)


def identity(args: argparse.Namespace, settings: Debates, model_manifests: dict[str, Path]) -> str:
    """What the finished questions of an earlier job must share with this one to count here."""
    parts = [manifests.file_sha256(path) for path in (args.config, args.engine, args.team, args.questions)]
    parts += [manifests.model_identity(path) for path in model_manifests.values()]
    parts += [manifests.code_digest("debates", protocols.source(settings.protocol)), f"{args.shard}"]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


class Failures:
    """Questions that could not be finished, listed in a file; too many of them end the job."""

    def __init__(self, path: Path, n_questions: int, allowed_share: float) -> None:
        self._path, self._n_questions, self._allowed = path, n_questions, int(allowed_share * n_questions)
        self._rows: list[FailedQuestion] = []
        self._in_a_row = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, question: Question, reason: str) -> None:
        self._rows.append(FailedQuestion(question_id=question.question_id, question=question.question, reason=reason))
        self._in_a_row += 1
        if self._in_a_row >= FAILURES_TO_STOP:
            self.judge()

    def end_of_row(self) -> None:
        self._in_a_row = 0

    def judge(self) -> None:
        """Write the list.

        Raises:
            UserError: more failed than may.
        """
        write_rows(self._path, sorted(self._rows, key=lambda row: row.question_id))
        if self._rows and len(self._rows) > self._allowed:
            raise UserError(
                f"{len(self._rows)} of {self._n_questions} questions failed, debates.failed_share allows "
                f"{self._allowed}; the first: {self._rows[0].reason}. All are listed in {self._path}; the same command "
                "asks them again and keeps the rest"
            )


if __name__ == "__main__":
    raise SystemExit(main())
