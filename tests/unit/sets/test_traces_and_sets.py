"""Traces and their kinds, and the sets made of them."""

import json
import math
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from agentark.config.sets import Sets
from agentark.records.debates import AGGREGATOR, SETTLER, SOLVER, Debate, Turn
from agentark.records.files import read_rows, write_rows
from agentark.records.questions import Question, SkippedQuestion, question_id
from agentark.records.sets import RlPrompt, TrainingExample
from agentark.records.traces import Trace
from agentark.sets import controls, examples, rl_prompts
from agentark.sets.trajectories import of_first_agents
from agentark.stages import sets as sets_stage
from agentark.stages import traces as traces_stage
from agentark.traces.extraction import as_completion, as_correction, traces_of

QUESTION = Question(
    question_id=question_id("2 + 3 + 4?"),
    dataset="sums",
    split="train",
    question="2 + 3 + 4?",
    gold="9",
    gold_type="number",
)


def turn(agent: int, number: int, reply: str, **more: object) -> Turn:
    from agentark.grading.reading import extract_answer

    role = SETTLER if agent == AGGREGATOR else SOLVER
    answer = extract_answer(reply, "number")
    return Turn(agent=agent, round=number, role=role, prompt="p", reply=reply, answer=answer, **more)


def held(*turns: Turn) -> Debate:
    return Debate(question=QUESTION, teacher="t", protocol="debate", turns=list(turns), answer="9")


RIGHT = "2 + 3 = 5\n5 + 4 = 9\nThe answer is 9."
OTHER = "3 + 4 = 7\n7 + 2 = 9\nSo the answer is 9."
WRONG = "2 + 3 = 6\n6 + 4 = 10\nThe answer is 10."


def test_each_turn_gets_its_kind() -> None:
    debate = held(
        turn(0, 1, RIGHT),
        turn(1, 1, WRONG),
        turn(2, 1, OTHER),
        turn(3, 1, WRONG),
        turn(0, 2, RIGHT),
        turn(1, 2, OTHER),
        turn(2, 2, WRONG),
        turn(3, 2, WRONG),
        turn(AGGREGATOR, 2, RIGHT),
    )
    kinds = {(t.agent, t.round): t.kind for t in traces_of(debate)}
    assert [kinds[agent, 2] for agent in range(4)] == ["stable", "corrective", "degraded", "wrong"]
    assert [kinds[agent, 1] for agent in range(4)] == ["stable", "wrong", "stable", "wrong"]
    assert kinds[AGGREGATOR, 2] == "aggregate"


def test_a_failed_or_empty_turn_gives_no_trace_and_shifts_no_agent() -> None:
    debate = held(turn(0, 1, ""), turn(1, 1, RIGHT), turn(2, 1, "", status="failed", error="too long"))
    assert [(t.agent, t.correct) for t in traces_of(debate)] == [(1, True)]


def test_what_a_model_thought_to_itself_is_in_no_trace() -> None:
    thought = turn(0, 1, f"<think>2 + 3 = 6, no, The answer is 7</think>\n\n{RIGHT}")
    endless = turn(1, 1, "<think>2 + 3 = 5 and then", status="truncated")
    said, unsaid = traces_of(held(thought, endless))
    assert (said.correct, said.text.strip()) == (True, RIGHT)
    assert [said.text[start:end] for start, end in said.steps] == RIGHT.splitlines()
    assert (unsaid.correct, unsaid.text, unsaid.steps) == (False, "", [])


def test_consensus_is_the_majority_of_the_last_round() -> None:
    debate = held(turn(0, 1, WRONG), turn(1, 1, WRONG), turn(0, 2, RIGHT), turn(1, 2, OTHER))
    assert [t.consensus for t in traces_of(debate)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RIGHT, "2 + 3 = 5\n5 + 4 = 9\nThe answer is 9."),
        ("2 + 3 = 5, so 5 + 4 = 9", "2 + 3 = 5, so 5 + 4 = 9\nThe answer is 9."),
        ("The answer is 9.", "The answer is 9."),
        ("First 5. Therefore, the answer is 9 apples.", "First 5.\nThe answer is 9."),
    ],
)
def test_a_completion_ends_with_one_statement_of_the_answer(text: str, expected: str) -> None:
    [trace] = traces_of(held(turn(0, 1, text)))
    completion, answer_start = as_completion(trace)
    assert completion == expected
    assert completion[answer_start:] == "The answer is 9."


