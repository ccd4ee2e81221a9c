"""The engine for OpenAI-compatible servers: `vllm serve`, SGLang, a hosted service.

What may pass (429, 5xx, time-outs, broken connections, unreadable answers) is tried again after a random, growing
pause; what will not (a refused key, an unknown model) stops the job with one sentence. The key comes from the
environment, and stands in no message.
"""

import asyncio
import os
import time
from dataclasses import replace
from typing import Any

import httpx
import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from agentark.config.models import Server as ServerSettings
from agentark.engines.chat import Reply, Sampling, likeliest
from agentark.engines.prompts import Message
from agentark.errors import UserError

MAX_ANSWER_BYTES = 8 << 20
LONGEST_PAUSE_S = 60.0
TOP_LOGPROBS = 20
"""The most that servers give."""
UNLISTED = -100.0
MAY_PASS = {408, 409, 425, 429}
TOO_LONG = ("context length", "context_length", "maximum context", "too long", "max_model_len")


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Token(msgspec.Struct):
    token: str
    logprob: float


class _Position(msgspec.Struct):
    top_logprobs: list[_Token] = []


class _Logprobs(msgspec.Struct):
    content: list[_Position] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Cached(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Cached | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


class _MayPassError(Exception):
    """Worth another try, after `pause_s` if the server said so."""

    def __init__(self, message: str, pause_s: float = 0.0) -> None:
        super().__init__(message)
        self.pause_s = pause_s


class Server:
    """One model of one server."""

    name = "server"
    seeds_requests = False  # the seed is sent, but nobody tells what the server makes of it
    capacity = None

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._key = os.environ.get(settings.key_env) if settings.key_env else None
        if settings.key_env and not self._key:
            raise UserError(f"{settings.url}: set the environment variable {settings.key_env} to its key")
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(settings.timeout_s, connect=min(30.0, settings.timeout_s)),
            limits=httpx.Limits(max_connections=settings.concurrency),
        )
        self._places = asyncio.Semaphore(settings.concurrency)
        self._next_slot = 0.0
        self.facts = {"engine": self.name, **settings.model_dump(include={"url", "model", "extra"})}

    async def chat(self, messages: list[Message], sampling: Sampling) -> Reply:
        started = time.monotonic()
        goes_on = messages[-1]["role"] == "assistant"
        body = {
            "model": self._settings.model,
            "messages": messages,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            **({} if sampling.seed is None else {"seed": sampling.seed}),
            **({"logprobs": True, "top_logprobs": TOP_LOGPROBS} if sampling.choices else {}),
            # vLLM's and SGLang's way to go on with a reply that has begun.
            **({"continue_final_message": True, "add_generation_prompt": False} if goes_on else {}),
            **self._settings.extra,
        }
        tries = AsyncRetrying(
            retry=retry_if_exception_type(_MayPassError),
            stop=stop_after_attempt(1 + self._settings.retries),
            wait=_pause,
            reraise=True,
        )
        async with self._places:
            try:
                reply = await tries(self._ask, body, sampling.choices)
            except _MayPassError as fault:
                n_tries = 1 + self._settings.retries
                return Reply("", status="failed", error=f"{self._settings.url}: {fault} ({n_tries} tries)")
        return replace(reply, latency_s=time.monotonic() - started)

    def close(self) -> None:
        # Its connections belong to an event loop that has ended; they are closed with their sockets.
        pass

    async def _ask(self, body: dict[str, Any], choices: tuple[str, ...]) -> Reply:
        """One try.

        Raises:
            _MayPassError: another try may do better.
            UserError: no request can succeed.
        """
        await self._slot()
        try:
            status, headers, content = await self._post(body)
        except httpx.TransportError as fault:
            raise _MayPassError(f"{type(fault).__name__}: {fault}") from fault
        text = self._redacted(content[:300].decode("utf-8", "replace"))
        if status in MAY_PASS or status >= 500:
            raise _MayPassError(f"HTTP {status}: {text}", _seconds(headers.get("retry-after")))
        if status in (401, 403):
            cure = f"check {self._settings.key_env}" if self._settings.key_env else "give models.NAME.server.key_env"
            raise UserError(f"{self._settings.url}: refused (HTTP {status}: {text}); {cure}")
        if status == 404:
            raise UserError(
                f"{self._settings.url}: not found (HTTP 404: {text}); check url, up to `/v1`, and model "
                f"`{self._settings.model}`"
            )
        if status != 200:
            overflow = status in (400, 413, 422) and any(sign in text.lower() for sign in TOO_LONG)
            return Reply("", status="failed", error=f"HTTP {status}: {text}", overflow=overflow)
        return self._read(content, choices)

    async def _post(self, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        content = bytearray()
        async with self._client.stream("POST", f"{self._settings.url.rstrip('/')}/chat/completions", json=body) as got:
            async for part in got.aiter_bytes():
                content += part
                if len(content) > MAX_ANSWER_BYTES:
                    raise _MayPassError(f"an answer of more than {MAX_ANSWER_BYTES >> 20} MiB")
        return got.status_code, got.headers, bytes(content)

    def _read(self, content: bytes, choices: tuple[str, ...]) -> Reply:
        try:
            completion = msgspec.json.decode(content, type=_Completion)
            choice = completion.choices[0]
        except (msgspec.DecodeError, UnicodeDecodeError, IndexError) as fault:
            raise _MayPassError(f"not a chat completion ({fault})") from fault
        if choice.finish_reason == "content_filter":
            return Reply("", status="failed", error="the server's content filter took the reply away")
        said, usage = choice.message, completion.usage or _Usage()
        thought = said.reasoning_content or said.reasoning
        cached = usage.prompt_tokens_details
        told = choice.logprobs.content if choices and choice.logprobs else None
        if told and (logprobs := _logprobs(told[0].top_logprobs, choices)):
            text, chances = likeliest(logprobs)
            n_in, n_out = usage.prompt_tokens, usage.completion_tokens
            return Reply(text, chances=chances, prompt_tokens=n_in, completion_tokens=n_out)
        return Reply(
            (f"<think>{thought}</think>\n" if thought else "") + (said.content or ""),
            status="truncated" if choice.finish_reason == "length" else "ok",
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=(cached.cached_tokens or 0) if cached else 0,
            completion_tokens=usage.completion_tokens,
        )

    async def _slot(self) -> None:
        """Waits until the rate limit allows the next request."""
        if self._settings.requests_per_minute is None:
            return
        now = time.monotonic()
        slot = max(now, self._next_slot)
        self._next_slot = slot + 60 / self._settings.requests_per_minute
        await asyncio.sleep(slot - now)

    def _redacted(self, text: str) -> str:
        """A server's words without the key, which some servers repeat."""
        return text.replace(self._key, "***") if self._key else text


def _logprobs(tokens: list[_Token], choices: tuple[str, ...]) -> dict[str, float] | None:
    """Of each choice, by the tokens that begin it; a choice outside of the server's list is as good as impossible.

    Returns:
        None when the likeliest token begins none of them: the model would say something else.
    """
    starts = [(token.token.strip().casefold(), token.logprob) for token in tokens]
    likely = max(starts, key=lambda start: start[1], default=("", 0.0))[0]
    if not likely or not any(choice.startswith(likely) for choice in choices):
        return None
    return {
        choice: max((logprob for start, logprob in starts if start and choice.startswith(start)), default=UNLISTED)
        for choice in choices
    }


def _seconds(retry_after: str | None) -> float:
    """A `Retry-After` header; a date or nonsense counts as none."""
    try:
        return min(max(float(retry_after or 0), 0.0), LONGEST_PAUSE_S)
    except ValueError:
        return 0.0


def _pause(state: RetryCallState) -> float:
    """Random, so that the waiting requests do not all come back at once, and never less than the server asked for."""
    fault = state.outcome.exception()
    return max(fault.pause_s, wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE_S)(state))
