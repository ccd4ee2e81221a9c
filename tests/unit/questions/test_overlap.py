"""Questions that say the same: every rule on planted pairs, and on the real debates over GSM8K's test questions."""

import json
from pathlib import Path

import pytest
import reasoning_gym

from agentark.config.datasets import Dataset
from agentark.debates import imported
from agentark.questions.datasets import questions as questions_of
from agentark.questions.overlap import overlaps
from agentark.records.files import read_rows, write_rows
from agentark.records.quarantine import Quarantine
from agentark.records.questions import Question, SkippedQuestion, question_id
from agentark.stages import overlap as overlap_stage

SHARED = Path(__file__).parents[4] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not beside the checkout")

DUCKS = (
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her friends "
    "every day with four. She sells the remainder at the farmers' market daily for $2 per fresh duck egg. How much in "
    "dollars does she make every day at the farmers' market?"
)
TRAIN = "A train leaves at 9 and needs 4 hours and 30 minutes to the coast. When does it arrive there at last?"


def question(text: str, dataset: str = "train", **more: object) -> Question:
    return Question(
        question_id=question_id(text),
        dataset=dataset,
        split="train",
        question=text,
        gold="1",
        gold_type="number",
        **more,
    )


def rules(train: list[Question], benchmark: list[str]) -> list[tuple[int, str]]:
    """Which of the train questions are named, by what rule."""
    places = {row.question_id: place for place, row in enumerate(train)}
    found = overlaps(train, [question(text, "test") for text in benchmark])
    return [(places[row.question_id], row.reason) for row in found]


def test_signs_and_case_make_no_other_question() -> None:
    assert rules([question(TRAIN.upper().replace(".", " !"))], [TRAIN]) == [(0, "same words")]


def test_operators_make_another_question() -> None:
    assert rules([question("What is 2 - 4?")], ["What is 2 + 4?"]) == []
    assert rules([question("WHAT IS: 2+4")], ["What is 2 + 4?"]) == [(0, "same words")]


def test_brackets_and_other_signs_make_another_question() -> None:
    for one, other in (("What is 2 + (3 * 4)?", "What is (2 + 3) * 4?"), ("Is \u221a2 < 3?", "Is 2 < 3?")):
        assert [reason for _, reason in rules([question(one)], [other]) if reason == "same words"] == []
    assert rules([question("Compute $5!$.")], ["Compute 5."]) == []


def test_wording_that_many_questions_share_counts_for_nothing() -> None:
    task = "Spell the given word backward and write it in capital letters after the colon (example: sun -> NUS): {}"
    words = [f"{a}{b}" for a in ("lamp", "tree", "snow", "rain", "fire") for b in ("ship", "house", "light", "man")]
    train = [question(task.format(word)) for word in words]
    assert rules(train, [task.format(f"moon{b}") for b in ("ship", "house", "light", "man")]) == []
    assert rules([*train, question(task.format("Moonlight!"))], [task.format("moonlight")]) == [(20, "same words")]


@pytest.mark.parametrize(
    "task", ["leg_counting", "spell_backward", "word_sorting", "gsm_symbolic", "calendar_arithmetic"]
)
def test_generated_tasks_are_not_taken_for_contamination(task: str) -> None:
    items = reasoning_gym.create_dataset(task, size=80, seed=5)
    made = list({question(item["question"]).question_id: question(item["question"]) for item in items}.values())
    named = list(overlaps(made[20:], made[:20]))
    assert len(named) <= 0.1 * len(made)


def test_thirteen_words_in_a_row_are_copied() -> None:
    copied = "Yesterday it rained. " + " ".join(DUCKS.split()[4:20]) + " Why did they do it, do you think?"
    assert rules([question(copied), question(TRAIN)], [DUCKS]) == [(0, "13-gram")]


def test_a_rewording_with_three_changed_words_is_a_near_duplicate() -> None:
    """Spread so that no thirteen words in a row stay."""
    reworded = (
        "Janet's ducks lay 16 eggs per day. She takes three for breakfast every morning and bakes muffins for her "
        "guests every day with four. She sells the rest at the farmers' market daily for $2 per fresh duck egg."
    )
    original = DUCKS.partition(" How much")[0]
    assert rules([question(reworded)], [original]) == [(0, "near-duplicate")]


def test_the_same_story_with_other_numbers_is_another_question() -> None:
    other = "A train leaves at 8 and needs 4 hours and 20 minutes to the coast. When does it arrive there at last?"
    short = "Ann has {} pens and buys {} more pens. How many has she?"
    assert rules([question(short.format(3, 4)), question(short.format(3, 5))], [short.format(4, 5)]) == []
    # Thirteen words in a row are the usual sign, whatever the numbers before them.
    assert rules([question(other)], [TRAIN]) == []


