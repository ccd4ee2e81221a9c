"""What every protocol must do, and how one is found by its name."""

import asyncio
import random
import re
from pathlib import Path

import pytest

from agentark.debates import protocols
from agentark.debates.protocols.conversation import QuestionFailedError
from agentark.engines.chat import Reply, Sampling
from agentark.engines.prompts import Message
from agentark.errors import UserError
from agentark.records.debates import SOLVER
from tests.scripted_agents import MARK, QUESTION, held, marked, with_chat

# What every protocol must do


SMALL = [
    ("single", {}),
    ("self_consistency", {"samples": 4}),
    ("self_consistency", {"samples": 3, "pick": "llm"}),
    *[("debate", {"agents": 4, "rounds": 3, "topology": topology}) for topology in ("full", "ring", "star", "sparse")],
    ("debate", {"agents": 3, "rounds": 2, "share": "summary"}),
    ("debate", {"agents": 1, "rounds": 2}),
    ("debate", {"agents": 20, "rounds": 3}),
    ("mad", {}),
    ("dylan", {}),
    ("dylan", {"agents": 5, "rounds": 4, "keep": 3}),
    ("agentverse", {}),
    ("camel", {}),
    ("camel", {"proposals": 1}),
    *[("macnet", {"nodes": 5, "shape": shape}) for shape in ("chain", "star", "tree", "mesh")],
    ("mav", {}),
    ("reflect", {}),
    ("reflect", {"agents": 5, "critiques": 2}),
]


@pytest.fixture(params=SMALL, ids=lambda case: f"{case[0]}-{'-'.join(map(str, case[1].values()))}")
def case(request):
    return request.param


def test_all_protocols_are_tested():
    assert {name for name, _ in SMALL} == set(protocols.NAMES)


def test_a_turn_shows_the_replies_that_it_says_it_reads_and_no_others(case):
    def script(prompt, sampling):
        # The recruiter's words are no message to others: they become the names of the experts.
        return f"{marked(prompt, sampling)}"[::-1] if "kinds of experts" in prompt else marked(prompt, sampling)

    row = held(case[0], script, **case[1])
    marks = [MARK.match(turn.reply)[0] if MARK.match(turn.reply) else turn.reply for turn in row.turns]
    for place, turn in enumerate(row.turns):
        assert [
            marks.index(mark) for mark in dict.fromkeys(sorted(MARK.findall(turn.prompt), key=marks.index))
        ] == turn.reads
        assert all(earlier < place for earlier in turn.reads)
        assert all(row.turns[earlier].round <= turn.round for earlier in turn.reads)
        assert turn.prompt.startswith(QUESTION.question)


def test_no_reply_of_the_same_round_reaches_a_solver_that_speaks_at_the_same_time(case):
    name, options = case
    if name in ("mad", "camel", "macnet", "agentverse"):
        pytest.skip(f"{name}: its agents speak one after the other")
    row = held(name, marked, **options)
    for turn in row.turns:
        if turn.role == SOLVER:
            assert all(row.turns[place].round < turn.round or row.turns[place].role != SOLVER for place in turn.reads)


def test_every_call_is_in_the_log(case):
    said = []

    def script(prompt, sampling):
        said.append(marked(prompt, sampling))
        return said[-1]

    row = held(case[0], script, **case[1])
    assert sorted(turn.reply for turn in row.turns) == sorted(said)
    assert row.calls == len(said)
    assert (row.teacher, row.protocol, row.question) == ("teacher", case[0], QUESTION)
    assert all(turn.model == "m" and turn.completion_tokens and turn.prompt_tokens for turn in row.turns)


def test_the_same_replies_give_the_same_debate_in_whatever_order_they_come(case):
    name, options = case
    shuffled = random.Random(7)

    async def slow(messages: list[Message], sampling: Sampling) -> Reply:
        await asyncio.sleep(shuffled.random() / 500)
        text = marked(messages[-1]["content"], sampling)
        n_words = sum(len(message["content"].split()) for message in messages)
        return Reply(text, prompt_tokens=n_words, completion_tokens=len(text.split()))

    assert with_chat(name, slow, **options) == held(name, marked, **options)


