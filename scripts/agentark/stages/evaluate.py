"""Score one model on one benchmark: one greedy answer a question, graded; one row each.

With `--team`, it is a teacher: its agents also hold their protocol and sample votes on a share of the questions, so
that the table can show what a student's one call is worth beside them. Self-consistency draws as many samples as the
protocol made calls on that question.
"""

import argparse
import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from agentark.config.debates import Debates
from agentark.config.engine import Engine
from agentark.config.evaluation import Evaluation
from agentark.config.models import Member, Team
from agentark.config.section import Section
from agentark.debates import protocols, scheduler, teams
from agentark.engines.chat import Chat
from agentark.engines.hosting import Host
from agentark.engines.opening import open_models, watched
from agentark.errors import UserError
from agentark.evaluation import asked
from agentark.evaluation.scoring import evaluation_row
from agentark.provenance import manifests
from agentark.records.debates import Debate
from agentark.records.evaluations import EvaluationRow
from agentark.records.files import read_rows, write_json, write_rows
from agentark.records.questions import Question
from agentark.running import stage
from agentark.running.progress import Progress, say
from agentark.traces.debate_statistics import Tally, first_round_vote
from agentark.traces.extraction import verdicts_of


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--engine", type=Path, required=True, help="frozen engine settings, JSON")
    parser.add_argument("--models", nargs="+", required=True, help="NAME=MANIFEST of the model, or of a team's models")
    parser.add_argument("--team", type=Path, help="frozen team of a teacher: score its protocol and votes as well")
    parser.add_argument("--debates", type=Path, help="frozen debate settings, with --team")
    asked.add_arguments(parser)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--held", type=Path, help="the debates that a team held here")
    parser.add_argument("--statistics", type=Path, help="what those debates tell, JSON")
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Evaluation)
    engine_settings = stage.settings(args.engine, Engine)
    questions = list(read_rows(args.questions, Question))
    if not questions:
        raise UserError(f"{args.questions}: no questions to score on; give the dataset a larger part")
    model_manifests = {name: Path(path) for name, _, path in (pair.partition("=") for pair in args.models)}
    with open_models(model_manifests, engine_settings) as models:
        rows, debates = asyncio.run(scored(args, settings, engine_settings, models, questions))
    write_rows(args.out, rows)
    if args.held:
        tally = Tally()
        for row in debates:
            tally.add(row, verdicts_of(row))
        write_rows(args.held, debates)
        write_json(args.statistics, tally.sums())
    used: dict[str, Section] = {"evaluation": settings, "engine": engine_settings}
    asked_by = ["single"]
    if args.team:
        used["debates"] = stage.settings(args.debates, Debates)
        used["team"] = stage.settings(args.team, Team)
        asked_by += [used["debates"].protocol, "self_consistency"]
    manifests.write_manifest(
        args.manifest,
        kind="evaluation",
        stage="evaluate",
        settings={name: section.model_dump(mode="json") for name, section in used.items()},
        parents=[args.questions, *model_manifests.values()],
        outputs=[args.out, *([args.held, args.statistics] if args.held else [])],
        seed=args.seed,
        more_code=[protocols.source(name) for name in asked_by],
    )
    n_correct = sum(row.correct for row in rows if row.protocol == "single")
    say(f"evaluation   {args.recipe or 'base'} {args.name}: {n_correct}/{len(questions)} right")


async def scored(
    args: argparse.Namespace,
    settings: Evaluation,
    engine_settings: Engine,
    models: Host,
    questions: list[Question],
) -> tuple[list[EvaluationRow], list[Debate]]:
    """All rows, and the debates that a team held."""
    rows: list[EvaluationRow] = []

    async def held(
        what: str,
        some: list[Question],
        by: Debates,
        team: Team,
        protocol: Callable[[Question], tuple[str, dict[str, int]]] | None = None,
    ) -> tuple[list[Debate], float]:
        """One protocol over some questions, and its wall seconds; a question that failed has no answer and is wrong."""
        done: dict[str, Debate] = {}
        progress = Progress("evaluation", len(some), f"questions ({what})")

        def keep(row: Debate) -> None:
            done[row.question.question_id] = row
            progress.update()

        def give_up(question: Question, reason: str) -> None:
            name = what.rpartition(":")[2]
            done[question.question_id] = Debate(question=question, teacher=args.name, protocol=name, turns=[])
            progress.fail()
            say(f"evaluation   no answer to {question.question_id}: {reason}")

        def chat(model: str) -> Chat:
            return watched(models.chat(model), progress)

        hold = teams.at_work(args.name, team, by, chat, engine_settings.seed)
        places = scheduler.places(engine_settings.in_flight, models.capacity, engine_settings.max_model_len)
        started = time.monotonic()
        await scheduler.run(
            some, lambda question: hold(question, *(protocol(question) if protocol else ())), keep, places, give_up
        )
        return [done[question.question_id] for question in some], time.monotonic() - started

    def score(debates: list[Debate], seconds: float) -> None:
        rows.extend(evaluation_row(row, **asked.who(args), seconds=seconds / len(debates)) for row in debates)

    if args.name in models:
        once = Debates(
            protocol="single",
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            overflow="fail" if settings.too_long == "fail" else "drop_oldest",
        )
        alone = Team(members=[Member(model=args.name)])
        score(*await held("single", questions, once, alone))
    some = share(questions, settings.baseline_share)
    if not args.team or not some:
        return rows, []
    by, team = stage.settings(args.debates, Debates), stage.settings(args.team, Team)
    if by.protocol == "single":
        return rows, []  # there was no talk to compare with
    debates, seconds = await held(by.protocol, some, by, team)
    score(debates, seconds)
    if by.protocol == "self_consistency":
        return rows, debates
    # The first round's part of the debate's time is not known; its calls and tokens are.
    score([first_round_vote(row) for row in debates], 0.0)
    calls = {row.question.question_id: max(1, row.calls) for row in debates}
    score(
        *await held(
            "self_consistency",
            some,
            by,
            team,
            lambda question: ("self_consistency", {"samples": calls[question.question_id]}),
        )
    )
    return rows, debates


def share(questions: list[Question], part: float) -> list[Question]:
    """The same questions whatever their order in the file: those with the smallest ids. Of changed questions they are
    those of the same ones."""
    return sorted(questions, key=lambda one: one.origin_id or one.question_id)[: round(len(questions) * part)]


if __name__ == "__main__":
    raise SystemExit(main())