def test_a_free_answer_is_written_once() -> None:
    free = msgspec.structs.replace(QUESTION, gold="Light scatters.", gold_type="free")
    replies = [
        "Blue light bends.\nThe answer is that light scatters.\nIt does so in the air.",
        "Light scatters.\nMuch.",
    ]
    turns = [Turn(agent=i, round=1, prompt="p", reply=reply, answer=None) for i, reply in enumerate(replies)]
    debate = Debate(question=free, teacher="t", protocol="debate", turns=turns)
    assert [as_completion(trace)[0] for trace in traces_of(debate)] == [
        "Blue light bends.\nThe answer is that light scatters.\nIt does so in the air.",
        "The answer is Light scatters.\nMuch.",
    ]


def traces() -> list[Trace]:
    return list(
        traces_of(
            held(turn(0, 1, RIGHT), turn(1, 1, WRONG), turn(0, 2, RIGHT), turn(1, 2, OTHER), turn(AGGREGATOR, 2, RIGHT))
        )
    )


def made(
    method: str, some: list[Trace], corrective: examples.Which = "prefer", **settings: object
) -> list[TrainingExample]:
    return examples.training_examples(method, some, Sets(**settings), corrective, Counter())


def test_rsft_takes_one_trace_and_the_corrective_one_first() -> None:
    [row] = made("rsft", traces())
    assert row.completion.startswith("3 + 4 = 7")
    assert row.weight == 1.0


def test_da_takes_different_traces_whose_weights_sum_to_one() -> None:
    rows = made("da", traces())
    assert len(rows) == 2  # the same trace twice is one
    assert sum(row.weight for row in rows) == pytest.approx(1.0)


def test_a_question_with_too_few_right_agents_is_left_out() -> None:
    few = list(traces_of(held(turn(0, 1, RIGHT), turn(1, 1, WRONG))))
    assert made("rsft", few) == []
    assert len(made("rsft", few, min_correct_agents=1)) == 1


def test_truncated_and_aggregate_turns_never_teach() -> None:
    cut = list(traces_of(held(turn(0, 1, RIGHT, status="truncated"), turn(AGGREGATOR, 1, RIGHT))))
    assert made("da", cut, min_correct_agents=0) == []


def test_a_bare_answer_teaches_only_when_asked_to() -> None:
    bare = list(traces_of(held(turn(0, 1, "The answer is 9."))))
    assert made("rsft", bare, min_correct_agents=1) == []
    assert len(made("rsft", bare, min_correct_agents=1, require_reasoning=False)) == 1


def test_corrective_traces_are_preferred_kept_out_or_alone() -> None:
    assert [row.kind for row in made("rsft", traces())] == ["corrective"]
    assert [row.kind for row in made("rsft", traces(), "exclude")] == ["stable"]
    assert [row.kind for row in made("da", traces(), "only")] == ["corrective"]
    assert made("da", traces(), "none") == []


def test_a_corrective_trace_as_an_arc_holds_attempt_doubt_and_revision() -> None:
    told = held(turn(0, 1, RIGHT), turn(1, 1, WRONG), turn(0, 2, RIGHT, reads=[0, 1]), turn(1, 2, OTHER, reads=[0, 1]))
    [row] = made("rsft", list(traces_of(told)), corrective_form="arc")
    assert row.completion == (
        "2 + 3 = 6\n6 + 4 = 10\nThe answer is 10.\n\n"
        "Wait, let me check that. Another way of solving it gives 9, so there is a mistake above.\n\n"
        "3 + 4 = 7\n7 + 2 = 9\nThe answer is 9."
    )
    assert row.completion[row.answer_start :] == "The answer is 9."
    assert all(row.completion.count("Wait") == 0 for row in made("rsft", list(traces_of(told)), "exclude"))


def test_an_attempt_that_was_only_thought_is_no_part_of_an_arc() -> None:
    debate = held(turn(0, 1, "<think>2 + 3 = 6</think>"), turn(1, 1, RIGHT), turn(0, 2, RIGHT), turn(1, 2, RIGHT))
    rows = list(traces_of(debate))
    corrected = next(t for t in rows if t.kind == "corrective")
    assert as_correction(corrected, rows) == as_completion(corrected)


