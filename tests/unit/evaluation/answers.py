"""Evaluation rows of made-up models, and the tables of a study that has variants and recipes."""

from collections.abc import Iterable
from pathlib import Path

from agentark.config.tables import Tables
from agentark.evaluation.arms import Arms, read_arms
from agentark.records.evaluations import EvaluationRow
from agentark.records.files import write_rows

TABLES = Tables(
    experiment="main",
    variants={"main": None, "long": "main", "longer": "long"},
    recipes={"rsft": ["rsft"], "da": ["da"], "pad": ["rsft", "pad"], "da_after_rsft": ["rsft", "da"]},
    evaluations=[],
)
TRAINED = {"recipe": "rsft", "teacher": "t", "train_set": "s"}


def row(number: int, correct: bool, **more: object) -> EvaluationRow:
    fields: dict[str, object] = {
        "model": "m",
        "recipe": None,
        "variant": "main",
        "teacher": None,
        "train_set": None,
        "protocol": "single",
        "benchmark": "b",
        "question_id": str(number),
        "output": "",
        "answer": "1",
        "correct": correct,
        "truncated": False,
        "calls": 1,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "seconds": 0.5,
        "seed": 0,
    }
    fields |= more
    return EvaluationRow(method=str(fields["recipe"] or "base").rpartition("-")[2], **fields)


def answers(verdicts: Iterable[bool], **more: object) -> list[EvaluationRow]:
    """A row for each verdict, on questions 0, 1, 2 and so on."""
    return [row(number, bool(correct), **more) for number, correct in enumerate(verdicts)]


def student(recipe: str, verdicts: Iterable[bool], **more: object) -> list[EvaluationRow]:
    return answers(verdicts, **TRAINED | {"recipe": recipe} | more)


def arms_of(folder: Path, rows: Iterable[EvaluationRow], tables: Tables = TABLES) -> Arms:
    write_rows(folder / "rows.jsonl", rows)
    return read_arms([folder / "rows.jsonl"], tables)
