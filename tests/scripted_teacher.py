"""Holds debates with a scripted engine in a process of its own, and dies where it is told to.

    python -m tests.scripted_teacher DIE_AT FINISHED -- arguments of agentark.stages.debates

DIE_AT: `call:17` = SIGKILL when the 17th reply is given, `finished` = when the last
question is finished, `write` = when the debates are written, `manifest` = when
their manifest is; `never`. FINISHED: a file that gets a line for every reply that was given.
"""

import asyncio
import hashlib
import os
import signal
import sys
from pathlib import Path

from agentark.engines import opening
from agentark.engines.chat import Reply, Sampling
from agentark.engines.prompts import Message
from agentark.engines.scripted import Scripted
from agentark.provenance import manifests
from agentark.stages import debates


def main(die_at: str, finished: Path, arguments: list[str]) -> int:
    n_calls = 0

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def script(messages: list[Message], sampling: Sampling) -> Reply:
        nonlocal n_calls
        n_calls += 1
        if die_at == f"call:{n_calls}":
            die()
        digest = hashlib.sha256(f"{messages}{sampling.seed}".encode()).hexdigest()
        with finished.open("a") as handle:
            handle.write(f"{digest}\n")
        return Reply(f"{digest[:8]}. The answer is {int(digest[:1], 16)}.", prompt_tokens=5, completion_tokens=4)

    class Slow(Scripted):
        """Replies come in another order than they were asked for."""

        async def chat(self, messages: list[Message], sampling: Sampling) -> Reply:
            await asyncio.sleep(sampling.seed % 7 / 2000)
            return await super().chat(messages, sampling)

    opening.open_engine = lambda folder, settings: Slow(script)
    if die_at == "finished":
        debates.write_json = die
    if die_at == "write":
        debates.write_rows = die
    if die_at == "manifest":
        manifests.write_manifest = die
    return debates.main(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[sys.argv.index("--") + 1 :]))