def test_each_control_takes_what_it_says() -> None:
    debate = list(
        traces_of(
            held(
                turn(0, 1, WRONG),
                turn(1, 1, OTHER),
                turn(2, 1, WRONG),
                turn(0, 2, RIGHT),
                turn(1, 2, OTHER),
                turn(2, 2, RIGHT),
            )
        )
    )
    rsft = made("rsft", debate)
    assert rsft[0].completion == RIGHT
    rows = {kind: controls.ControlSet(kind).rows(debate, rsft) for kind in controls.CONTROLS}
    assert [(row.completion, row.answer_start) for row in rows["answer_only"]] == [("The answer is 9.", 0)]
    assert [row.completion for row in rows["single_cot"]] == [WRONG]
    assert [row.completion for row in rows["rejection"]] == [OTHER.replace("So the", "The")]
    assert [row.completion for row in rows["majority"]] == [WRONG]
    assert {row.method for kind in controls.CONTROLS for row in rows[kind]} == set(controls.CONTROLS)


def test_a_control_pays_back_what_an_earlier_question_could_not_give() -> None:
    none_at_first = list(traces_of(held(turn(0, 1, WRONG), turn(1, 1, WRONG), turn(0, 2, RIGHT), turn(1, 2, OTHER))))
    two_at_first = list(traces_of(held(turn(0, 1, RIGHT), turn(1, 1, OTHER))))
    control = controls.ControlSet("rejection")
    assert control.rows(none_at_first, made("rsft", none_at_first)) == []
    assert control.owed_rows == 1
    assert len(control.rows(two_at_first, made("rsft", two_at_first))) == 2
    assert control.owed_rows == 0


def test_a_control_has_as_many_tokens_as_rsft() -> None:
    """T14: within 1%, where there are traces of several lengths to choose from."""
    drawn = random.Random(0)
    control, rsft_tokens, control_tokens, n_rows = controls.ControlSet("rejection"), 0, 0, 0
    for _ in range(200):
        texts = [" ".join(["so"] * drawn.randrange(5, 60)) + f"\n{RIGHT}" for _ in range(6)]
        debate = list(traces_of(held(*(turn(agent, 1, text) for agent, text in enumerate(texts)))))
        rsft = made("rsft", debate)
        rows = control.rows(debate, rsft)
        n_rows += len(rows)
        rsft_tokens += sum(controls.n_tokens(row.completion) for row in rsft)
        control_tokens += sum(controls.n_tokens(row.completion) for row in rows)
    assert n_rows == 200
    assert control_tokens == pytest.approx(rsft_tokens, rel=0.01)


def test_pass_rate_counts_agents_turns() -> None:
    assert rl_prompts.rl_prompt(traces()).pass_rate == 0.75


def test_few_agents_teach_but_all_count_as_right() -> None:
    debate = list(traces_of(held(turn(0, 1, WRONG), turn(1, 1, RIGHT), turn(2, 1, OTHER), turn(0, 2, WRONG))))
    assert made("da", debate, trajectories=1) == []
    assert [row.trace_id for row in made("da", debate, trajectories=2)] == [debate[1].trace_id]
    assert {row.trace_id for row in made("da", debate, trajectories=3)} == {t.trace_id for t in debate[1:3]}
    assert made("da", debate, trajectories=2, min_correct_agents=3) == []
    # Numbers may have gaps: an agent without a single trace is none.
    assert [row.trace_id for row in made("da", debate[1:3], trajectories=1)] == [debate[1].trace_id]


def test_a_trajectory_goes_through_all_rounds() -> None:
    debate = list(
        traces_of(
            held(turn(0, 1, WRONG), turn(1, 1, OTHER), turn(0, 2, RIGHT), turn(1, 2, OTHER), turn(AGGREGATOR, 2, RIGHT))
        )
    )
    [row] = made("rsft", debate, trajectories=1, corrective_form="arc")
    assert row.kind == "corrective"
    assert "Wait" in row.completion
    assert [(t.agent, t.round) for t in of_first_agents(debate, 1)] == [(0, 1), (0, 2)]


