"""Score one model on one benchmark: one greedy answer a question, graded; one row each.

With `--debates`, the model is a teacher: it also debates and samples votes on a share of the questions, so that the
table can show what a student's one call is worth beside them. Self-consistency draws as many samples as the debate
may make calls.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from agentark import config, provenance, scheduler, stage
from agentark.engines import Engine, open_engine, watched
from agentark.errors import UserError
from agentark.evaluation.scoring import evaluation_row, first_round_vote
from agentark.progress import Progress, say
from agentark.protocols.debate import debate
from agentark.protocols.self_consistency import self_consistency
from agentark.protocols.single import single
from agentark.records import Debate, EvaluationRow, Question, read_rows, write_rows

Protocol = Callable[..., Awaitable[Debate]]


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--engine", type=Path, required=True, help="frozen engine settings, JSON")
    parser.add_argument("--debates", type=Path, help="frozen debate settings: score the debate and votes as well")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the model")
    parser.add_argument("--name", required=True, help="model in the config that this is, or was trained from")
    parser.add_argument("--method", required=True, choices=("base", "rsft", "da", "pad"))
    parser.add_argument("--teacher", help="whose debates it was trained on")
    parser.add_argument("--train-set", help="dataset it was trained on")
    parser.add_argument("--seed", type=int, required=True, help="training seed")
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, config.Evaluation)
    engine_settings = stage.settings(args.engine, config.Engine)
    questions = list(read_rows(args.questions, Question))
    if not questions:
        raise UserError(f"{args.questions}: no questions to score on; give the dataset a larger part")

    rows: list[EvaluationRow] = []

    def score(debates: list[Debate], seconds: float) -> None:
        who = {"model": args.name, "method": args.method, "teacher": args.teacher, "train_set": args.train_set}
        rows.extend(evaluation_row(row, **who, seconds=seconds / len(debates), seed=args.seed) for row in debates)

    with open_engine(provenance.model_folder(args.model), engine_settings) as engine:
        once = config.Debates(agents=1, rounds=1, temperature=settings.temperature, max_tokens=settings.max_tokens)
        score(*hold("single", single, questions, once, engine, engine_settings, args.name))
        if args.debates and (some := share(questions, settings.baseline_share)):
            team = stage.settings(args.debates, config.Debates)
            votes = team.model_copy(update={"agents": team.agents * team.rounds + 1})
            score(*hold("votes", self_consistency, some, votes, engine, engine_settings, args.name))
            debates, seconds = hold("debate", debate, some, team, engine, engine_settings, args.name)
            score(debates, seconds)
            # The first round's part of the debate's time is not known; its calls and tokens are.
            score([first_round_vote(row) for row in debates], 0.0)
    write_rows(args.out, rows)
    n_correct = sum(row.correct for row in rows if row.protocol == "single")
    say(f"evaluation   {args.method} {args.name}: {n_correct}/{len(questions)} right")


def share(questions: list[Question], part: float) -> list[Question]:
    """The same questions whatever their order in the file: those with the smallest ids."""
    return sorted(questions, key=lambda question: question.question_id)[: round(len(questions) * part)]


def hold(
    name: str,
    protocol: Protocol,
    questions: list[Question],
    settings: config.Debates,
    engine: Engine,
    engine_settings: config.Engine,
    teacher: str,
) -> tuple[list[Debate], float]:
    """One protocol over all questions: its debates in the questions' order, and the wall seconds."""
    done: dict[str, Debate] = {}
    progress = Progress("evaluation", len(questions), f"questions ({name})")

    def keep(row: Debate) -> None:
        done[row.question.question_id] = row
        progress.update()

    started = time.monotonic()
    held = partial(protocol, chat=watched(engine.chat, progress), settings=settings, teacher=teacher)
    asyncio.run(scheduler.run(questions, held, keep, engine_settings.in_flight))
    return [done[question.question_id] for question in questions], time.monotonic() - started


if __name__ == "__main__":
    raise SystemExit(main())
