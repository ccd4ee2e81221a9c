"""A cache of replies on disk, keyed by the request: no finished request is made twice.

The key covers the model and how its engine is set, the rendered dialogue, the sampling and the seed of the request.
So a killed job goes on in the middle of a debate, and one with more agents or rounds asks only what is new.
"""

import hashlib
from pathlib import Path

import msgspec

from agentark.engines.chat import Chat, Reply, Sampling
from agentark.engines.prompts import Message
from agentark.records.debates import TurnStatus
from agentark.records.row import Row
from agentark.records.rowlog import RowLog


class _Kept(Row):
    text: str
    status: TurnStatus
    overflow: bool
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    latency_s: float
    chances: dict[str, float] | None = None


class ReplyLog:
    """The replies of one job; `kept(chat, model)` is the same chat, with a memory."""

    def __init__(self, path: Path) -> None:
        self._log = RowLog(path, _Kept)
        self.n_reused = 0

    @property
    def n_damaged(self) -> int:
        return self._log.n_damaged

    def __len__(self) -> int:
        return len(self._log)

    def kept(self, chat: Chat, model: str) -> Chat:
        """
        Args:
            model: identity of the model and of the engine's settings (`provenance.model_identity`).
        """

        async def ask(messages: list[Message], sampling: Sampling) -> Reply:
            asked = msgspec.json.encode((model, messages, sampling))
            key = hashlib.blake2b(asked, digest_size=16).hexdigest()
            if known := self._log.get(key):
                self.n_reused += 1
                return Reply(**msgspec.structs.asdict(known))
            reply = await chat(messages, sampling)
            # A failure is asked again: what failed may pass another time.
            if reply.status != "failed":
                fields = {name: getattr(reply, name) for name in _Kept.__struct_fields__}
                self._log.append(key, _Kept(**fields), remember=False)
            return reply

        return ask

    def close(self) -> None:
        self._log.close()
