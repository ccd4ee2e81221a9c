"""Train a process reward model from a student's weights on labelled steps; measure it on questions kept back."""

import argparse
import itertools
import math
import shutil
from operator import attrgetter
from pathlib import Path

import torch

from agentark.config.prm import Prm
from agentark.engines import local_models
from agentark.errors import UserError
from agentark.provenance import manifests
from agentark.records.files import read_rows
from agentark.records.sets import StepExample
from agentark.running import stage
from agentark.running.progress import say
from agentark.training import prm, prm_quality, prm_training, processes, session, weights


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="manifest of the model whose weights it starts from")
    parser.add_argument("--set", type=Path, required=True, help="step examples, JSONL")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last, beside the folder `model`")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Prm)
    folder = manifests.model_folder(args.model)
    parents = [args.model, args.set]
    tokenizer = local_models.open_tokenizer(folder)
    # The set holds a question's traces side by side.
    rows = itertools.groupby(read_rows(args.set, StepExample), attrgetter("question_id"))
    questions, counts = prm_training.encode_questions(
        [list(group) for _, group in rows], tokenizer, settings, args.seed
    )
    held_out, train = split(questions, settings)
    if not train:
        raise UserError(
            f"{args.set}: no question to train a reward model on ({counts['questions']} read, "
            f"{counts['without_a_pair']} without steps that prm.loss can tell apart, {counts['too_long']} "
            f"traces longer than prm.max_length = {settings.max_length}); "
            "debate more questions, or ones that divide the agents"
        )
    labels = {label for question in train for trace in question.traces for label in trace.labels}
    if len(labels) == 1:
        raise UserError(
            f"{args.set}: all steps are labelled {'right' if labels == {1} else 'wrong'}: nothing to tell apart; "
            "debate questions that divide the agents, or label steps by sets.prm_labels: rollouts"
        )
    say(f"prm          {len(train)} questions to train on, {len(held_out)} kept back of {counts['questions']}")

    # Before the trainer is there: with ZeRO-3, a model that is opened later is opened in parts.
    untrained = local_models.open_model(folder, local_models.faster_dtype()).to(local_models.device())
    beside = prm_quality.baselines(untrained, tokenizer, held_out, train)
    del untrained

    torch.manual_seed(args.seed)
    model, stored = prm.open_backbone(folder, "infonce" in settings.loss, settings.lora_rank)
    checkpoints = session.checkpoint_folder(args.manifest, "prm", settings, args.seed, parents)
    log = prm_training.fit(model, tokenizer, train, settings, args.seed, checkpoints)
    measured = prm_quality.quality(model, tokenizer, held_out, beside)
    value, low, high = measured["auroc"].values()
    n_steps = measured["held_out_steps"]
    say(f"prm          AUROC {value} [{low}, {high}] on {n_steps} steps of {len(held_out)} questions kept back")
    if not measured["beats_baselines"]:
        say("prm          not shown to know more than a step's length, its place and its likelihood tell")

    reward_model = args.manifest.parent / "model"
    with processes.gathered(model) as writes:
        if not writes:
            return
        with weights.replaced_folder(reward_model) as partial:
            prm.save_prm(model, tokenizer, partial, stored)
    session.write_metrics(args.manifest.with_name("metrics.csv"), log)
    manifests.write_manifest(
        args.manifest,
        kind="prm",
        stage="prm",
        settings=settings.model_dump(mode="json"),
        parents=parents,
        folder=reward_model,
        seed=args.seed,
        facts={
            **counts,
            "questions_trained_on": len(train),
            "updates": len(log),
            **session.first_and_last(log, ["loss"]),
            **measured,
        },
    )
    shutil.rmtree(checkpoints.parent, ignore_errors=True)


def split(
    questions: list[prm_training.PrmQuestion], settings: Prm
) -> tuple[list[prm_training.PrmQuestion], list[prm_training.PrmQuestion]]:
    """Questions to keep back and to train on: ids are hashes, so their order is a fixed random one."""
    questions = sorted(questions, key=lambda question: question.traces[0].question_id)
    if settings.max_questions is not None:
        questions = questions[: math.ceil(settings.max_questions / (1 - settings.held_out_share))]
    n_held_out = round(len(questions) * settings.held_out_share)
    return questions[:n_held_out], questions[n_held_out:]


if __name__ == "__main__":
    raise SystemExit(main())
