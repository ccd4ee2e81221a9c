"""Train a process reward model from a student's weights on labelled steps; measure it on questions kept back."""

import argparse
import math
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace

from agentark.config.prm import Prm
from agentark.engines import local_models
from agentark.errors import UserError
from agentark.evaluation.step_quality import JudgedSteps, auroc, estimate, of_questions
from agentark.provenance import manifests
from agentark.records.files import read_rows
from agentark.records.sets import StepExample
from agentark.running import stage
from agentark.running.progress import say
from agentark.training import prm, prm_training, processes, session, weights
from agentark.training.prm_scoring import score_encoded

SPREAD = 0.01
"""Scores that differ by less are a reward model's that has learned nothing, or no longer can."""


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="manifest of the model whose weights it starts from")
    parser.add_argument("--set", type=Path, nargs="+", required=True, help="step examples, a JSONL for each teacher")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last, beside the folder `model`")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Prm)
    folder = manifests.model_folder(args.model)
    parents = [args.model, *args.set]
    tokenizer = local_models.open_tokenizer(folder)
    groups = by_questions(args.set)
    questions, counts = prm_training.encode_questions(groups, tokenizer, settings, args.seed)
    held_out, train = split(questions, settings)
    if not train:
        raise UserError(
            f"{args.set[0]}: no question to train a reward model on ({counts['questions']} read, "
            f"{counts['without_a_pair']} without steps that prm.loss can tell apart, {counts['too_long']} "
            f"traces longer than prm.max_length = {settings.max_length}); "
            "debate more questions, or ones that divide the agents"
        )
    labels = {label for question in train for trace in question.traces for label in trace.labels}
    if len(labels) == 1:
        raise UserError(
            f"{args.set[0]}: all steps are labelled {'right' if labels == {1} else 'wrong'}: nothing to tell apart; "
            "debate questions that divide the agents, or label steps by sets.prm_labels: rollouts"
        )
    say(f"prm          {len(train)} questions to train on, {len(held_out)} kept back of {counts['questions']}")

    torch.manual_seed(args.seed)
    model, stored = prm.open_backbone(folder, "infonce" in settings.loss, settings.lora_rank)
    checkpoints = session.checkpoint_folder(args.manifest, "prm", settings, args.seed, parents)
    log = prm_training.fit(model, train, settings, args.seed, checkpoints)
    measured = kept_back(model, held_out)
    value, low, high = (measured[name] for name in ("auroc", "auroc_low", "auroc_high"))
    n_steps = measured["held_out_steps"]
    say(f"prm          AUROC {value} [{low}, {high}] on {n_steps} steps of {len(held_out)} questions kept back")
    if n_steps and measured["scores_spread"] < SPREAD:
        say(
            f"prm          its scores hardly differ (90 % lie within {measured['scores_spread']}): they have come to "
            "an end of the sigmoid, where nothing is learned; lower prm.stage2.learning_rate, or take `bce` as prm.loss"
        )

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
        settings=settings.model_dump(mode="json", exclude={"model", "other_teachers"}),
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


def by_questions(sets: list[Path]) -> list[list[StepExample]]:
    """The traces of each question, of all teachers; an agent of one teacher is none of another's."""
    groups: defaultdict[str, list[StepExample]] = defaultdict(list)
    n_agents = 0
    for path in sets:
        rows = list(read_rows(path, StepExample))
        for row in rows:
            groups[row.question_id].append(replace(row, agent=n_agents + row.agent))
        n_agents += 1 + max((row.agent for row in rows), default=0)
    return list(groups.values())


def split(
    questions: list[prm_training.PrmQuestion], settings: Prm
) -> tuple[list[prm_training.PrmQuestion], list[prm_training.PrmQuestion]]:
    """Questions to keep back and to train on: ids are hashes, so their order is a fixed random one."""
    questions = sorted(questions, key=lambda question: question.traces[0].question_id)
    if settings.max_questions is not None:
        questions = questions[: math.ceil(settings.max_questions / (1 - settings.held_out_share))]
    n_held_out = round(len(questions) * settings.held_out_share)
    return questions[:n_held_out], questions[n_held_out:]


def kept_back(model: prm.ProcessRewardModel, held_out: list[prm_training.PrmQuestion]) -> dict[str, float | int | None]:
    """How well it tells the steps apart that it was not trained on; `tables/prm.csv` says more, of other questions."""
    traces = [(number, i, trace) for number, q in enumerate(held_out) for i, trace in enumerate(q.traces)]
    scores = score_encoded(model, [code for question in held_out for code in question.encoded])
    steps = JudgedSteps(
        scores=np.array([score for row in scores for score in row], dtype=float),
        right=np.array([label for _, _, trace in traces for label in trace.labels], dtype=bool),
        question=np.array([number for number, _, trace in traces for _ in trace.labels], dtype=int),
        trace=np.array([i for _, i, trace in traces for _ in trace.labels], dtype=int),
    )
    n_steps = len(steps.right)
    found = estimate(of_questions(steps, auroc), len(held_out))
    values = {"auroc": found.value, "auroc_low": found.low, "auroc_high": found.high}
    return {
        "held_out_questions": len(held_out),
        "held_out_steps": n_steps,
        "held_out_steps_right": int(steps.right.sum()),
        "scores_spread": round(float(np.subtract(*np.quantile(steps.scores, [0.95, 0.05]))), 4) if n_steps else None,
        # JSON has no NaN.
        **{name: None if math.isnan(value) else round(value, 4) for name, value in values.items()},
    }


if __name__ == "__main__":
    processes.leave(main())
