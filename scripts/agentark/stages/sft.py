"""Train a student on traces by R-SFT or DA: one folder with weights and tokenizer, one manifest."""

import argparse
import shutil
from itertools import chain, islice
from pathlib import Path

from agentark.config.sft import Sft
from agentark.engines.local_models import open_tokenizer
from agentark.errors import UserError
from agentark.provenance import manifests
from agentark.records.files import read_rows
from agentark.records.questions import Question
from agentark.records.sets import TrainingExample
from agentark.running import stage
from agentark.running.progress import say
from agentark.training import processes, session, sft, weights


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="manifest of the model to train")
    parser.add_argument("--set", type=Path, nargs="+", required=True, help="training examples, JSONL, of each teacher")
    parser.add_argument("--validation", type=Path, required=True, help="questions to validate on, JSONL; may be none")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last, beside the folder `model`")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Sft)
    folder = manifests.model_folder(args.model)
    parents = [args.model, *args.set]
    validation: list[Question] = []
    if settings.validation_questions:
        validation = list(islice(read_rows(args.validation, Question), settings.validation_questions))
        parents += [args.validation]
    tokenizer = open_tokenizer(folder)
    examples = chain.from_iterable(read_rows(path, TrainingExample) for path in args.set)
    rows, counts = sft.encode_all(examples, tokenizer, settings.max_length)
    if not rows:
        raise UserError(
            f"{args.set[0]}: no example to train on ({counts['examples']} read, {counts['too_long']} longer than "
            f"sft.max_length = {settings.max_length}, {counts['without_answer']} without an answer); "
            "raise sft.max_length, or debate more or easier questions"
        )
    say(f"sft          {counts['used']} of {counts['examples']} examples, {counts['too_long']} too long")

    model, stored = weights.open_in_4bit(folder) if settings.load_in_4bit else weights.open_for_training(folder)
    checkpoints = session.checkpoint_folder(args.manifest, "sft", settings, args.seed, parents)
    model, log, validated = sft.fit(model, tokenizer, rows, settings, args.seed, checkpoints, validation)

    student = args.manifest.parent / "model"
    with processes.gathered(model) as writes:
        if not writes:
            return
        with weights.replaced_folder(student) as partial:
            weights.save(model, tokenizer, partial, stored)
    trained_on = [rows[i] for update in sft.updates(rows, settings, args.seed) for i in update]
    session.write_metrics(args.manifest.with_name("metrics.csv"), log)
    session.write_metrics(args.manifest.with_name("validation.csv"), validated)
    manifests.write_manifest(
        args.manifest,
        kind="student",
        stage="sft",
        settings=settings.model_dump(mode="json"),
        parents=parents,
        folder=student,
        seed=args.seed,
        facts={
            **counts,
            "updates": len(log),
            "questions": len({row["question_id"] for row in trained_on}),
            "examples_trained": len(trained_on),
            "loss_tokens": sum(sft.n_trained(row, settings) for row in trained_on),
            **session.first_and_last(log, ["loss", "nll_reasoning", "nll_answer"]),
        },
    )
    shutil.rmtree(checkpoints.parent, ignore_errors=True)


if __name__ == "__main__":
    processes.leave(main())
