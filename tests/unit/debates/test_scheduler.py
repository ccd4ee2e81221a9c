"""The scheduler: how many questions debate at once, when debates are handed over, what a fault does."""

import asyncio
import time

import pytest

from agentark.debates import scheduler
from agentark.debates.protocols.conversation import QuestionFailedError
from agentark.records.debates import Debate
from agentark.records.questions import Question


def questions(n: int) -> list[Question]:
    return [
        Question(
            question_id=str(i), dataset="toy", split="train", question=f"{i} + 1?", gold=str(i + 1), gold_type="number"
        )
        for i in range(n)
    ]


def finished(question: Question) -> Debate:
    return Debate(question=question, teacher="t", protocol="p", turns=[])


def unexpected(question: Question, reason: str) -> None:
    raise AssertionError(f"{question.question_id} failed: {reason}")


def ids(debates: list[Debate]) -> list[str]:
    return [debate.question.question_id for debate in debates]


def test_every_question_is_debated_once():
    done: list[Debate] = []

    async def protocol(question: Question) -> Debate:
        await asyncio.sleep(0)
        return finished(question)

    asyncio.run(scheduler.run(questions(50), protocol, done.append, in_flight=7, on_failed=unexpected))
    assert sorted(ids(done), key=int) == [str(i) for i in range(50)]


def test_in_flight_caps_the_open_questions_and_is_used_up():
    n_open = most = 0

    async def protocol(question: Question) -> Debate:
        nonlocal n_open, most
        n_open += 1
        most = max(most, n_open)
        await asyncio.sleep(0.001)
        n_open -= 1
        return finished(question)

    asyncio.run(scheduler.run(questions(20), protocol, lambda debate: None, in_flight=4, on_failed=unexpected))
    assert most == 4


def test_a_slow_question_holds_up_no_other():
    done: list[Debate] = []

    async def protocol(question: Question) -> Debate:
        while question.question_id == "0" and len(done) < 9:
            await asyncio.sleep(0)
        return finished(question)

    async def in_time():
        await asyncio.wait_for(
            scheduler.run(questions(10), protocol, done.append, in_flight=2, on_failed=unexpected), timeout=5
        )

    asyncio.run(in_time())
    assert ids(done)[-1] == "0"


def test_finished_debates_are_handed_over_before_the_others_end():
    done: list[Debate] = []

    async def protocol(question: Question) -> Debate:
        if question.question_id == "3":
            assert ids(done) == ["0", "1", "2"]
        return finished(question)

    asyncio.run(scheduler.run(questions(5), protocol, done.append, in_flight=1, on_failed=unexpected))
    assert len(done) == 5


def test_a_programming_error_surfaces_at_once_as_itself():
    async def protocol(question: Question) -> Debate:
        if question.question_id == "1":
            raise TypeError("a bug")
        await asyncio.sleep(30)
        return finished(question)

    started = time.monotonic()
    with pytest.raises(TypeError, match="a bug"):
        asyncio.run(scheduler.run(questions(5), protocol, lambda debate: None, in_flight=5, on_failed=unexpected))
    assert time.monotonic() - started < 5


def test_an_error_of_the_hand_over_surfaces():
    async def protocol(question: Question) -> Debate:
        return finished(question)

    def full_disk(debate: Debate) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        asyncio.run(scheduler.run(questions(5), protocol, full_disk, in_flight=2, on_failed=unexpected))


def test_a_failed_question_is_told_and_the_others_go_on():
    done: list[Debate] = []
    failed: dict[str, str] = {}

    async def protocol(question: Question) -> Debate:
        await asyncio.sleep(0)
        if question.question_id in ("1", "3"):
            raise QuestionFailedError(f"no reply to {question.question_id}")
        return finished(question)

    run = scheduler.run(
        questions(5), protocol, done.append, 2, lambda question, reason: failed.update({question.question_id: reason})
    )
    asyncio.run(run)
    assert sorted(ids(done)) == ["0", "2", "4"]
    assert failed == {"1": "no reply to 1", "3": "no reply to 3"}


@pytest.mark.parametrize(
    ("configured", "capacity", "expected"), [(7, 10**6, 7), (None, None, 256), (None, 100_000, 97), (None, 10, 16)]
)
def test_places_follow_the_cache_unless_they_are_configured(configured, capacity, expected):
    assert scheduler.places(configured, capacity, max_model_len=1024) == expected
