"""Measure how often a policy answers each question right before it is trained (`grpo.pass_rates_of: policy`)."""

import argparse
import asyncio
from pathlib import Path

from agentark.config.engine import Engine
from agentark.config.grpo import Grpo
from agentark.debates import scheduler
from agentark.debates.asking import asking
from agentark.debates.protocols.conversation import QuestionFailedError
from agentark.engines.chat import Chat, Sampling
from agentark.engines.prompts import solve_messages
from agentark.grading.grades import grade
from agentark.provenance import manifests
from agentark.records.files import read_rows, write_rows
from agentark.records.sets import PassRate, RlPrompt
from agentark.running import stage
from agentark.running.progress import say
from agentark.training.prompt_lengths import that_fit


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--engine", type=Path, required=True, help="frozen engine settings, JSON")
    parser.add_argument("--policy", type=Path, required=True, help="manifest of the model or student to start from")
    parser.add_argument("--set", type=Path, required=True, help="questions to roll out, JSONL")
    parser.add_argument("--work", type=Path, required=True, help="where replies are kept until all are there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Grpo)
    engine_settings = stage.settings(args.engine, Engine)
    read = list(read_rows(args.set, RlPrompt))
    folder = manifests.model_folder(args.policy)
    prompts = that_fit(read, folder, settings.max_tokens, engine_settings.max_model_len)
    found: list[PassRate] = []
    line = {"stage": "pass_rates", "n_items": len(prompts), "unit": "questions"}
    with asking(args.policy, engine_settings, args.work, **line) as (chat, places, progress):

        async def measured(prompt: RlPrompt) -> PassRate:
            return await pass_rate(prompt, settings, chat)

        def give_up(prompt: RlPrompt, reason: str) -> None:
            progress.fail()

        def keep(row: PassRate) -> None:
            found.append(row)
            progress.update()

        asyncio.run(scheduler.run(prompts, measured, keep, places, give_up))
    write_rows(args.out, sorted(found, key=lambda row: row.question_id))
    facts = {
        "questions": len(found),
        "questions_too_long": len(read) - len(prompts),
        "questions_without_rate": len(prompts) - len(found),
        "never_right": sum(row.right == 0 for row in found),
        "always_right": sum(row.right == row.rollouts for row in found),
    }
    manifests.write_manifest(
        args.manifest,
        kind="pass rates",
        stage="pass_rates",
        settings=settings.model_dump(mode="json", exclude_unset=True),
        parents=[args.set, args.policy],
        outputs=[args.out],
        facts=facts,
    )
    say(
        f"pass_rates   of {len(found)} questions {facts['never_right']} never right, {facts['always_right']} always, "
        f"{settings.pass_rate_rollouts} rollouts each"
    )


async def pass_rate(prompt: RlPrompt, settings: Grpo, chat: Chat) -> PassRate:
    """Roll a question out as the training will.

    Raises:
        QuestionFailedError: a request failed.
    """
    messages = solve_messages(prompt.question, prompt.choices, prompt.gold_type)
    n_choices = len(prompt.choices) if prompt.choices else None

    async def right(number: int) -> bool:
        reply = await chat(messages, Sampling(settings.temperature, settings.max_tokens, seed=number))
        if reply.status == "failed":
            raise QuestionFailedError(reply.error or "no reply")
        return grade(reply.text, prompt.golds, prompt.gold_type, n_choices).correct

    n = settings.pass_rate_rollouts
    return PassRate(
        question_id=prompt.question_id, rollouts=n, right=sum(await asyncio.gather(*(right(i) for i in range(n))))
    )


if __name__ == "__main__":
    raise SystemExit(main())
