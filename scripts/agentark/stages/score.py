"""Score held-out steps by a reward model: a teacher's debates on the benchmarks, errors planted in them, and step
benchmarks."""

import argparse
import shutil
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from agentark.config.prm_evaluation import PrmEvaluation
from agentark.engines import local_models
from agentark.evaluation import canaries
from agentark.grading.comparing import answer_key
from agentark.provenance import manifests
from agentark.records.debates import AGGREGATOR, Debate
from agentark.records.files import by_question, read_rows, write_rows
from agentark.records.row import content_id
from agentark.records.rowlog import RowLog
from agentark.records.scores import ScoredTrace
from agentark.records.sets import StepExample
from agentark.records.traces import Trace
from agentark.running import stage
from agentark.running.progress import Progress, say
from agentark.sets.labelled_steps import distinct_traces, labels_by_answer
from agentark.traces.extraction import as_completion, traces_of
from agentark.traces.steps import Span, split_steps
from agentark.training.encoding import encode
from agentark.training.prm import load_prm
from agentark.training.prm_scoring import log_probabilities, score_encoded, windows
from agentark.training.rewards import AGGREGATES, aggregate

QUESTIONS_AT_ONCE = 64
"""Scored together, and then kept: a killed job does these again."""


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--prm", type=Path, required=True, help="manifest of the reward model")
    parser.add_argument("--untrained", type=Path, required=True, help="manifest of the model that it started from")
    parser.add_argument("--debates", nargs="*", default=[], help="BENCHMARK=PATH of the teacher's debates")
    parser.add_argument("--steps", nargs="*", default=[], help="BENCHMARK=PATH of step benchmarks")
    parser.add_argument("--variant", default="main", help="whose settings it was made with")
    parser.add_argument("--teacher", required=True, help="whose debates it was trained on")
    parser.add_argument("--train-set", required=True, help="dataset it was trained on")
    parser.add_argument("--backbone", required=True, help="name of the model that it started from")
    parser.add_argument("--seed", type=int, required=True, help="training seed")
    parser.add_argument("--shard", default="0/1", help="I/N: every Nth question, from the Ith on")
    parser.add_argument("--work", type=Path, required=True, help="where scores are kept until all are there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    return stage.run(work, parser.parse_args(argv))


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


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, PrmEvaluation)
    debates, steps = ([pair.partition("=")[::2] for pair in pairs] for pairs in (args.debates, args.steps))
    paths = [Path(path) for _, path in [*debates, *steps]]
    parents = [args.prm, args.untrained, *paths]
    max_length = manifests.read_manifest(args.prm)["settings"]["max_length"]

    def questions() -> Iterator[list[Item]]:
        """The items of one question after another."""
        number, _, n_shards = args.shard.partition("/")
        for question_id, items in all_questions(debates, steps, settings):
            if zlib.crc32(question_id.encode()) % int(n_shards) == int(number):
                yield items

    model, tokenizer = load_prm(manifests.model_folder(args.prm))
    untrained = local_models.open_model(manifests.model_folder(args.untrained), local_models.faster_dtype())
    untrained.to(local_models.device())
    who = {"variant": args.variant, "teacher": args.teacher, "train_set": args.train_set}
    who |= {"model": args.backbone, "seed": args.seed}
    identity = content_id(manifests.code_digest("score"), settings.model_dump(mode="json"), args.shard)
    identity = content_id(identity, who, *map(manifests.file_sha256, parents))
    log = RowLog(args.work / f"{identity}.jsonl", ScoredTrace)
    progress = Progress("scoring", sum(1 for _ in questions()), "questions")

    def score(items: list[Item]) -> Iterator[tuple[str, ScoredTrace]]:
        encoded = [encode(tokenizer, item.asked, item.text, item.steps) for item in items]
        scores = score_encoded(model, encoded, tokenizer.pad_token_id, max_length)
        # Of planted errors nobody asks how likely they are.
        written = [trace for item, trace in zip(items, encoded, strict=True) if item.planted is None]
        logps = iter(log_probabilities(untrained, written, tokenizer.pad_token_id, max_length))
        for item, trace, of_steps in zip(items, encoded, scores, strict=True):
            yield (
                item.key,
                ScoredTrace(
                    **who,
                    benchmark=item.benchmark,
                    source=item.source,
                    trace_id=item.asked.trace_id,
                    question_id=item.asked.question_id,
                    planted=item.planted,
                    answer=item.answer,
                    correct=item.correct,
                    right=[label == 1 for label in item.labels],
                    lengths=[end - start for start, end in item.steps],
                    scores=of_steps,
                    log_probabilities=next(logps) if item.planted is None else [],
                    rewards={how: aggregate(of_steps, how) for how in AGGREGATES},
                    n_windows=len(windows(trace, max_length)),
                ),
            )

    remaining = questions()
    while some := list(islice(remaining, QUESTIONS_AT_ONCE)):
        for key, row in score([item for items in some for item in items if item.key not in log]):
            log.append(key, row)
        progress.update(len(some))
    facts = Counter(traces=0, steps=0, traces_in_windows=0, traces_without_steps=0)

    def counted() -> Iterator[ScoredTrace]:
        for row in log.rows():
            facts["traces"] += 1
            facts["steps"] += len(row.scores)
            facts["traces_in_windows"] += row.n_windows > 1
            facts["traces_without_steps"] += not row.scores
            yield row

    write_rows(args.out, counted())
    log.close()
    manifests.write_manifest(
        args.manifest,
        kind="scores",
        stage="score",
        settings=settings.model_dump(mode="json"),
        parents=parents,
        outputs=[args.out],
        seed=args.seed,
        facts=dict(facts),
    )
    shutil.rmtree(args.work, ignore_errors=True)
    say(f"scoring      {facts['steps']} steps of {facts['traces']} traces, {facts['traces_in_windows']} in windows")


def all_questions(
    debates: Iterable[tuple[str, str]], steps: Iterable[tuple[str, str]], settings: PrmEvaluation
) -> Iterator[tuple[str, list[Item]]]:
    """Question ids, each with what is to be scored of it."""
    for benchmark, path in debates:
        for debate in read_rows(Path(path), Debate):
            yield debate.question.question_id, items_of_debate(benchmark, list(traces_of(debate)), settings)
    for benchmark, path in steps:
        for question_id, rows in by_question([Path(path)], StepExample):
            yield (
                question_id,
                [Item(benchmark, "labelled", row, row.text, row.steps, all(row.labels), row.labels) for row in rows],
            )


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


if __name__ == "__main__":
    raise SystemExit(main())
