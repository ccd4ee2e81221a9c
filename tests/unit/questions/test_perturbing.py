"""Changed questions: what is changed, what stays, and what cannot be changed."""

import re
from pathlib import Path

import msgspec
import pytest

from agentark.config.datasets import Dataset
from agentark.questions.datasets import questions as questions_of
from agentark.questions.perturbing import MEN, N_DISTRACTORS, SENTENCES, WOMEN, perturbed
from agentark.records.files import read_rows, write_rows
from agentark.records.quarantine import Quarantine
from agentark.records.questions import Question, question_id
from agentark.stages import change_questions

SHARED = Path(__file__).parents[4] / "shared" / "data"
TEXT = "Mary has 3 pears and Tom has 2.5 pears. Mary gives Tom one of hers. How many pears has she left?"


def question(text: str = TEXT, **more: object) -> Question:
    given = {"dataset": "d", "split": "test", "question": text, "gold": "2", "gold_type": "number"} | more
    return Question(question_id=question_id(text), **given)


def in_words(sentence: str) -> str:
    return re.escape(sentence).replace(re.escape("{n}"), r"\d\d").replace(re.escape("{things}"), "[a-z]+")


def test_an_irrelevant_sentence_stands_before_the_last_one() -> None:
    (changed,) = perturbed([question()], "irrelevant")
    start, end = TEXT.split("How many")
    assert changed.question.startswith(start)
    assert changed.question.endswith(f" How many{end}")
    added = changed.question.removeprefix(start).removesuffix(f" How many{end}")
    assert any(re.fullmatch(in_words(sentence), added) for sentence in SENTENCES)
    assert changed.origin_id == question().question_id != changed.question_id == question_id(changed.question)
    assert changed.gold == "2"


def test_persons_get_other_names_of_the_same_kind() -> None:
    (changed,) = perturbed([question()], "names")
    woman, man = re.fullmatch(
        r"(\w+) has 3 pears and (\w+) has 2\.5 pears\. \1 gives \2 one of hers\. How many pears has she left\?",
        changed.question,
    ).groups()
    assert woman in {*WOMEN} - {"Mary"}
    assert man in {*MEN} - {"Tom"}


@pytest.mark.parametrize(
    "other",
    [
        question("What is 2 + 3?"),
        question(gold="Mary", gold_type="text"),
        question(choices=["Tom", "nobody"], gold="A", gold_type="choice"),
    ],
)
def test_a_question_that_would_lose_its_answer_keeps_its_names(other: Question) -> None:
    assert perturbed([other], "names") == []


def test_distractors_stand_before_the_question_and_behind_what_it_is_about() -> None:
    about = question(f"A text.\n\n{TEXT}", context_chars=9)
    (changed,) = perturbed([about], "distractors")
    context, distractors, asked = changed.question.split("\n\n")
    assert (context, asked, changed.context_chars) == ("A text.", TEXT, 9)
    assert len(re.findall(r"\d\d", distractors)) == N_DISTRACTORS


def test_a_change_depends_on_the_question_alone() -> None:
    rows = [question(), question("Ann has 2 hats. How many hats has Ann?")]
    for how in ("irrelevant", "names", "distractors"):
        assert perturbed(rows, how) == perturbed(rows[::-1], how)[::-1]
        later = msgspec.structs.replace(rows[0], dataset="other")
        assert perturbed([later], how)[0].question == perturbed(rows, how)[0].question


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared benchmark data is not beside the checkout")
def test_half_of_gsm8k_names_persons_that_can_be_renamed() -> None:
    source = Dataset(source=str(SHARED / "questions/gsm8k/test.jsonl"), test={})
    rows = questions_of("gsm8k", source, Quarantine("rows", 0, "key"))["test"]
    changed = perturbed(rows, "names")
    assert len(changed) > 0.5 * len(rows)
    assert len({row.question_id for row in changed}) == len(changed)
    clean = {row.question_id: row for row in rows}
    for row in changed:
        assert re.findall(r"\d+", row.question) == re.findall(r"\d+", clean[row.origin_id].question)


def test_the_stage_changes_the_first_questions_of_the_other_dataset(tmp_path: Path, capsys) -> None:
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "manifest.json").write_text("{}")
    rows = [question(f"Mary has {i} pears. How many has she?") for i in range(3)] + [question("What is 1 + 1?")]
    write_rows(tmp_path / "clean" / "test.jsonl", rows)
    write_rows(tmp_path / "clean" / "validation.jsonl", [])

    def change(size: int | None) -> int:
        settings = Dataset(source="x", of="clean", perturb="names", test={"size": size})
        (tmp_path / "dataset.json").write_text(settings.model_dump_json())
        given = f"--config {tmp_path}/dataset.json --dataset renamed --clean {tmp_path}/clean --out {tmp_path}/renamed"
        return change_questions.main(given.split())

    assert change(2) == 0
    assert [row.origin_id for row in read_rows(tmp_path / "renamed" / "test.jsonl", Question)] == [
        row.question_id for row in rows[:2]
    ]
    assert change(None) == 0
    changed = list(read_rows(tmp_path / "renamed" / "test.jsonl", Question))
    assert [row.dataset for row in changed] == ["renamed"] * 3  # nobody is named in the fourth
    assert "3 test (1 cannot be changed so)" in capsys.readouterr().err
    assert change(5) == 1
    assert "datasets.renamed.test: 5 questions asked for, and `clean` has 4" in capsys.readouterr().err
