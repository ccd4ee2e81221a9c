"""How likely worked solutions are under one model, token by token, given their questions: one row a question."""

import argparse
from itertools import islice
from pathlib import Path

from agentark.config.evaluation import Evaluation
from agentark.engines import local_models
from agentark.errors import UserError
from agentark.evaluation import asked
from agentark.provenance import manifests
from agentark.records.evaluations import PerplexityRow
from agentark.records.files import read_rows, write_rows
from agentark.records.questions import Question
from agentark.running import stage
from agentark.running.progress import Progress, say
from agentark.training import packing
from agentark.training.encoding import encode
from agentark.training.prm_scoring import log_probabilities

AT_ONCE = 16
"""Questions whose solutions go through the model together."""


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="manifest of the model")
    asked.add_arguments(parser)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Evaluation)
    solved = (question for question in read_rows(args.questions, Question) if question.reasoning)
    questions = list(islice(solved, settings.perplexity_questions))
    if not questions:
        raise UserError(
            f"{args.questions}: no question has a worked solution; name its field in `datasets.NAME.reasoning`, or "
            "take evaluation.perplexity_questions out"
        )
    folder = manifests.model_folder(args.model)
    tokenizer = local_models.open_tokenizer(folder)
    model = local_models.open_model(folder, local_models.faster_dtype()).to(local_models.device())
    packing.prepare(model)
    longest = model.config.get_text_config().max_position_embeddings
    progress = Progress("perplexity", len(questions), "questions")
    rows: list[PerplexityRow] = []
    for start in range(0, len(questions), AT_ONCE):
        some = questions[start : start + AT_ONCE]
        encoded = [encode(tokenizer, one, one.reasoning, [(0, len(one.reasoning))]) for one in some]
        fitting = [(one, trace) for one, trace in zip(some, encoded, strict=True) if len(trace.input_ids) <= longest]
        means = log_probabilities(model, [trace for _, trace in fitting])
        for (question, trace), (mean,) in zip(fitting, means, strict=True):
            ((first, last),) = trace.steps
            rows.append(
                PerplexityRow(
                    **asked.who(args),
                    protocol="single",
                    benchmark=question.dataset,
                    question_id=question.question_id,
                    group=question.group,
                    nats=-mean * (last + 1 - first),
                    tokens=last + 1 - first,
                    bytes=len(question.reasoning.encode()),
                )
            )
        progress.update(len(some))
    write_rows(args.out, rows)
    manifests.write_manifest(
        args.manifest,
        kind="perplexity",
        stage="measure_perplexity",
        settings=settings.model_dump(mode="json", include={"perplexity_questions"}),
        parents=[args.questions, args.model],
        outputs=[args.out],
        seed=args.seed,
        facts={"questions": len(rows), "too_long": len(questions) - len(rows)},
    )
    too_long = len(questions) - len(rows)
    say(f"perplexity   {args.recipe or 'base'} {args.name}: {len(rows)} solutions, {too_long} too long")


if __name__ == "__main__":
    raise SystemExit(main())
