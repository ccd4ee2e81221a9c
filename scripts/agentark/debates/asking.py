"""Put many independent prompts to one model, resumable: for verifier, judges, and rollouts of steps and policies.

Replies are kept, so that a killed job asks nothing twice. Failed requests are not, and too many of them end the job:
a server that is down must not pass for a model that says nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentark.config.engine import Engine
from agentark.debates import scheduler
from agentark.debates.replies import ReplyLog
from agentark.engines.chat import Chat, Reply, Sampling
from agentark.engines.opening import open_models, watched
from agentark.engines.prompts import Message
from agentark.errors import UserError
from agentark.provenance import manifests
from agentark.running.progress import Progress

FAILED_SHARE = 0.01


@contextmanager
def asking(
    manifest: Path, settings: Engine, work: Path, *, stage: str, n_items: int, unit: str
) -> Iterator[tuple[Chat, int, Progress]]:
    """The model's chat, how many items to work on at the same time, and the progress, which the caller updates.

    Args:
        work: folder in which replies are kept.
        stage, n_items, unit: of the progress line.

    Raises:
        UserError: more than `FAILED_SHARE` of the requests failed.
    """
    decides = settings.model_dump_json(include={"kind", "dtype", "max_model_len", "seed"})
    with open_models({"model": manifest}, settings) as models:
        replies = ReplyLog(work / "replies.jsonl")
        progress = Progress(stage, n_items, unit)
        errors: list[str] = []
        asked = 0

        async def chat(messages: list[Message], sampling: Sampling) -> Reply:
            nonlocal asked
            asked += 1
            reply = await kept(messages, sampling)
            if reply.status == "failed":
                errors.append(reply.error or "no reply")
            return reply

        try:
            kept = replies.kept(
                watched(models.chat("model"), progress), f"{manifests.model_identity(manifest)} {decides}"
            )
            yield chat, scheduler.places(settings.in_flight, models.capacity, settings.max_model_len), progress
        finally:
            replies.close()
        if len(errors) > FAILED_SHARE * asked:
            raise UserError(
                f"{stage}: {len(errors)} of {asked} requests failed, the first: {errors[0]}. The others are kept; the "
                "same command asks these again"
            )


def unexpected(item: object, reason: str) -> None:
    """For `scheduler.run`, where no item can fail: a failed request is an answer that says nothing."""
    raise RuntimeError(reason)
