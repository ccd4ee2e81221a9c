"""Debate logs of other models as Debate records: those of train questions, and those of the held-out part."""

import argparse
from pathlib import Path

from agentark.config.debates import Debates
from agentark.debates import imported
from agentark.errors import UserError
from agentark.grading.comparing import is_right
from agentark.grading.reading import parse_gold
from agentark.provenance import manifests
from agentark.records.debates import Debate
from agentark.records.files import read_rows, write_rows
from agentark.records.quarantine import Quarantine
from agentark.records.questions import Question, question_id
from agentark.running import stage
from agentark.running.progress import say


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--teacher", required=True, help="name for the models that debated")
    parser.add_argument("--train", type=Path, required=True, help="questions to learn from")
    parser.add_argument("--held-out", type=Path, required=True, help="questions to score on")
    parser.add_argument("--out", type=Path, required=True, help="debates of the train questions")
    parser.add_argument("--held-out-debates", type=Path, required=True, help="debates of the held-out questions")
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    parser.add_argument("--rejected", type=Path, required=True, help="logged debates that cannot be used, and why")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Debates)
    train = {row.question_id: row for row in read_rows(args.train, Question)}
    held_out = {row.question_id: row for row in read_rows(args.held_out, Question)}
    debates: dict[str, Debate] = {}
    rejected = Quarantine("logged debates", settings.failed_share, "debates.failed_share")
    n_repeated = 0
    logs = Path(str(settings.logs))
    for log in imported.read(logs, rejected):
        key = question_id(log.question, log.choices)
        question = train.get(key) or held_out.get(key)
        if question is None:
            continue
        if not same_gold(log, question):
            rejected.add(log.where, "another gold answer than the question's", f"{log.gold} for {question.gold}")
        elif key in debates:
            n_repeated += 1
        else:
            debates[key] = imported.debate(log, question, args.teacher)
    rejected.judge(args.rejected)
    chosen = [debates[key] for key in train if key in debates]
    if not chosen:
        raise UserError(
            f"{logs}: none of its {rejected.n_rows} debates is about a train question; "
            "give the dataset `source: debate-logs`, or logs of debates about its questions"
        )
    write_rows(args.held_out_debates, (debates[key] for key in held_out if key in debates))
    write_rows(args.out, chosen)
    manifests.write_manifest(
        args.manifest,
        kind="debates",
        stage="import_debates",
        settings=settings.model_dump(mode="json", include={"logs", "failed_share"}),
        parents=[args.train, args.held_out, *imported.files(logs)],
        outputs=[args.out, args.held_out_debates],
        facts={
            "logged": rejected.n_rows,
            "unusable": len(rejected),
            "train_questions": len(train),
            "train_questions_without_a_debate": len(train) - len(chosen),
            "held_out_questions": len(held_out),
            "held_out_questions_without_a_debate": len(held_out) - (len(debates) - len(chosen)),
        },
    )
    say(
        f"debates      {rejected.n_rows} logged, about {len(chosen)} of {len(train)} train questions and "
        f"{len(debates) - len(chosen)} of {len(held_out)} held out, {n_repeated} on a question that had one already, "
        f"{len(rejected)} unusable"
    )


def same_gold(log: imported.Log, question: Question) -> bool:
    try:
        return is_right(parse_gold(log.gold, question.gold_type), question.golds, question.gold_type)
    except ValueError:
        return False


if __name__ == "__main__":
    raise SystemExit(main())
