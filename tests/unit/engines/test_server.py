"""The server engine against a local server that misbehaves in every way it can think of."""

import asyncio
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agentark.config.models import Server as ServerSettings
from agentark.engines import server
from agentark.engines.chat import Reply, Sampling
from agentark.engines.server import Server
from agentark.errors import UserError

KEY = "sk-a-planted-key-0123456789"
SAMPLING = Sampling(temperature=0.5, max_tokens=9, seed=3)

Answer = tuple[int, Any, dict[str, str]]


def completion(text: str | None = "The answer is 5.", finish: str = "stop", **message: str) -> Answer:
    body = {
        "choices": [{"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}},
    }
    return 200, body, {}


class Faulty:
    """A server whose n-th answer is the n-th of a list, the last one for all later requests."""

    def __init__(self, *answers: Answer | Callable[[], Answer]) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.open = self.most_open = 0
        faulty, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with lock:
                    faulty.open += 1
                    faulty.most_open = max(faulty.most_open, faulty.open)
                    body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                    faulty.requests.append(body)
                    faulty.keys.append(self.headers["authorization"])
                    answer = faulty.answers.pop(0) if len(faulty.answers) > 1 else faulty.answers[0]
                status, content, headers = answer() if callable(answer) else answer
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                with lock:
                    faulty.open -= 1
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    pass  # the client has given up, which some tests are about

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def ask(self, n: int = 1, sampling: Sampling = SAMPLING, **settings: Any) -> list[Reply]:
        async def all_at_once() -> list[Reply]:
            engine = Server(ServerSettings(url=self.url, model="m", **settings))
            messages = [{"role": "user", "content": "What is 2 + 3?"}]
            return await asyncio.gather(*(engine.chat(messages, sampling) for _ in range(n)))

        return asyncio.run(all_at_once())


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Faulty]]:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    monkeypatch.setattr(server, "LONGEST_PAUSE_S", 0.02)
    started: list[Faulty] = []

    def start(*answers: Answer | Callable[[], Answer]) -> Faulty:
        started.append(Faulty(*answers))
        return started[-1]

    yield start
    for faulty in started:
        faulty.http.shutdown()
        faulty.http.server_close()


def test_a_choice_is_read_from_the_servers_logprobs(serve):
    tokens = [
        {"token": token, "logprob": logprob} for token, logprob in ((" TRUE", -0.1), ("False", -2.4), ("x", -9.0))
    ]
    status, body, headers = completion("TRUE, because they are")
    body["choices"][0]["logprobs"] = {"content": [{"top_logprobs": tokens}]}
    choose = Sampling(temperature=0.0, max_tokens=8, choices=("true", "false"))
    faulty = serve((status, body, headers))
    (reply,) = faulty.ask(sampling=choose)
    assert reply.text == "true"
    assert reply.chances["true"] == pytest.approx(1 / (1 + math.exp(-2.3)))
    assert (faulty.requests[0]["logprobs"], faulty.requests[0]["top_logprobs"]) == (True, 20)
    (reply,) = serve(completion("false.")).ask(sampling=choose)
    assert (reply.text, reply.chances) == ("false.", None)
    body["choices"][0]["logprobs"] = {
        "content": [{"top_logprobs": [{"token": "<think>", "logprob": -0.01}, {"token": "true", "logprob": -9.0}]}]
    }
    body["choices"][0]["message"]["content"] = "Hmm"
    (reply,) = serve((status, body, headers)).ask(sampling=choose)
    assert (reply.text, reply.chances) == ("Hmm", None)


def test_a_request_says_all_that_decides_the_reply(serve):
    faulty = serve(completion())
    (reply,) = faulty.ask(key_env="PLANTED_KEY", extra={"chat_template_kwargs": {"enable_thinking": False}})
    assert (reply.text, reply.status) == ("The answer is 5.", "ok")
    assert (reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens) == (7, 3, 4)
    assert reply.latency_s > 0
    assert faulty.requests == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "What is 2 + 3?"}],
            "temperature": 0.5,
            "top_p": 1.0,
            "max_tokens": 9,
            "seed": 3,
            "chat_template_kwargs": {"enable_thinking": False},
        }
    ]
    assert faulty.keys == [f"Bearer {KEY}"]


def slow() -> Answer:
    time.sleep(1.0)
    return completion()


