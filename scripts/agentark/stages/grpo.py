"""Train a policy by GRPO against a process reward model (PAD), or without one as a control."""

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path

from agentark.config.grpo import Grpo
from agentark.engines.local_models import open_tokenizer
from agentark.engines.opening import lacking_for_vllm
from agentark.errors import UserError
from agentark.provenance import manifests
from agentark.records.files import read_rows, write_json
from agentark.records.questions import Question
from agentark.records.sets import PassRate, RlPrompt
from agentark.running import stage
from agentark.running.progress import say
from agentark.training import grpo, processes, session, weights
from agentark.training.prm import load_prm
from agentark.training.prompt_lengths import that_fit
from agentark.training.rollout_rewards import reward_functions

LOGGED = {
    "reward": "reward",
    "process_reward": "rewards/process/mean",
    "correct_rate": "rewards/verifiable/mean",
    "kl": "kl",
    "completion_tokens": "completions/mean_length",
    "truncated_rate": "completions/clipped_ratio",
    "zero_variance_rate": "groups/without_variance",
}
"""Names in the manifest of what the trainer logs."""


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--policy", type=Path, required=True, help="manifest of the model or student to start from")
    parser.add_argument("--prm", type=Path, nargs="?", help="manifest of the process reward model; none with `outcome`")
    parser.add_argument("--set", type=Path, required=True, help="questions to roll out, JSONL")
    parser.add_argument("--rates", type=Path, nargs="?", help="pass rates of the policy, JSONL; none = the debate's")
    parser.add_argument("--validation", type=Path, required=True, help="questions to validate on, JSONL; may be none")
    parser.add_argument("--vllm-memory", type=int, default=30, help="per cent of a GPU's, for rollouts by vLLM")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last, beside the folder `model`")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Grpo)
    folder = manifests.model_folder(args.policy)
    parents = [path for path in (args.policy, args.prm, args.set, args.rates) if path is not None]
    validation, asked = [], []
    if settings.validation_every:
        asked = list(read_rows(args.validation, Question))
        validation = that_fit(asked, folder, settings.max_tokens)
        parents += [args.validation]
    low, high = settings.pass_rate
    read = list(read_rows(args.set, RlPrompt))
    rates = {prompt.question_id: prompt.pass_rate for prompt in read}
    if args.rates:
        rates = {row.question_id: row.right / row.rollouts for row in read_rows(args.rates, PassRate)}
    # A question of which the policy's rate could not be found out is not known to be of use.
    known = [prompt for prompt in read if prompt.question_id in rates]
    in_rates = [prompt for prompt in known if low <= rates[prompt.question_id] <= high]
    prompts = that_fit(in_rates, folder, settings.max_tokens)
    if len(prompts) < settings.prompts_per_step:
        too_long = f", {len(in_rates) - len(prompts)} of which are too long" if len(prompts) < len(in_rates) else ""
        raise UserError(
            f"{args.set}: {len(in_rates)} of {len(read)} questions have a pass rate in grpo.pass_rate = "
            f"[{low}, {high}]{too_long}, and an update takes grpo.prompts_per_step = {settings.prompts_per_step}; "
            "widen grpo.pass_rate, lower grpo.prompts_per_step or grpo.max_tokens, or debate more questions"
        )
    n_too_long = len(in_rates) - len(prompts) + len(asked) - len(validation)
    validation = validation[: settings.validation_questions]
    engine = settings.rollouts_by
    if engine == "auto":
        engine = "transformers" if lacking_for_vllm() else "vllm"
    guarded = f"validated on {len(validation)}" if validation else "no validation, so nothing guards it"
    say(f"grpo         {len(prompts)} of {len(read)} questions, {settings.steps} updates by {engine}, {guarded}")

    tokenizer = open_tokenizer(folder)
    model, stored = weights.open_for_training(folder)
    reward_model = load_prm(manifests.model_folder(args.prm)) if args.prm else None
    rewards = reward_functions([*prompts, *validation], settings, reward_model)
    checkpoints = session.checkpoint_folder(args.manifest, "grpo", settings, args.seed, parents)
    model, log, guard = grpo.fit(
        model,
        tokenizer,
        prompts,
        rewards,
        settings.model_copy(update={"rollouts_by": engine}),
        args.seed,
        checkpoints,
        validation=validation,
        vllm_memory=args.vllm_memory / 100,
    )

    student = args.manifest.parent / "model"
    with processes.gathered(model) as writes:
        if not writes:
            return
        if guard and guard.stopped:
            weights.restore(model, guard.weights_of(guard.best))
        with weights.replaced_folder(student) as partial:
            weights.save(model, tokenizer, partial, stored)
    session.write_metrics(args.manifest.with_name("metrics.csv"), log)
    seen, said = args.manifest.with_name("validation.csv"), args.manifest.with_name("samples.json")
    if guard:
        session.write_metrics(seen, [asdict(row) for row in guard.history])
        write_json(said, guard.samples)
    else:
        # Those of an earlier training of other settings.
        seen.unlink(missing_ok=True)
        said.unlink(missing_ok=True)
    log = [{name: row[key] for name, key in LOGGED.items() if key in row} for row in log]
    manifests.write_manifest(
        args.manifest,
        kind="student",
        stage="grpo",
        settings=settings.model_dump(mode="json"),
        parents=parents,
        folder=student,
        seed=args.seed,
        facts={
            "questions": len(read),
            "questions_in_pass_rate": len(in_rates),
            "questions_too_long": n_too_long,
            "updates": len(log),
            "rollouts_by": engine,
            **(guard.facts() if guard else {}),
            **session.first_and_last(log, list(LOGGED)),
        },
    )
    shutil.rmtree(checkpoints.parent, ignore_errors=True)


if __name__ == "__main__":
    processes.leave(main())
