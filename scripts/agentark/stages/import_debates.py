"""Debate logs of other models as Debate records: those of train questions, and those of the held-out part."""

import argparse
from pathlib import Path

from agentark import config, debate_logs, stage
from agentark.errors import UserError
from agentark.progress import say
from agentark.records import Debate, Question, question_id, read_rows, write_rows


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--teacher", required=True, help="name for the models that debated")
    parser.add_argument("--train", type=Path, required=True, help="questions to learn from")
    parser.add_argument("--held-out", type=Path, required=True, help="questions to score on")
    parser.add_argument("--out", type=Path, required=True, help="debates of the train questions")
    parser.add_argument("--held-out-debates", type=Path, required=True, help="debates of the held-out questions")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, config.Debates)
    train = {row.question_id: row for row in read_rows(args.train, Question)}
    held_out = {row.question_id: row for row in read_rows(args.held_out, Question)}
    debates: dict[str, Debate] = {}
    n_read = 0
    for log in debate_logs.read(Path(settings.logs or "")):
        n_read += 1
        key = question_id(log.question)
        question = train.get(key) or held_out.get(key)
        if question is not None and key not in debates:
            debates[key] = debate_logs.debate(log, question, args.teacher)
    chosen = [debates[key] for key in train if key in debates]
    if not chosen:
        raise UserError(
            f"{settings.logs}: none of its {n_read} debates is about a train question; "
            "give the dataset `source: debate-logs`, or logs of debates about its questions"
        )
    write_rows(args.held_out_debates, (debates[key] for key in held_out if key in debates))
    write_rows(args.out, chosen)
    say(f"debates      {n_read} logged, {len(chosen)} about train questions, {len(debates) - len(chosen)} held out")


if __name__ == "__main__":
    raise SystemExit(main())
