"""Which traces are picked, on small debates written by hand."""

import itertools
import random
import time

import msgspec
import pytest

from agentark.records.traces import Trace
from agentark.sets.diversity import _equations, different_traces, diversity
from agentark.traces.steps import split_steps

ADD = "He has 12 apples and buys 45 more. 12 + 45 = 57. The answer is 57."
ADD_AGAIN = "He has 12 apples and buys 45 more. 45 + 12 = 57. The answer is 57."
COUNT_UP = "Start from fifty and take the rest. 50 + 7 = 57, so all in all there must be 57."
TENS = "Tens: 10 + 40 = 50. Ones: 2 + 5 = 7. Together 50 + 7 = 57 fruits."
BARE = "Based on the other solutions, the answer is 57.\n\n\\boxed{57}"


def trace(text: str, agent: int = 0, number: int = 1, kind: str = "stable", **changes) -> Trace:
    fields = {
        "trace_id": f"{agent}-{number}",
        "question_id": "q",
        "dataset": "toy",
        "split": "train",
        "question": "12 + 45?",
        "choices": None,
        "gold": "57",
        "gold_type": "number",
        "answer": "57",
        "correct": kind in ("stable", "corrective"),
        "consensus": True,
        "decided_by": "rules",
        "turned_round": None,
        "turned_by": [],
        "steps": split_steps(text),
        "truncated": False,
        "completion_tokens": 10,
    }
    return Trace(text=text, agent=agent, round=number, kind=kind, **(fields | changes))


def picked(traces: list[Trace], k: int) -> list[str]:
    return [one.text for one in different_traces(traces, k)]


def test_corrective_trace_comes_first():
    assert picked([trace(ADD), trace(TENS, 1, 2, "corrective")], 1) == [TENS]


def test_reasoning_comes_before_a_bare_answer():
    assert picked([trace(BARE), trace(ADD, 1)], 1) == [ADD]
    assert picked([trace(BARE, 0, 2, "corrective"), trace(ADD, 1, 3, "corrective")], 1) == [ADD]


def test_earlier_round_then_earlier_agent_comes_first():
    assert picked([trace(ADD, 2, 2), trace(TENS, 3, 1), trace(COUNT_UP, 1, 1)], 1) == [COUNT_UP]


def test_wrong_traces_are_passed_over():
    assert picked([trace(TENS, kind="wrong"), trace(COUNT_UP, 1, kind="degraded")], 3) == []
    assert picked([trace(TENS, kind="wrong"), trace(ADD, 1)], 3) == [ADD]


def test_same_reasoning_is_not_picked_twice():
    assert picked([trace(ADD), trace(ADD_AGAIN, 1), trace(ADD, 2)], 3) == [ADD]


def test_same_words_with_other_equations_are_different():
    other = ADD.replace("12 + 45 = 57", "60 - 3 = 57")
    assert picked([trace(ADD), trace(other, 1)], 2) == [ADD, other]


def test_farthest_trace_comes_next():
    near = ADD.replace("He has", "At first he has").replace("buys", "then buys")
    assert picked([trace(ADD), trace(near, 1), trace(TENS, 2)], 2) == [ADD, TENS]


def test_bare_answer_is_no_second_way():
    assert picked([trace(ADD), trace(BARE, 1), trace(TENS, 2)], 3) == [ADD, TENS]
    assert picked([trace(BARE), trace("It is 57.", 1)], 3) == [BARE]


def test_prose_in_steps_is_reasoning():
    prose = "Aspirin blocks the enzyme.\nThat stops prostaglandins.\nThe answer is (B)."
    assert picked([trace("The answer is (B)."), trace(prose, 1)], 2) == [prose]


def test_order_of_the_traces_does_not_matter():
    traces = [trace(ADD), trace(ADD_AGAIN, 1), trace(COUNT_UP, 2), trace(TENS, 3, 2, "corrective"), trace(BARE, 4)]
    results = {tuple(picked(list(order), 3)) for order in itertools.permutations(traces)}
    assert len(results) == 1
    assert next(iter(results))[0] == TENS
    assert set(next(iter(results))[1:]) == {ADD, COUNT_UP}


@pytest.mark.parametrize("k", [0, 1, 2, 3, 8])
def test_never_more_than_k(k):
    traces = [trace(text, agent) for agent, text in enumerate([ADD, COUNT_UP, TENS, BARE])]
    assert len(different_traces(traces, k)) == min(k, 3)


def test_medoids_stand_for_the_ways_of_solving():
    again = ADD.replace("buys", "then buys").replace("12 + 45 = 57", "45 + 12 = 57, which is the sum")
    third = ADD.replace("He has", "At first he has")
    chosen = different_traces([trace(text, i) for i, text in enumerate([ADD, again, third, TENS])], 2, "k_medoids")
    assert TENS in {one.text for one in chosen}
    assert len(chosen) == 2


def test_random_picks_are_the_same_again_and_bound_by_no_order():
    traces = [trace(f"First {i} + {i} = {2 * i}. Then 50 + 7 = 57.", i) for i in range(8)]
    chosen = different_traces(traces, 3, "random")
    assert len(chosen) == 3
    assert different_traces(traces[::-1], 3, "random") == chosen
    elsewhere = [msgspec.structs.replace(one, question_id="other") for one in traces]
    assert [one.agent for one in different_traces(elsewhere, 3, "random")] != [one.agent for one in chosen]


def test_farthest_traces_are_more_diverse_than_random_ones():
    near = [trace(ADD.replace("12 + 45", f"{i} + 12 + 45"), i) for i in range(6)]
    traces = [*near, trace(TENS, 6), trace(COUNT_UP, 7)]
    apart = {how: diversity(different_traces(traces, 3, how)) for how in ("max_min", "random")}
    assert apart["max_min"] > apart["random"] > 0
    assert diversity(traces[:1]) is None
    assert diversity([traces[0], traces[0]]) == 0


def test_several_questions_are_refused():
    with pytest.raises(ValueError, match="one question"):
        different_traces([trace(ADD), trace(ADD, 1, question_id="other")], 2)


@pytest.mark.parametrize(
    ("text", "equations"),
    [
        ("12+45=57", ("12+45=57",)),
        ("45 + 12 = 57", ("12+45=57",)),
        ("$1,200 - $200 = $1,000", ("1200-200=1000",)),
        ("7 * 4 = <<7*4=28>>28 pieces", ("4*7=28",)),
        ("28 pieces - 12 pieces = 16 pieces", ("28-12=16",)),
        (r"\(3 \times 4 = 12\), then 12 \div 2 = 6.", ("3*4=12", "12/2=6")),
        ("3.5 + 0.5 = 4.", ("0.5+3.5=4",)),
        ("x = 198 and 5 = 5", ()),
    ],
)
def test_equations_are_read(text, equations):
    assert _equations(text) == equations


def test_large_debate_with_looping_replies_is_fast():
    words = random.Random(0)
    traces = [
        trace(" ".join(f"{words.randrange(2)} + 1 = {n % 2}." for n in range(1500)), agent) for agent in range(20)
    ]
    started = time.perf_counter()
    assert len(different_traces(traces, 8)) == 8
    assert time.perf_counter() - started < 5.0
