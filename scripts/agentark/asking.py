"""One model that many small questions are put to: the verifier, the judge, the roller of steps.

Replies are kept until the job is done, so that a killed one asks nothing twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentark import config, provenance, scheduler
from agentark.chat import Chat
from agentark.engines import open_models, watched
from agentark.progress import Progress
from agentark.replies import ReplyLog


@contextmanager
def asking(
    manifest: Path, settings: config.Engine, work: Path, *, stage: str, n_items: int, unit: str
) -> Iterator[tuple[Chat, int, Progress]]:
    """The model's chat, how many items to work on at the same time, and the progress, which the caller updates.

    Args:
        work: folder in which replies are kept.
        stage, n_items, unit: of the progress line.
    """
    decides = settings.model_dump_json(include={"kind", "dtype", "max_model_len", "seed"})
    with open_models({"model": manifest}, settings) as models:
        replies = ReplyLog(work / "replies.jsonl")
        progress = Progress(stage, n_items, unit)
        try:
            chat = replies.kept(
                watched(models.chat("model"), progress), f"{provenance.model_identity(manifest)} {decides}"
            )
            yield chat, scheduler.places(settings.in_flight, models.capacity, settings.max_model_len), progress
        finally:
            replies.close()


def unexpected(item: object, reason: str) -> None:
    """For `scheduler.run`, where no item can fail: a failed request is an answer that says nothing."""
    raise RuntimeError(reason)
