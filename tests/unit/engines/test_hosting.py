"""Several models in one job: exchanged when they must be, opened again when they die."""

import asyncio

import pytest

from agentark.engines.chat import Reply, Sampling
from agentark.engines.hosting import Host
from agentark.errors import UserError

SAMPLING = Sampling(temperature=0.0, max_tokens=4)


class Model:
    """An engine that says its name, and counts how often it was opened."""

    seeds_requests = True
    capacity = None

    def __init__(self, name: str, log: list[str], dies_after: int = 10**9) -> None:
        self.name, self.log, self.left = name, log, dies_after
        self.facts = {"engine": name}
        log.append(f"open {name}")

    async def chat(self, messages, sampling) -> Reply:
        await asyncio.sleep(0)
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("out of luck")
        return Reply(self.name)

    def close(self) -> None:
        self.log.append(f"close {self.name}")


def test_local_models_are_in_memory_one_at_a_time_and_seldom_exchanged():
    log: list[str] = []

    async def question(host: Host) -> list[str]:
        said = []
        for name in ("a", "b", "a"):
            replies = await asyncio.gather(*(host.chat(name)([], SAMPLING) for _ in range(3)))
            said += [reply.text for reply in replies]
        return said

    async def all_questions(host: Host) -> list[list[str]]:
        return await asyncio.gather(*(question(host) for _ in range(20)))

    with Host({name: lambda name=name: Model(name, log) for name in ("a", "b")}, {}) as host:
        said = asyncio.run(all_questions(host))
    assert said == [["a"] * 3 + ["b"] * 3 + ["a"] * 3] * 20
    assert log == ["open a", "close a", "open b", "close b", "open a", "close a"]


def test_servers_are_open_side_by_side_with_a_local_model():
    log: list[str] = []
    servers = {name: lambda name=name: Model(name, log) for name in ("s", "t")}
    with Host({"a": lambda: Model("a", log)}, servers) as host:

        async def mixed() -> list[Reply]:
            return await asyncio.gather(*(host.chat(name)([], SAMPLING) for name in "sats" * 5))

        assert [reply.text for reply in asyncio.run(mixed())] == list("sats" * 5)
    assert sorted(log[:3]) == ["open a", "open s", "open t"]
    assert len(log) == 6


def test_an_engine_that_dies_is_opened_once_more_and_nothing_is_lost():
    log: list[str] = []
    lives = iter([3, 100])
    with Host({"a": lambda: Model("a", log, next(lives))}, {}) as host:

        async def ask() -> list[Reply]:
            return await asyncio.gather(*(host.chat("a")([], SAMPLING) for _ in range(8)))

        assert [reply.text for reply in asyncio.run(ask())] == ["a"] * 8
    assert log == ["open a", "close a", "open a", "close a"]


def test_an_engine_that_dies_twice_stops_the_job_with_the_reason_and_a_cure():
    log: list[str] = []
    with Host({"a": lambda: Model("a", log, 2)}, {}) as host:

        async def ask() -> list[Reply]:
            return await asyncio.gather(*(host.chat("a")([], SAMPLING) for _ in range(8)))

        with pytest.raises(UserError, match=r"died a second time \(RuntimeError: out of luck\).*engine.in_flight"):
            asyncio.run(ask())
    assert log == ["open a", "close a"] * 2


def test_facts_tell_of_every_model_that_was_opened():
    with Host({"a": lambda: Model("a", [])}, {"s": lambda: Model("s", [])}) as host:
        assert host.facts == {"a": {"engine": "a"}, "s": {"engine": "s"}}
        assert "a" in host
        assert "b" not in host
