"""Questions from every source, in parts that share none; bad sources end with one sentence."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from agentark.config import ready_made
from agentark.config.datasets import Dataset
from agentark.errors import UserError
from agentark.questions import datasets
from agentark.records.files import read_rows
from agentark.records.quarantine import Quarantine, RejectedRow
from agentark.records.questions import question_id
from agentark.stages import questions as questions_stage

SHARED = Path(__file__).parents[4] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared benchmark data is not beside the checkout")


def questions(name: str, dataset: Dataset) -> dict:
    return datasets.questions(name, dataset, Quarantine("rows", 0, "key"))


def jsonl(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def numbered(n: int) -> list[dict]:
    return [{"question": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(n)]


def ids(rows) -> set[str]:
    return {row.question_id for row in rows}


def test_parts_of_a_generated_task_share_no_question() -> None:
    options = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    parts = questions("s", Dataset(source="reasoning-gym:chain_sum", options=options, train=60, validation=20, test=40))
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 60, "validation": 20, "test": 40}
    assert len(ids(parts["train"]) | ids(parts["validation"]) | ids(parts["test"])) == 120


def test_more_training_questions_leave_the_test_as_it_was(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "q.jsonl", numbered(50))
    small = questions("s", Dataset(source=source, train=10, test=10))
    large = questions("s", Dataset(source=source, train=40, test=10))
    assert small["test"] == large["test"]
    assert ids(small["train"]) < ids(large["train"])


def test_a_repeated_question_is_taken_once(tmp_path: Path) -> None:
    rows = numbered(6) + [{"question": "WHAT IS  3 + 3?", "answer": "6"}]
    parts = questions("s", Dataset(source=jsonl(tmp_path / "q.jsonl", rows), train=3, test=3))
    assert len(ids(parts["train"]) | ids(parts["test"])) == 6


def test_parquet_with_joined_and_nested_fields(tmp_path: Path) -> None:
    rows = [{"body": f"Ann has {i}.", "ask": "How many?", "meta": {"gold": str(i)}} for i in range(4)]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "q.parquet")
    source = str(tmp_path / "q.parquet")
    [row, *_] = questions("s", Dataset(source=source, question="{body} {ask}", gold="meta.gold", test=4))["test"]
    assert row.question == f"Ann has {row.gold}. How many?"


def test_choices_and_zero_based_gold(tmp_path: Path) -> None:
    rows = [{"q": "Which?", "opa": "x", "opb": "y", "cop": 1}]
    source = jsonl(tmp_path / "q.jsonl", rows)
    dataset = Dataset(source=source, question="q", gold="cop", choices=["opa", "opb"], gold_type="choice", test=1)
    [row] = questions("s", dataset)["test"]
    assert (row.choices, row.gold) == (["x", "y"], "B")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"question": "a", "answer": "1"}\n\n', "1 with an empty line; first"),
        ('{"question": "a", "answer": "1"}\n{"question": "b", "ans', "a line that is no JSON object; first"),
        ('["a"]\n', "a line that is no JSON object"),
        ('{"question": "caf\udce9", "answer": "1"}\n', "a line that is no JSON object"),
        ('{"question": "half \\ud83d", "answer": "1"}\n', "half a character"),
        ('{"query": "a", "answer": "1"}\n', "no field `question`; the fields are query, answer"),
        ('{"question": "a", "answer": null}\n', "no gold answer in `answer`, as in a split without labels"),
        ('{"question": "a", "answer": ""}\n', "no gold answer in `answer`"),
        ('{"question": " ", "answer": "1"}\n', "nothing in `question`"),
        ('{"question": null, "answer": "1"}\n', "nothing in `question`"),
        ('{"question": "a", "answer": "no number here"}\n', "no number answer: it must hold one number"),
        ('{"question": "a", "answer": "1"}\n', "2 questions asked for"),
    ],
)
def test_a_bad_file_ends_with_one_sentence(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError) as caught:
        questions("s", Dataset(source=str(path), test=2))
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def made(folder: Path, rows: list[dict], **settings: object) -> int:
    source = jsonl(folder / "q.jsonl", rows)
    (folder / "dataset.json").write_text(json.dumps({"source": source, "test": {"size": None}} | settings))
    arguments = f"--config {folder}/dataset.json --dataset d --out {folder}/out --rejected {folder}/rejected.jsonl"
    return questions_stage.main(arguments.split())


def test_a_few_bad_rows_are_set_aside_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [{"question": "What?", "answer": "nothing"}, {"question": "", "answer": "1"}]
    assert made(tmp_path, numbered(298) + bad) == 0
    rejected = list(read_rows(tmp_path / "rejected.jsonl", RejectedRow))
    assert sorted((row.where.rpartition(", ")[2], row.reason[:9]) for row in rejected) == [
        ("line 299", "no number"),
        ("line 300", "nothing i"),
    ]
    assert '"What?"' in "".join(row.sample for row in rejected)
    assert json.loads((tmp_path / "out/manifest.json").read_text())["facts"]["test"] == 298
    assert "2 of 300 rows cannot be used" in capsys.readouterr().err


def test_too_many_bad_rows_stop_the_run_and_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [{"question": "What?", "answer": "nothing"}] * 4
    assert made(tmp_path, numbered(196) + bad) == 1
    said = capsys.readouterr().err
    assert "4 of 200 rows cannot be used: 4 with no number answer" in said
    assert "datasets.d.rejected_share allows 1%" in said
    assert len(list(read_rows(tmp_path / "rejected.jsonl", RejectedRow))) == 4
    assert made(tmp_path, numbered(196) + bad, rejected_share=0.05) == 0


def test_a_question_with_two_gold_answers_is_set_aside_whichever_comes_first(tmp_path: Path) -> None:
    rows = numbered(300) + [
        {"question": "What is 3 + 3?", "answer": "7"},
        {"question": "What is 4 + 4?", "answer": "8.0"},
    ]
    assert made(tmp_path, rows) == 0
    rejected = list(read_rows(tmp_path / "rejected.jsonl", RejectedRow))
    assert [row.sample for row in rejected] == ["What is 3 + 3?"] * 2
    assert json.loads((tmp_path / "out/manifest.json").read_text())["facts"]["test"] == 299


def test_the_question_that_a_row_was_made_from_is_named(tmp_path: Path) -> None:
    rows = [{"question": "Ann has 3 and 4 more.", "answer": "7", "original_question": "What is  3 + 4?"}]
    source = jsonl(tmp_path / "q.jsonl", rows)
    [row] = questions("s", Dataset(source=source, origin="original_question", test=1))["test"]
    assert row.origin_id == question_id("what is 3 + 4?")


def test_an_unlabelled_choice_split_is_refused(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "q.jsonl", [{"q": "Which?", "opa": "x", "opb": "y", "cop": -1}])
    dataset = Dataset(source=source, question="q", gold="cop", choices=["opa", "opb"], gold_type="choice", test=1)
    with pytest.raises(UserError, match="no option, as in a split without labels"):
        questions("s", dataset)


def test_a_generated_row_without_a_readable_gold_is_set_aside() -> None:
    with pytest.raises(UserError, match=r"reasoning-gym:spell_backward has 0 more .* with no number answer"):
        questions("s", Dataset(source="reasoning-gym:spell_backward", test=5))


def test_an_unknown_task_and_option_are_named() -> None:
    with pytest.raises(UserError, match="no_such_task"):
        questions("s", Dataset(source="reasoning-gym:no_such_task", test=2))
    with pytest.raises(UserError, match="reasoning-gym:chain_sum"):
        questions("s", Dataset(source="reasoning-gym:chain_sum", options={"max_term": 3}, test=2))


def paper(questions: list[str], answers: list[object]) -> dict[str, object]:
    return {"sections": [["Intro", ["One.", "Two."]], ["End", ["Three."]]], "asked": questions, "answers": answers}


PAPERS = {"context": "sections", "each": ["asked", "answers"], "question": "asked", "gold": "answers"}


def test_a_row_with_several_questions_about_one_text(tmp_path: Path) -> None:
    rows = [paper(["Who?", "Why?"], ["Ann", ["rain", "the rain", "snow"]]), paper(["Who?"], ["ann"])]
    dataset = Dataset(source=jsonl(tmp_path / "q.jsonl", rows), **PAPERS, gold_type="text", test={})
    who, why = sorted(questions("s", dataset)["test"], key=lambda row: row.question)
    assert who.question == "Intro\nOne. Two.\nEnd\nThree.\n\nWho?"
    assert who.question[who.context_chars :] == "Who?"
    assert sorted(who.golds) == ["Ann", "ann"]  # of two annotators
    assert why.golds == ["rain", "the rain", "snow"]
    assert who.group == why.group is not None


def test_a_question_that_some_annotators_left_out_keeps_the_others(tmp_path: Path) -> None:
    rows = [{"question": "Who?", "answer": ["", "Ann", None], "exp": "It says so. #### Ann"}]
    rows += [{"question": "Where?", "answer": ["Rome"]}, {"question": "When?", "answer": ["", None], "exp": None}]
    dataset = Dataset(source=jsonl(tmp_path / "q.jsonl", rows), gold_type="text", reasoning="exp", test={})
    rejected = Quarantine("rows", 1, "key")
    found = sorted(datasets.questions("s", dataset, rejected)["test"], key=lambda row: row.gold)
    assert [(row.golds, row.reasoning) for row in found] == [(["Ann"], "It says so."), (["Rome"], None)]
    assert len(rejected) == 1


def test_all_questions_about_one_text_are_in_one_part(tmp_path: Path) -> None:
    rows = [paper([f"{word} {i}?" for word in ("Who", "Why", "Where")], [f"a{i}", "b", "c"]) for i in range(8)]
    for number, row in enumerate(rows):
        row["sections"].append([f"Paper {number}", []])
    dataset = Dataset(source=jsonl(tmp_path / "q.jsonl", rows), **PAPERS, gold_type="text", train={}, test=7)
    parts = questions("s", dataset)
    texts = {part: {row.group for row in parts[part]} for part in ("train", "test")}
    assert len(parts["test"]) == 7
    assert len(texts["test"]) == 3
    assert not texts["train"] & texts["test"]
    assert len(parts["train"]) == 15  # the rest of the third text is in no part


def test_lists_that_do_not_belong_together_are_rejected(tmp_path: Path) -> None:
    rows = [paper(["Who?", "Why?"], ["Ann"]), paper(["Who?"], ["Ann"])]
    dataset = Dataset(source=jsonl(tmp_path / "q.jsonl", rows), **PAPERS, gold_type="text", test={})
    rejected = Quarantine("rows", 1, "key")
    assert len(datasets.questions("s", dataset, rejected)["test"]) == 1
    assert list(rejected.reasons()) == ["`asked`, `answers` are no lists of one length"]


def test_columns_of_a_mapping_are_read_as_its_rows(tmp_path: Path) -> None:
    """As the Hub has HotpotQA's paragraphs; and QMSum's turns."""
    columns = {"title": ["A", "B"], "sentences": [["One.", " Two."], ["Three."]]}
    turns = [{"speaker": "Ann", "content": "Yes ."}, {"speaker": "Bob", "content": "No ."}]
    rows = [{"text": text, "question": "Who?", "answer": "Ann"} for text in (columns, turns)]
    dataset = Dataset(source=jsonl(tmp_path / "q.jsonl", rows), context="text", gold_type="text", test={})
    texts = {row.question.partition("\n\n")[0] for row in questions("s", dataset)["test"]}
    assert texts == {"A\nOne. Two.\nB\nThree.", "Ann: Yes .\nBob: No ."}


def test_options_counted_from_1_and_a_text_taken_out_of_questions(tmp_path: Path) -> None:
    rows = [{"q": "Which? Answer now.", "cop": 2, "a": "x", "b": "y"}, {"q": "What?", "cop": 0, "a": "x", "b": "y"}]
    dataset = Dataset(
        source=jsonl(tmp_path / "q.jsonl", rows),
        question="q",
        remove=" Answer now.",
        gold="cop",
        choices=["a", "b"],
        gold_type="choice",
        first_choice=1,
        test={},
    )
    rejected = Quarantine("rows", 1, "key")
    [row] = datasets.questions("s", dataset, rejected)["test"]
    assert (row.question, row.gold) == ("Which?", "B")
    assert len(rejected) == 1


FILES = {
    "gsm8k": {"train": ("gsm8k/train.jsonl", 7473), "test": ("gsm8k/test.jsonl", 1319)},
    "math500": {"test": ("math/math500_test.jsonl", 500)},
    "medmcqa": {"test": ("medmcqa/dev.json", 4183)},
    "svamp": {"test": ("svamp/SVAMP.json", 1000)},
    "mawps": {"test": ("mawps/singleop.jsonl", 531)},  # of 562; the others are repeats
    "hotpotqa": {"test": ("hotpotqa/dev_with_context_500.jsonl", 500)},
    "qasper": {"test": ("qasper/leval_scientific_qa.jsonl", 152)},  # 184 answers
    "qmsum": {"test": ("qmsum/val.jsonl", 237)},
    "qmsum_general": {"test": ("qmsum/val.jsonl", 35)},
}
MORE = {"medmcqa": {"first_choice": 1}}
GROUPS = {"hotpotqa": 500, "qasper": 20, "qmsum": 35, "qmsum_general": 35}


@needs_shared
@pytest.mark.parametrize("name", FILES)
def test_ready_made_benchmarks_read_their_makers_files(name: str) -> None:
    parts = dict.fromkeys(("train", "test")) | {
        part: {"source": str(SHARED / "questions" / file)} for part, (file, _) in FILES[name].items()
    }
    made = ready_made.completed({name: MORE.get(name, {}) | parts}, [])[name]
    found = datasets.questions(name, Dataset.model_validate(made), Quarantine("rows", 0.01, "key"))
    assert {part: len(found[part]) for part in FILES[name]} == {part: n for part, (_, n) in FILES[name].items()}
    assert len({row.group for row in found["test"]} - {None}) == GROUPS.get(name, 0)


@needs_shared
def test_math_as_verl_writes_it() -> None:
    ending = " Let's think step by step and output the final answer within \\boxed{}."
    own = {"question": "prompt.0.content", "remove": ending, "gold": "reward_model.ground_truth", "test": None}
    train = {"train": {"source": str(SHARED / "questions/math/train.parquet")}}
    made = Dataset.model_validate(ready_made.completed({"math": own | train}, [])["math"])
    rows = datasets.questions("math", made, Quarantine("rows", 0.01, "key"))["train"]
    assert len(rows) == 7498
    assert not any("step by step" in row.question for row in rows)
