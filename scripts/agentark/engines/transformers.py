"""The transformers engine, where vLLM is absent: `generate` on batches of what is outstanding.

A batch is drawn once the requests have stopped coming in: those of one sampling, of like length, padded on the
left. It takes as long as its longest reply, so this is several times slower than vLLM's continuous batch.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GenerationConfig

from agentark.config.engine import Engine
from agentark.engines import local_models
from agentark.engines.chat import Reply, Sampling, likeliest
from agentark.engines.chat_template import context_length, first_tokens, prompt_ids, too_long
from agentark.engines.chat_template import facts as dialogue_facts
from agentark.engines.prompts import Message

BATCH_ROWS = 128
BATCH_TOKENS = 65_536
"""Rows times (longest prompt + tokens of a reply), at most: what the attention cache of a batch must hold."""
GATHER_S = 0.02
"""Pause in which the coroutines that the last batch woke can ask their next questions."""


@dataclass(frozen=True)
class _Request:
    prompt_ids: list[int]
    sampling: Sampling
    reply: asyncio.Future[tuple[list[int], bool] | dict[str, float]]
    """Completion tokens, and whether the model ended the reply itself; of choices, their log-probabilities."""


class Transformers:
    """The model of a folder, loaded in transformers, on the GPU where there is one."""

    name = "transformers"
    seeds_requests = False  # `generate` draws a whole batch from one generator
    capacity = None

    def __init__(self, folder: Path, settings: Engine) -> None:
        self._tokenizer = local_models.open_tokenizer(folder)
        self._context = context_length(folder, settings.max_model_len)
        self._model = local_models.open_model(folder, _dtype(settings.dtype)).to(local_models.device()).eval()
        ends = self._model.generation_config.eos_token_id
        ends = [self._tokenizer.eos_token_id] if ends is None else ends
        self._ends = [ends] if isinstance(ends, int) else ends
        self._waiting: list[_Request] = []
        self._worker: asyncio.Task[None] | None = None
        torch.manual_seed(settings.seed)
        self.facts = {
            "engine": self.name,
            "dtype": str(self._model.dtype),
            "max_model_len": self._context,
            "seed": settings.seed,
            **dialogue_facts(self._tokenizer),
        }

    async def chat(self, messages: list[Message], sampling: Sampling) -> Reply:
        started = time.monotonic()
        ids = prompt_ids(self._tokenizer, messages)
        if error := too_long(len(ids), self._context):
            excess = len(ids) + sampling.max_tokens - self._context
            return Reply("", status="failed", error=error, overflow=True, excess_tokens=excess, prompt_tokens=len(ids))
        request = _Request(ids, sampling, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        answered = await request.reply
        if isinstance(answered, dict):
            text, chances = likeliest(answered)
            seconds = time.monotonic() - started
            return Reply(text, chances=chances, prompt_tokens=len(ids), completion_tokens=1, latency_s=seconds)
        completion, ended = answered
        return Reply(
            self._tokenizer.decode(completion, skip_special_tokens=True),
            status="ok" if ended else "truncated",
            overflow=(overflow := not ended and len(completion) < sampling.max_tokens),
            excess_tokens=overflow * (len(ids) + sampling.max_tokens - self._context),
            prompt_tokens=len(ids),
            completion_tokens=len(completion),
            latency_s=time.monotonic() - started,
        )

    def close(self) -> None:
        del self._model
        torch.cuda.empty_cache()

    async def _work(self) -> None:
        """Answers what is waiting, batch by batch, and ends when nothing is."""
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            batch = self._next_batch()
            try:
                completions = await asyncio.to_thread(self._generate, batch)
            except Exception as fault:
                for request in (*batch, *self._waiting):
                    if not request.reply.done():
                        request.reply.set_exception(fault)
                self._waiting.clear()
                return
            for request, completion in zip(batch, completions, strict=True):
                if not request.reply.done():
                    request.reply.set_result(completion)

    def _next_batch(self) -> list[_Request]:
        """The oldest request and those most like it in length, of the same sampling; they leave the queue."""
        oldest = self._waiting[0]
        alike = sorted(
            (request for request in self._waiting if request.sampling == oldest.sampling),
            key=lambda request: abs(len(request.prompt_ids) - len(oldest.prompt_ids)),
        )
        batch: list[_Request] = []
        longest = 0
        for request in alike[:BATCH_ROWS]:
            longest = max(longest, len(request.prompt_ids))
            if batch and (len(batch) + 1) * (longest + oldest.sampling.max_tokens) > BATCH_TOKENS:
                break
            batch.append(request)
        taken = {id(request) for request in batch}
        self._waiting = [request for request in self._waiting if id(request) not in taken]
        return batch

    @torch.inference_mode()
    def _generate(self, batch: list[_Request]) -> list[tuple[list[int], bool] | dict[str, float]]:
        sampling = batch[0].sampling
        longest = max(len(request.prompt_ids) for request in batch)
        padding = [longest - len(request.prompt_ids) for request in batch]
        input_ids = torch.tensor(
            [[self._tokenizer.pad_token_id] * n + request.prompt_ids for n, request in zip(padding, batch, strict=True)]
        )  # (B, P)
        attention_mask = torch.tensor([[0] * n + [1] * (longest - n) for n in padding])  # (B, P)
        if sampling.choices:
            first = first_tokens(self._tokenizer, sampling.choices)
            position_ids = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
            logits = self._model(
                input_ids=input_ids.to(self._model.device),
                attention_mask=attention_mask.to(self._model.device),
                position_ids=position_ids.to(self._model.device),
                logits_to_keep=1,
            ).logits[:, -1]  # (B, V)
            return [{choice: float(row[token]) for choice, token in first.items()} for row in logits.float()]
        room = min(sampling.max_tokens, self._context - longest)
        output_ids = self._model.generate(
            input_ids=input_ids.to(self._model.device),
            attention_mask=attention_mask.to(self._model.device),
            generation_config=self._generation(sampling, max_new_tokens=room),
        )
        return [self._until_end(row) for row in output_ids[:, longest:].tolist()]

    def _generation(self, sampling: Sampling, max_new_tokens: int) -> GenerationConfig:
        # All that shapes the distribution is stated: what is left open is taken from the model's own defaults
        # (Qwen's top_k of 20, say), and the two engines would sample differently.
        draw = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        return GenerationConfig(
            do_sample=sampling.temperature > 0,
            repetition_penalty=1.0,
            max_new_tokens=max_new_tokens,
            eos_token_id=self._ends,
            pad_token_id=self._tokenizer.pad_token_id,
            **(draw if sampling.temperature > 0 else {}),
        )

    def _until_end(self, row: list[int]) -> tuple[list[int], bool]:
        """A row up to its first end token, which counts as generated; the rest is padding of the batch."""
        for i, token in enumerate(row):
            if token in self._ends:
                return row[: i + 1], True
        return row, False


def _dtype(name: str) -> torch.dtype:
    """`auto` is the faster one of bfloat16 and float32."""
    return local_models.faster_dtype() if name == "auto" else getattr(torch, name)