def test_no_two_requests_are_the_same_draw(case):
    row = held(case[0], marked, **case[1])
    seeds = [turn.seed for turn in row.turns]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize("reply", ["", "   ", "None", "no number here", "\x00\x1b[2J", "[9, 9, 9]", "x" * 20_000])
def test_useless_replies_end_no_debate_badly(case, reply):
    row = held(case[0], lambda prompt, sampling: reply, **case[1])
    assert row.turns
    assert row.answer is None or reply.strip() not in ("", "no number here")
    if not reply.strip():
        assert not any("None" in turn.prompt for turn in row.turns)


def test_a_failed_request_fails_its_question_with_the_reason(case):
    with pytest.raises(QuestionFailedError, match="HTTP 500"):
        held(case[0], lambda prompt, sampling: Reply("", status="failed", error="HTTP 500"), **case[1])


def test_a_bug_is_not_swallowed(case):
    def script(prompt, sampling):
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        held(case[0], script, **case[1])


def test_the_reference_layout_keeps_the_agents_own_dialogue(case):
    name, options = case
    asked: list[list[Message]] = []

    async def chat(messages: list[Message], sampling: Sampling) -> Reply:
        asked.append(messages)
        return Reply(marked(str(messages), sampling))

    row = with_chat(name, chat, layout="reference", **options)
    replies = {turn.reply for turn in row.turns}
    for messages in asked:
        assert [message["role"] for message in messages] == ["user", *(["assistant", "user"] * (len(messages) // 2))]
        assert all(message["content"] in replies for message in messages[1::2])
        # An agent's own reply stands in its dialogue, not among what others said.
        own = {MARK.match(message["content"])[0] for message in messages[1::2]}
        assert not own & set(MARK.findall(messages[-1]["content"]))


# Finding protocols


OWN = """
async def relay(question, ask, *, agents: int = 3, doubt: float = 0.5):
    turn = await ask(agent=0, round=1)
    for agent in range(1, agents):
        turn = await ask("Improve this.", agent=agent, round=agent + 1, reads=[turn])
    return turn.answer

def not_one(question, ask):
    return None
"""


def test_a_protocol_of_the_users_own(tmp_path: Path):
    file = tmp_path / "relay.py"
    file.write_text(OWN)
    row = held(f"{file}:relay", marked, agents=4)
    assert (row.protocol, row.calls, row.answer) == ("relay", 4, row.turns[-1].answer)
    assert protocols.source(f"{file}:relay") == file
    with pytest.raises(ValueError, match="agents"):
        protocols.settings_of(f"{file}:relay").model_validate({"agents": "4"})
    assert protocols.settings_of(f"{file}:relay").model_validate({"doubt": "1e-3"}).doubt == 1e-3


def test_the_protocol_in_the_docs_runs_as_it_stands(tmp_path: Path):
    text = (Path(__file__).parents[3] / "docs/protocols.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "relay.py").write_text(code)
    row = held(f"{tmp_path}/relay.py:relay", marked, agents=4)
    assert [turn.reads for turn in row.turns] == [[], [0], [1], [2]]
    assert row.answer == row.turns[3].answer


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("debatte", "no protocol; take one of single"),
        ("nowhere.py:relay", "no such file"),
        ("no.such.module:f", "not importable"),
        ("{tmp}/relay.py:other", "no `async def other"),
        ("{tmp}/relay.py:not_one", "no `async def not_one"),
        ("{tmp}/broken.py:relay", "broken.py: SyntaxError: .*; mend the protocol's file"),
    ],
)
def test_what_is_no_protocol_is_named_with_its_cure(name: str, message: str, tmp_path: Path):
    (tmp_path / "relay.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("async def relay(question, ask:\n")
    with pytest.raises(UserError, match=message):
        protocols.find(name.format(tmp=tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[3, 1]", [3, 1]),
        ("Agents 2 and 3", [2, 3]),
        ("2 > 1", [2, 1]),
        ("out of 4 I pick: 1", [1]),
        ("x", []),
        ("[7]", []),
    ],
)
def test_numbers_that_a_model_chose(text, expected):
    assert protocols.chosen(text, range(1, 5)) == expected