def test_fewer_trajectories_lie_inside_more() -> None:
    drawn = random.Random(0)
    for _ in range(50):
        agents = drawn.sample(range(9), 5)
        debate = list(traces_of(held(*(turn(agent, n, RIGHT) for n in (1, 2) for agent in agents))))
        used = [{t.trace_id for t in of_first_agents(debate, n)} for n in (1, 2, 3, 5, 8)]
        assert [len(ids) for ids in used] == [2, 4, 6, 10, 10]
        assert all(fewer <= more for fewer, more in pairwise(used))


def numbered(number: int, *turns: Turn) -> Debate:
    text = f"What is {number} + {9 - number}?"
    question = msgspec.structs.replace(QUESTION, question_id=question_id(text), question=text)
    return Debate(question=question, teacher="t", protocol="debate", turns=list(turns), answer="9")


STABLE = (turn(0, 1, RIGHT), turn(1, 1, OTHER))
CORRECTED = (turn(0, 1, WRONG), turn(1, 1, WRONG), turn(0, 2, RIGHT), turn(1, 2, OTHER))
EITHER = (turn(0, 1, RIGHT), turn(1, 1, WRONG), turn(0, 2, RIGHT), turn(1, 2, OTHER))


def extracted(folder: Path, debates: list[Debate], name: str = "0", **settings: object) -> int:
    write_rows(folder / f"{name}.debates.jsonl.zst", debates)
    (folder / "traces.json").write_text(json.dumps(settings))
    arguments = f"--config {folder}/traces.json --debates {folder}/{name}.debates.jsonl.zst"
    arguments += f" --out {folder}/{name}.jsonl.zst --counts {folder}/{name}.counts.json"
    arguments += f" --statistics {folder}/{name}.debates.json --manifest {folder}/{name}.manifest.json"
    arguments += f" --rejected {folder}/{name}.rejected.jsonl"
    return traces_stage.main(arguments.split())


def built(folder: Path, kind: str, *shards: str, skip: list[SkippedQuestion] = [], **settings: object) -> int:  # noqa: B006
    write_rows(folder / "skip.jsonl", skip)
    (folder / "sets.json").write_text(json.dumps(settings))
    arguments = f"--config {folder}/sets.json --kind {kind} --skip {folder}/skip.jsonl --out {folder}/{kind}.jsonl"
    arguments += f" --card {folder}/{kind}.card.json --page {folder}/{kind}.card.md"
    arguments += f" --rsft {folder}/rsft.jsonl" if kind in controls.CONTROLS else ""
    shard_files = [str(folder / f"{shard}.jsonl.zst") for shard in shards or ("0",)]
    return sets_stage.main([*arguments.split(), "--traces", *shard_files])


def facts(folder: Path, kind: str) -> dict:
    return json.loads((folder / f"{kind}.card.json").read_text())["facts"]


def test_replies_that_make_no_trace_are_listed_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endless = turn(1, 1, "1 + 1 = 2. " * 100_000)
    debates = [numbered(0, turn(0, 1, " "), endless, turn(2, 1, RIGHT)), *(numbered(i, *STABLE) for i in range(1, 9))]
    assert extracted(tmp_path, debates, rejected_share=0.2) == 0
    rejected = (tmp_path / "0.rejected.jsonl").read_text()
    assert "no text" in rejected
    assert "more than 200,000 characters" in rejected
    assert len(rejected) < 2000
    assert json.loads((tmp_path / "0.counts.json").read_text())["traces"] == 17
    assert extracted(tmp_path, debates) == 1
    assert "2 of 19 replies cannot be used: 1 with no text, 1 with more than" in capsys.readouterr().err


def test_shards_make_the_same_set_as_one(tmp_path: Path) -> None:
    debates = [numbered(i, *(STABLE, CORRECTED, EITHER)[i % 3]) for i in range(9)]
    assert extracted(tmp_path, debates) == 0
    assert extracted(tmp_path, debates[:4], "a") == 0
    assert extracted(tmp_path, debates[4:], "b") == 0
    assert built(tmp_path, "da") == 0
    whole = (tmp_path / "da.jsonl").read_bytes()
    assert built(tmp_path, "da", "a", "b") == 0
    assert (tmp_path / "da.jsonl").read_bytes() == whole


