"""Train a student on traces by R-SFT or DA: one folder with weights and tokenizer, one manifest."""

import argparse
import shutil
from itertools import islice
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
    sets = [sft.encode_all(read_rows(path, TrainingExample), tokenizer, settings.max_length) for path in args.set]
    rows = [row for encoded, _ in sets for row in encoded]
    counts = {key: sum(count[key] for _, count in sets) for key in sets[0][1]}
    if not rows:
        raise UserError(
            f"{', '.join(map(str, args.set))}: no example to train on ({counts['examples']} read, "
            f"{counts['too_long']} longer than sft.max_length = {settings.max_length}, {counts['without_answer']} "
            "without an answer); "
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
    drawn = [i for update in sft.updates(rows, settings, args.seed) for i in update]
    trained_on = [rows[i] for i in drawn]
    tokens_of = dict.fromkeys(args.set, 0)
    set_of = [path for path, (encoded, _) in zip(args.set, sets, strict=True) for _ in encoded]
    for i in drawn:
        tokens_of[set_of[i]] += sft.n_trained(rows[i], settings)
    session.write_metrics(args.manifest.with_name("metrics.csv"), log)
    session.write_metrics(args.manifest.with_name("validation.csv"), validated)
    manifests.write_manifest(
        args.manifest,
        kind="student",
        stage="sft",
        # Whose sets they were is said by the parents.
        settings=settings.model_dump(mode="json", exclude={"other_teachers"}),
        parents=parents,
        folder=student,
        seed=args.seed,
        facts={
            **counts,
            "updates": len(log),
            "questions": len({row["question_id"] for row in trained_on}),
            "examples_trained": len(trained_on),
            "loss_tokens": sum(tokens_of.values()),
            "loss_tokens_of_other_teachers": sum(list(tokens_of.values())[1:]),
            **session.first_and_last(log, ["loss", "nll_reasoning", "nll_answer"]),
        },
    )
    shutil.rmtree(checkpoints.parent, ignore_errors=True)


if __name__ == "__main__":
    processes.leave(main())
