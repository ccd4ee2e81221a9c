"""Held-out steps to score: a teacher's debates on the benchmarks, errors planted in them, and step benchmarks."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

from agentark.config.prm_evaluation import PrmEvaluation
from agentark.evaluation import canaries
from agentark.grading.comparing import answer_key
from agentark.records.debates import AGGREGATOR, Debate
from agentark.records.files import by_question, read_rows
from agentark.records.row import Row
from agentark.records.rowlog import RowLog
from agentark.records.sets import StepExample
from agentark.records.traces import Trace
from agentark.running.progress import Progress
from agentark.sets.labelled_steps import distinct_traces, labels_by_answer
from agentark.traces.extraction import as_completion, traces_of
from agentark.traces.steps import Span, split_steps

R = TypeVar("R", bound=Row)

QUESTIONS_AT_ONCE = 64
"""Scored together, and then kept: a killed job does these again."""


@dataclass(frozen=True)
class Item:
    """A text to score, and what is known of it."""

    benchmark: str
    source: Literal["debate", "labelled"]
    asked: Trace | StepExample
    text: str
    steps: list[Span]
    correct: bool
    labels: list[int]
    answer: str | None = None
    planted: str | None = None

    @property
    def key(self) -> str:
        return f"{self.benchmark} {self.asked.question_id} {self.asked.trace_id} {self.planted or ''}"


Places = Sequence[tuple[str, Path]]
"""Files, each with the name of its benchmark."""


def places(pairs: Sequence[str]) -> Places:
    """From `BENCHMARK=PATH`, as the stages are given them."""
    return [(name, Path(path)) for name, _, path in (pair.partition("=") for pair in pairs)]


def questions(debates: Places, steps: Places, settings: PrmEvaluation, shard: str) -> Iterator[list[Item]]:
    """What is to be scored of each question of a shard: `I/N` is every Nth one, from the Ith on."""
    number, _, n_shards = shard.partition("/")

    def here(question_id: str) -> bool:
        return zlib.crc32(question_id.encode()) % int(n_shards) == int(number)

    for benchmark, path in debates:
        for debate in read_rows(path, Debate):
            if here(debate.question.question_id):
                yield items_of_debate(benchmark, list(traces_of(debate)), settings)
    for benchmark, path in steps:
        for question_id, rows in by_question([path], StepExample):
            if here(question_id):
                yield [
                    Item(benchmark, "labelled", row, row.text, row.steps, all(row.labels), row.labels) for row in rows
                ]


def items_of_debate(benchmark: str, traces: list[Trace], settings: PrmEvaluation) -> list[Item]:
    """Every solution of a debate, with labels once for the same text, and errors planted in the first right one."""
    distinct = distinct_traces(traces)
    labels = labels_by_answer(distinct, settings.labels)
    labels_of = {trace.trace_id: found for (trace, _, _), found in zip(distinct, labels, strict=True)}
    items = []
    for trace in traces:
        if trace.agent == AGGREGATOR:
            continue
        text, known = as_completion(trace)[0], labels_of.get(trace.trace_id, [])
        answer = None if trace.answer is None else answer_key(trace.answer, trace.gold_type)
        items.append(Item(benchmark, "debate", trace, text, split_steps(text), trace.correct, known, answer))
    right = next((one for one in distinct if one[0].correct), None)
    if right:
        trace, text, steps = right
        versions = {canaries.CLEAN: canaries.clean(text, steps)} | dict(canaries.spoilt(text, steps, trace.trace_id))
        items += [
            Item(benchmark, "debate", trace, said, split_steps(said), kind == canaries.CLEAN, [], planted=kind)
            for kind, said in versions.items()
        ]
    return items


def score_each(
    questions: Callable[[], Iterator[list[Item]]], score: Callable[[list[Item]], Iterable[R]], log: RowLog[R]
) -> None:
    """Keep a row of each item; what is kept already is not scored again."""
    progress = Progress("scoring", sum(1 for _ in questions()), "questions")
    remaining = questions()
    while some := list(islice(remaining, QUESTIONS_AT_ONCE)):
        items = [item for items in some for item in items if item.key not in log]
        for item, row in zip(items, score(items), strict=True):
            log.append(item.key, row)
        progress.update(len(some))