def test_the_card_tells_what_every_filter_left(tmp_path: Path) -> None:
    wrong = (turn(0, 1, WRONG), turn(1, 1, WRONG))
    cut = (turn(0, 1, RIGHT), turn(1, 1, OTHER, status="truncated"))
    debates = [numbered(i, *turns) for i, turns in enumerate([STABLE, EITHER, wrong, cut, STABLE])]
    assert extracted(tmp_path, debates) == 0
    left_out = SkippedQuestion(
        question_id=debates[4].question.question_id, reason="13-gram", other_id="x", other_set="test",
        other_split="test", similarity=0.9,
    )  # fmt: skip
    assert built(tmp_path, "da", skip=[left_out]) == 0
    found = facts(tmp_path, "da")
    expected = {
        "questions": 5,
        "questions_skipped_13-gram": 1,
        "questions_with_too_few_right_agents": 1,
        "questions_used": 3,
        "traces": 10,
        "traces_right": 7,
        "traces_complete": 6,
        "rows": 5,
        "corrective_rows": 1,
    }
    assert {key: found[key] for key in expected} == expected
    assert 0 < found["diversity"] < 1
    assert sum(found["tokens_histogram"].values()) == 5
    page = (tmp_path / "da.card.md").read_text()
    assert "5 rows from 3 of 5 questions" in page
    assert "questions skipped 13-gram | 1" in page
    assert "> What is 0 + 9?" in page


def test_equal_shares_hold_as_many_questions_of_either_kind(tmp_path: Path) -> None:
    debates = [numbered(i, *turns) for i, turns in enumerate([STABLE, STABLE, STABLE, EITHER, CORRECTED, STABLE])]
    assert extracted(tmp_path, debates) == 0
    assert built(tmp_path, "rsft", corrective="equal") == 0
    kinds = Counter(row.kind for row in read_rows(tmp_path / "rsft.jsonl", TrainingExample))
    assert kinds == {"corrective": 2, "stable": 2}


def ids_in(folder: Path, kind: str) -> set[str]:
    return {json.loads(line)["question_id"] for line in (folder / f"{kind}.jsonl").read_text().splitlines()}


def test_a_smaller_share_lies_inside_a_larger_one(tmp_path: Path) -> None:
    both = (turn(0, 1, RIGHT), turn(1, 1, WRONG), turn(2, 1, OTHER))
    debates = [numbered(i, *both) for i in range(41)]
    assert extracted(tmp_path, debates[:17], "a") == 0
    assert extracted(tmp_path, debates[17:], "b") == 0
    in_order = sorted(debate.question.question_id for debate in debates)
    for kind in ("rsft", "da", "prm", "rl"):
        for share, n in ((0.25, 11), (0.5, 21), (0.01, 1), (1.0, 41)):
            assert built(tmp_path, kind, "a", "b", share=share) == 0
            assert ids_in(tmp_path, kind) == set(in_order[:n])
            found = facts(tmp_path, kind)
            assert (found["questions"], found["questions_used"]) == (41, n)
            assert found.get("questions_skipped_outside_share", 0) == 41 - n
    assert "`share: 1.0`" in (tmp_path / "rl.card.md").read_text()


def test_a_share_is_as_large_as_it_is_written(tmp_path: Path) -> None:
    assert math.ceil(0.07 * 100) == 8
    assert extracted(tmp_path, [numbered(i, *STABLE) for i in range(100)]) == 0
    assert built(tmp_path, "rl", share=0.07) == 0
    assert len(ids_in(tmp_path, "rl")) == 7


def test_a_share_is_of_all_questions_those_left_out_among_them(tmp_path: Path) -> None:
    debates = [numbered(i, *STABLE) for i in range(8)]
    in_order = sorted(debate.question.question_id for debate in debates)
    assert extracted(tmp_path, debates) == 0
    left_out = [
        SkippedQuestion(
            question_id=key, reason="13-gram", other_id="x", other_set="t", other_split="test", similarity=1.0
        )
        for key in (in_order[0], in_order[7])
    ]
    assert built(tmp_path, "da", skip=left_out, share=0.5) == 0
    assert ids_in(tmp_path, "da") == set(in_order[1:4])
    found = facts(tmp_path, "da")
    assert (found["questions_skipped_13-gram"], found["questions_skipped_outside_share"]) == (1, 4)