def test_a_row_made_from_a_benchmark_question_is_named() -> None:
    made = question("Suppose 16 eggs come a day. Reason backwards.", origin_id=question_id(DUCKS))
    assert rules([made, question(TRAIN, origin_id=question_id("another"))], [DUCKS]) == [(0, "origin")]


def test_the_later_of_two_train_questions_is_named() -> None:
    near = TRAIN.replace("at last", "finally")
    assert rules([question(TRAIN), question(near), question(TRAIN + "!")], [DUCKS]) == [
        (1, "near-duplicate"),
        (2, "same words"),
    ]


def test_choices_belong_to_a_question() -> None:
    which = "Which of the following is true about it?"
    train = [question(which, choices=["red things", "blue things"]), question(which, choices=["seven cats", "a dog"])]
    assert list(overlaps(train, [])) == []


def test_order_of_benchmarks_and_empty_questions_do_no_harm() -> None:
    assert rules([question("?"), question(TRAIN)], []) == []
    assert rules([question(TRAIN)], [DUCKS, TRAIN]) == rules([question(TRAIN)], [TRAIN, DUCKS])


def found(folder: Path, train: list[Question], **settings: object) -> tuple[int, list[str]]:
    (folder / "sets.json").write_text(json.dumps(settings))
    write_rows(folder / "train.jsonl", train)
    write_rows(folder / "test.jsonl", [question(DUCKS, "gsm8k")])
    arguments = f"--config {folder}/sets.json --train {folder}/train.jsonl --benchmarks {folder}/test.jsonl"
    arguments += f" --skip {folder}/skip.jsonl --found {folder}/found.jsonl --manifest {folder}/overlap.json"
    status = overlap_stage.main(arguments.split())
    assert len(list(read_rows(folder / "found.jsonl", SkippedQuestion))) >= 1
    skip = folder / "skip.jsonl"
    return status, [row.reason for row in read_rows(skip, SkippedQuestion)] if skip.exists() else []


def test_the_config_says_what_becomes_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = [question(DUCKS + "!"), question(TRAIN), question(TRAIN + "!")]
    assert found(tmp_path, train, contamination="fail") == (1, [])
    said = capsys.readouterr().err
    assert "1 questions are also asked by a benchmark" in said
    assert "1 same words of gsm8k train" in said
    assert found(tmp_path, train) == (0, ["same words", "same words"])
    assert found(tmp_path, train, contamination="report") == (0, ["same words"])
    assert found(tmp_path, train, contamination="report", near_duplicates="report") == (0, [])
    assert found(tmp_path, train[:1])[0] == 1
    assert "nothing is left" in capsys.readouterr().err


def test_questions_about_one_text_are_told_apart_by_what_they_ask() -> None:
    text = f"{DUCKS} {TRAIN}\n\n"

    def about(asked: str, group: str) -> Question:
        return question(text + asked, context_chars=len(text), group=group)

    train = [about("Who buys the eggs at the market?", "one"), about("Where does the train arrive at last?", "one")]
    other = about("Who buys the eggs at the market?", "two")
    again = about("Who buys the eggs at the market ?", "one")
    assert list(overlaps([*train, other], [])) == []
    assert [found.reason for found in overlaps([*train, again], [])] == ["same words"]
    assert [found.reason for found in overlaps(train, [again])] == ["same words"]


@needs_shared
def test_debates_over_gsm8k_test_questions_are_all_caught() -> None:
    settings = Dataset(source=str(SHARED / "questions/gsm8k/test.jsonl"), test={"size": None})
    benchmark = questions_of("gsm8k", settings, Quarantine("rows", 0, "key"))["test"]
    logs = imported.read(SHARED / "debates/gpt35_gsm8k", Quarantine("logs", 0, "key"))
    train = list({row.question_id: row for row in (question(log.question) for log in logs)}.values())
    named = list(overlaps(train, benchmark))
    assert len(named) == len(train) > 100


@needs_shared
def test_gsm8k_train_and_test_hardly_overlap() -> None:
    settings = Dataset(
        source="unused",
        train={"source": str(SHARED / "questions/gsm8k/train.jsonl")},
        test={"source": str(SHARED / "questions/gsm8k/test.jsonl")},
    )
    parts = questions_of("gsm8k", settings, Quarantine("rows", 0, "key"))
    named = list(overlaps(parts["train"], parts["test"]))
    assert len(named) < 0.02 * len(parts["train"])
