"""What is particular to each of the other protocols."""

import pytest

from agentark.debates.protocols.macnet import predecessors
from agentark.records.debates import AGGREGATOR, SOLVER
from tests.scripted_agents import ALONE, held, in_order, marked, solutions

# The others


def test_single_is_one_call():
    row = held("single", lambda *_: "The answer is 5.")
    assert (row.calls, row.answer, row.turns[0].prompt, row.consensus_round) == (1, "5", ALONE, None)


def test_self_consistency_votes_over_samples_of_one_prompt():
    row = held("self_consistency", in_order("4", "5", "5"), samples=3)
    assert (row.calls, row.answer) == (3, "5")
    assert {turn.prompt for turn in row.turns} == {ALONE}


@pytest.mark.parametrize(("judge", "answer"), [("Agent 1", "4"), ("I pick 7", "5"), ("", "5")])
def test_the_model_may_pick_and_the_vote_stands_in_for_nonsense(judge, answer):
    assert held("self_consistency", in_order("4", "5", "5", judge), samples=3, pick="llm").answer == answer


def test_mad_ends_when_the_judge_is_convinced_and_not_before():
    row = held("mad", in_order("The answer is 4.", "No. The answer is 5.", "Undecided: 4 or 5.", "5.", "5.", "It is 5"))
    assert [(turn.agent, turn.round) for turn in row.turns] == [
        (0, 1),
        (1, 1),
        (AGGREGATOR, 1),
        (0, 2),
        (1, 2),
        (-1, 2),
    ]
    assert row.answer == "5"
    assert [len(turn.reads) for turn in row.turns] == [0, 1, 2, 2, 3, 4]


def test_mad_without_a_verdict_takes_the_affirmative_side():
    def script(prompt, sampling):
        return "I cannot say." if "You are the judge" in prompt else "The answer is 6."

    assert held("mad", script, rounds=2).answer == "6"


def test_dylan_keeps_the_agents_that_the_ranker_names():
    def script(prompt, sampling):
        return "The best: [4, 2]" if "Rank the agents" in prompt else marked(prompt, sampling)

    row = held("dylan", script, agents=4, rounds=4, keep=2, rank_after=2)
    assert [[turn.agent for turn in row.round_turns(n)] for n in (1, 2, 3, 4)] == [
        [0, 1, 2, 3],
        [0, 1, 2, 3],
        [1, 3],
        [1, 3],
    ]
    assert all(
        "You are Agent" not in turn.prompt or f"You are Agent {turn.agent + 1}." in turn.prompt for turn in row.turns
    )


@pytest.mark.parametrize(("ranking", "kept"), [("[9, 3]", [0, 2]), ("none", [0, 1]), ("3 > 1 > 2", [0, 2])])
def test_dylan_fills_up_what_a_ranker_leaves_open(ranking, kept):
    def script(prompt, sampling):
        return ranking if "Rank the agents" in prompt else marked(prompt, sampling)

    row = held("dylan", script, agents=3, rounds=3, keep=2)
    assert [turn.agent for turn in row.round_turns(3)] == kept


def test_dylan_stops_when_more_than_two_thirds_agree_by_value():
    assert held("dylan", in_order("5", "5.0", "so 5", "7"), agents=4).n_rounds == 1
    assert held("dylan", in_order("5", "5", "7", "7", "8"), agents=3, rounds=2).n_rounds == 2


def test_agentverse_stops_reviewing_when_the_current_reviews_agree():
    replies = iter(
        ["checkers\nlogicians", "The answer is 4.", "wrong sum", "agree", "The answer is 5.", "agree", "I agree."]
    )

    def script(prompt, sampling):
        return next(replies, "right")

    row = held("agentverse", script, experts=2, reviews=3, attempts=2)
    assert [turn.role for turn in row.turns] == [
        *("solver", "recruiter", "reviewer", "reviewer"),
        *("solver", "reviewer", "reviewer", "judge"),
    ]
    assert row.answer == "5"
    assert "this expert: logicians" in row.turns[3].prompt


def test_agentverse_begins_again_with_the_evaluation_when_it_says_wrong():
    def script(prompt, sampling):
        if "Is the last solution right" in prompt:
            return "The carry is missing. wrong"
        return "agree" if "this expert" in prompt else marked(prompt, sampling)

    row = held("agentverse", script, experts=1, reviews=2, attempts=2)
    assert [turn.role for turn in row.turns].count("judge") == 2
    assert "The carry is missing." in row.round_turns(2)[0].prompt


def test_camel_goes_on_from_the_solution_that_the_critic_chose():
    def script(prompt, sampling):
        if "You are the critic" in prompt:
            return "2"
        return "Add the numbers." if "You are the user" in prompt else marked(prompt, sampling)

    row = held("camel", script, steps=2, proposals=2)
    chosen_first = row.round_turns(1)[1].reply
    assert chosen_first in row.round_turns(2)[0].prompt
    assert row.round_turns(1)[0].reply not in row.round_turns(2)[0].prompt
    assert row.answer == row.round_turns(2)[1].answer
    assert row.calls == 8


def test_camel_ends_when_the_user_is_done_but_not_before_a_solution():
    row = held(
        "camel", lambda prompt, sampling: "done" if "You are the user" in prompt else "The answer is 5.", proposals=1
    )
    assert [turn.role for turn in row.turns] == ["user", SOLVER, "user"]
    assert row.answer == "5"


def test_macnet_hands_every_nodes_own_solution_on():
    row = held("macnet", marked, nodes=3, shape="chain")
    by_agent = {turn.agent: turn for turn in solutions(row)}
    assert by_agent[0].reply in by_agent[1].prompt
    assert by_agent[1].reply in by_agent[2].prompt
    assert by_agent[0].reply not in by_agent[2].prompt
    assert row.answer == by_agent[2].answer


def test_macnet_shapes():
    assert predecessors(4, "chain") == [[], [0], [1], [2]]
    assert predecessors(4, "star") == [[], [0], [0], [0]]
    assert predecessors(5, "tree") == [[], [0], [0], [1], [1]]
    assert predecessors(4, "mesh") == [[], [0], [0, 1], [0, 1, 2]]


def test_mav_takes_the_solution_with_the_most_approvals():
    def script(prompt, sampling):
        if "Check one thing" not in prompt:
            return f"The answer is {sampling.seed % 1000}."
        return "yes" if approved in prompt else "At first yes, but no"

    first = held("mav", script_any := (lambda prompt, sampling: f"The answer is {sampling.seed % 1000}."), solutions=3)
    assert script_any
    wanted = first.round_turns(1)[2]
    approved = wanted.reply
    assert held("mav", script, solutions=3).answer == wanted.answer


def test_reflect_reads_a_few_others_and_ends_in_agreement():
    row = held("reflect", marked, agents=5, critiques=2, rounds=2)
    assert all(
        len(turn.reads) == 3 and turn.agent in {row.turns[i].agent for i in turn.reads} for turn in row.round_turns(2)
    )
    assert held("reflect", lambda *_: "5", agents=3).n_rounds == 1