def test_equal_shares_of_corrective_traces_are_taken_inside_the_share(tmp_path: Path) -> None:
    debates = [numbered(i, *(CORRECTED if i % 2 else STABLE)) for i in range(20)]
    in_order = sorted(debate.question.question_id for debate in debates)
    assert extracted(tmp_path, debates) == 0
    assert built(tmp_path, "rsft", corrective="equal", share=0.5) == 0
    kinds = Counter(row.kind for row in read_rows(tmp_path / "rsft.jsonl", TrainingExample))
    assert kinds["corrective"] == kinds["stable"] > 0
    assert ids_in(tmp_path, "rsft") <= set(in_order[:10])


def test_the_pass_rate_is_of_the_whole_debate(tmp_path: Path) -> None:
    assert extracted(tmp_path, [numbered(0, turn(0, 1, WRONG), turn(1, 1, RIGHT))]) == 0
    settings = Sets(trajectories=1, share=0.5).slice_for("rl")
    assert built(tmp_path, "rl", **settings.model_dump(exclude_defaults=True)) == 0
    assert [row.pass_rate for row in read_rows(tmp_path / "rl.jsonl", RlPrompt)] == [0.5]


def test_controls_follow_the_amount_of_their_rsft_set(tmp_path: Path) -> None:
    debates = [
        numbered(i, turn(0, 1, OTHER), turn(1, 1, WRONG), turn(2, 1, WRONG), turn(1, 2, RIGHT)) for i in range(9)
    ]
    assert extracted(tmp_path, debates) == 0
    amount = Sets(share=0.5, trajectories=1)
    for kind in ("rsft", *controls.CONTROLS):
        assert built(tmp_path, kind, **amount.slice_for(kind).model_dump(exclude_defaults=True)) == 0
        assert ids_in(tmp_path, kind) == ids_in(tmp_path, "rsft")
        assert len(ids_in(tmp_path, kind)) == 5
        rows = list(read_rows(tmp_path / f"{kind}.jsonl", TrainingExample))
        # The one agent's: among all agents the majority of the first round is wrong.
        assert all(row.completion.endswith("The answer is 9.") for row in rows)


def test_judges_and_rollouts_serve_sets_of_any_share() -> None:
    whole, part = Sets(), Sets(share=0.5)
    for kind in ("judged", "rollouts", "overlap", *controls.CONTROLS):
        assert part.slice_for(kind) == whole.slice_for(kind)
    few = Sets(trajectories=2)
    changed = {
        kind for kind in (*sets_stage.KINDS, "judged", "rollouts") if few.slice_for(kind) != whole.slice_for(kind)
    }
    assert changed == {*sets_stage.KINDS, "judged", "rollouts"} - {"rl"}


def test_too_little_data_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert extracted(tmp_path, [numbered(0, turn(0, 1, WRONG), turn(1, 1, RIGHT), turn(2, 1, RIGHT))]) == 0
    assert built(tmp_path, "rsft", share=0.5, trajectories=1) == 1
    assert "or raise sets.share, or raise sets.trajectories" in capsys.readouterr().err


def test_a_control_is_made_of_the_questions_of_rsft(tmp_path: Path) -> None:
    wrong = (turn(0, 1, WRONG), turn(1, 1, WRONG))
    debates = [numbered(i, *turns) for i, turns in enumerate([STABLE, wrong, CORRECTED, STABLE, EITHER])]
    assert extracted(tmp_path, debates) == 0
    assert built(tmp_path, "rsft") == 0
    rsft = list(read_rows(tmp_path / "rsft.jsonl", TrainingExample))
    for kind in controls.CONTROLS:
        assert built(tmp_path, kind) == 0
        rows = list(read_rows(tmp_path / f"{kind}.jsonl", TrainingExample))
        assert {row.question_id for row in rows} <= {row.question_id for row in rsft}
        assert len(rows) == len(rsft) == 4
        assert facts(tmp_path, kind)["rows_fewer_than_rsft"] == 0
