"""Replies that are made to hang, crash or run the grader, and what must hold for any text at all."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentark.grading import proving
from agentark.grading.comparing import answer_key, equivalent
from agentark.grading.grades import grade
from agentark.grading.reading import MAX_ANSWER_CHARS, extract_answer
from agentark.records.questions import GoldType

GOLD_TYPES = get_args(GoldType)

HOSTILE = {
    "open boxes": "\\boxed{" * 3000,
    "nested boxes": "\\boxed{1" * 2500 + "}" * 2500,
    "statements": "answer is " * 2500,
    "empty statements": "####" * 5000,
    "topics": "answer to x" + " " * 20_000,
    "digits": "9" * 20_000,
    "groups": "1,111" * 4000,
    "fractions": "\\frac{1" * 3000,
    "slashes": "1/" * 10_000,
    "exponents": "1e9" * 6000,
    "carets": "^{" * 10_000,
    "dollars": "$a" * 10_000,
    "brackets": "(" * 20_000,
    "letters": "A is " * 5000,
    "tags": "</think>" * 5000,
    "blanks": " \n" * 10_000,
    "wrappers": "\\text{a" * 4000,
    "megabytes": "the answer is (A) \\boxed{3} " * 100_000,
    "a tower of powers": "\\boxed{9^{9^{9^9}}}",
    "factorials": "\\boxed{(10^9)!}",
    "100 kB of digits": "\\boxed{" + "7" * 100_000 + "}",
    "nested braces": "\\boxed" + "{" * 50_000 + "5" + "}" * 50_000,
    "many open boxes": "\\boxed{" * 20_000,
    "many statements": "the answer is " * 10_000,
    "many blanks": "The answer is" + " " * 100_000 + "5",
    "signs": "-+" * 50_000,
    "open fractions": "\\frac{" * 20_000,
    "many slashes": "1/" * 50_000,
    "commas": "1," * 50_000,
    "equations": "=" * 100_000,
    "thoughts": "<think>" * 20_000,
    "open letters": "(A" * 50_000,
    "quotes": "'\"" * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_reply_is_read_in_linear_time(name):
    for gold_type in GOLD_TYPES:
        started = time.perf_counter()
        extract_answer(HOSTILE[name], gold_type, 4)
        answer_key(HOSTILE[name][:500], gold_type)
        assert time.perf_counter() - started < 1.0, gold_type


@pytest.mark.parametrize("gold_type", GOLD_TYPES)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_reply_is_graded_within_a_second_of_processor_time(name, gold_type):
    started = time.process_time()
    grade(HOSTILE[name], ["5"], gold_type, 4)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("hostile", ["9^{9^{9^9}}", "(10^9)!", "9^{9^{9^{9}}}!", "(" * 400 + "x"])
def test_hostile_formula_cannot_hang(hostile):
    equivalent(r"\sqrt{2}x", r"x\sqrt{2}", "latex")  # the process is up
    started = time.perf_counter()
    assert equivalent("5", hostile, "latex") is None
    # Its processor time ran out, not the clock's: a busy machine needs longer for the one second.
    assert time.perf_counter() - started < proving.PROOF_TIMEOUT_S
    assert equivalent("a^2-b^2", "(a+b)(a-b)", "latex") is True


def test_reply_is_never_run(tmp_path):
    target = tmp_path / "touched"
    code = f"__import__('os').system('touch {target}')"
    for gold_type in GOLD_TYPES:
        grade(f"\\boxed{{{code}}}", ["x+1"], gold_type)
        equivalent("x+1", code, gold_type)
    assert not target.exists()


def test_any_thread_can_ask():
    pairs = [(rf"{n}\sqrt{{{n}}}", rf"\sqrt{{{n}}}\cdot{n}") for n in range(2, 12)]
    with ThreadPoolExecutor(4) as threads:
        verdicts = list(threads.map(lambda pair: equivalent(*pair, "latex"), pairs))
    assert verdicts == [True] * len(pairs)


def test_lost_process_is_replaced():
    assert equivalent(r"17\sqrt{2}", r"\sqrt{2}\cdot17", "latex") is True
    proving._prover._process.kill()
    proving._prover._process.wait()
    assert equivalent(r"19\sqrt{2}", r"\sqrt{2}\cdot19", "latex") is True


def test_silent_process_is_ended_by_the_clock(monkeypatch):
    assert equivalent(r"47\sqrt{2}", r"\sqrt{2}\cdot47", "latex") is True
    silent = proving._prover._process
    os.kill(silent.pid, signal.SIGSTOP)
    monkeypatch.setattr(proving, "PROOF_TIMEOUT_S", 0.2)
    assert equivalent(r"53\sqrt{2}", r"\sqrt{2}\cdot53", "latex") is None
    assert silent.returncode == -signal.SIGKILL


def test_interrupted_question_does_not_answer_the_next(monkeypatch):
    assert equivalent(r"23\sqrt{2}", r"\sqrt{2}\cdot23", "latex") is True
    with monkeypatch.context() as patch:
        patch.setattr(proving._prover, "_reply_within", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            equivalent(r"29\sqrt{2}", r"\sqrt{2}\cdot29", "latex")
    assert equivalent(r"31\sqrt{2}", r"\sqrt{2}\cdot32", "latex") is False


def test_forked_child_has_its_own_process():
    assert equivalent(r"37\sqrt{2}", r"\sqrt{2}\cdot37", "latex") is True
    parents = proving._prover._process.pid
    child = os.fork()
    if child == 0:
        right = equivalent(r"41\sqrt{2}", r"\sqrt{2}\cdot41", "latex") is True
        own = proving._prover._process.pid != parents
        proving._prover.stop()
        os._exit(0 if right and own else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert equivalent(r"43\sqrt{2}", r"\sqrt{2}\cdot43", "latex") is True


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300), st.sampled_from(GOLD_TYPES))
def test_any_text_is_survived(text, gold_type):
    answer = extract_answer(text, gold_type)
    assert answer is None or 0 < len(answer) <= MAX_ANSWER_CHARS
    assert equivalent(text, text, gold_type) is True


@settings(max_examples=100, deadline=None)
@given(
    st.text(alphabet="0123456789.,-/$% ()=eE\\{}frac^", max_size=30), st.text(alphabet="0123456789.,/%-", max_size=9)
)
def test_numbers_compare_alike_both_ways(one, other):
    assert equivalent(one, other, "number") is equivalent(other, one, "number")


@settings(max_examples=100, deadline=None)
@given(
    st.integers(-(10**12), 10**12),
    st.sampled_from(["{:,}", "{}.0", "\\boxed{{{:,}}}", "The answer is ${}.", "#### {}"]),
)
def test_every_spelling_of_an_integer_is_right(value, spelling):
    assert grade(spelling.format(value), [str(value)], "number").correct
    assert not grade(spelling.format(value), [str(value + 1)], "number").correct


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200), st.sampled_from(["number", "choice", "boolean", "text", "free"]))
def test_whatever_is_read_equals_itself(text: str, gold_type: str) -> None:
    answer = extract_answer(text, gold_type)
    if answer is not None:
        assert equivalent(answer, answer, gold_type) is True