@pytest.mark.parametrize(
    "fault",
    [
        (429, {"error": "slow down"}, {"retry-after": "0"}),
        (429, {"error": "slow down"}, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        (500, b"<html>oops</html>", {}),
        (503, b"", {}),
        (200, b"{not json", {}),
        (200, b"\xff\xfe\x00", {}),
        (200, {"choices": []}, {}),
        (200, {"choices": [{"message": {"content": 7}}]}, {}),
        (200, [], {}),
        (200, b"x" * 100_000, {}),
        slow,
    ],
    ids=["429", "429-date", "500", "503", "garbage", "bytes", "no-choice", "number", "list", "huge", "time-out"],
)
def test_what_may_pass_is_asked_again(fault, serve, monkeypatch):
    monkeypatch.setattr(server, "MAX_ANSWER_BYTES", 50_000)
    faulty = serve(fault, fault, completion())
    (reply,) = faulty.ask(timeout_s=0.3)
    assert reply.text == "The answer is 5."
    assert len(faulty.requests) == 3


def test_a_request_that_keeps_failing_is_a_failed_reply_with_the_reason(serve):
    faulty = serve((500, {"error": f"no, {KEY}"}, {}))
    (reply,) = faulty.ask(retries=2, key_env="PLANTED_KEY")
    assert (reply.status, reply.text, len(faulty.requests)) == ("failed", "", 3)
    assert "HTTP 500" in reply.error
    assert "3 tries" in reply.error
    assert KEY not in reply.error


def test_a_server_that_is_not_there_fails_requests_and_raises_nothing():
    async def ask() -> Reply:
        engine = Server(ServerSettings(url="http://127.0.0.1:9/v1", model="m", retries=1))
        return await engine.chat([{"role": "user", "content": "?"}], SAMPLING)

    reply = asyncio.run(ask())
    assert reply.status == "failed"
    assert "ConnectError" in reply.error


@pytest.mark.parametrize(
    ("answer", "settings", "cure"),
    [
        ((401, {"error": f"bad key {KEY}"}, {}), {"key_env": "PLANTED_KEY"}, "check PLANTED_KEY"),
        ((403, {}, {}), {}, "give models.NAME.server.key_env"),
        ((404, {"error": "no model m"}, {}), {}, "check url, up to `/v1`, and model `m`"),
    ],
)
def test_what_will_not_pass_stops_with_a_cure_and_without_the_key(answer, settings, cure, serve):
    faulty = serve(answer)
    with pytest.raises(UserError, match=cure) as caught:
        faulty.ask(**settings)
    assert KEY not in str(caught.value)
    assert len(faulty.requests) == 1


def test_a_missing_key_is_named(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(UserError, match="set the environment variable NO_SUCH_KEY"):
        Server(ServerSettings(url="http://localhost/v1", model="m", key_env="NO_SUCH_KEY"))


def test_too_long_a_prompt_is_an_overflow_and_other_refusals_are_not(serve):
    too_long = (400, {"message": "This model's maximum context length is 512 tokens."}, {})
    (reply,) = serve(too_long).ask()
    assert (reply.status, reply.overflow) == ("failed", True)
    (reply,) = serve((400, {"message": "bad temperature"}, {})).ask()
    assert (reply.status, reply.overflow) == ("failed", False)
    assert "bad temperature" in reply.error


@pytest.mark.parametrize(
    ("answer", "text", "status"),
    [
        (completion(None), "", "ok"),
        (completion("cut", "length"), "cut", "truncated"),
        (completion("5", reasoning_content="hm"), "<think>hm</think>\n5", "ok"),
        (completion("", "content_filter"), "", "failed"),
    ],
)
def test_every_kind_of_reply_has_its_status_and_is_never_none(answer, text, status, serve):
    (reply,) = serve(answer).ask()
    assert (reply.text, reply.status) == (text, status)


def test_no_more_requests_at_once_than_configured(serve):
    def brief() -> Answer:
        time.sleep(0.02)
        return completion()

    faulty = serve(brief)
    assert len(faulty.ask(12, concurrency=3)) == 12
    assert faulty.most_open <= 3


def test_the_rate_limit_spaces_requests(serve):
    faulty = serve(completion())
    started = time.monotonic()
    faulty.ask(4, requests_per_minute=600)
    assert time.monotonic() - started >= 0.3


def test_the_key_is_in_nothing_that_is_written_down(serve):
    engine = Server(ServerSettings(url="http://localhost/v1", model="m", key_env="PLANTED_KEY"))
    assert KEY not in json.dumps(engine.facts)
    with pytest.raises(ValueError, match="url"):
        ServerSettings(url="https://user:secret@host/v1", model="m")
