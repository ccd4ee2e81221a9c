"""Put the answers that rules cannot decide to a verifier, with a sample of those that they can."""

import argparse
import asyncio
import csv
import heapq
import io
import re
from collections import Counter
from collections.abc import Container, Iterator
from functools import partial
from pathlib import Path

from agentark.config.engine import Engine
from agentark.config.traces import Traces
from agentark.debates import scheduler
from agentark.debates.asking import asking, unexpected
from agentark.engines.chat import Chat
from agentark.grading import verifier
from agentark.grading.reading import after_reasoning
from agentark.provenance import manifests
from agentark.records.debates import Debate
from agentark.records.files import read_rows, write_json, write_rows, write_text
from agentark.records.questions import Question
from agentark.records.row import content_id
from agentark.records.traces import Verdict
from agentark.running import stage
from agentark.running.progress import say
from agentark.traces.extraction import verdicts_of

AUDIT_COLUMNS = ["question", "gold", "answer", "by_rules", "by_verifier", "probability", "by_human"]
AUDIT_ROWS = 100


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--engine", type=Path, required=True, help="frozen engine settings, JSON")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the verifier")
    parser.add_argument("--debates", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where replies are kept until all are there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--counts", type=Path, required=True, help="agreement with the rules, JSON")
    parser.add_argument("--audit", type=Path, required=True, help="verdicts for a person to check, CSV")
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Traces)
    engine_settings = stage.settings(args.engine, Engine)
    undecided, sample, n_answers = survey(args.debates, settings)
    names = undecided.keys() | sample
    verdicts: list[Verdict] = []
    if names:
        line = {"stage": "verify", "n_items": len(names), "unit": "answers"}
        with asking(args.model, engine_settings, args.work, **line) as (chat, places, progress):

            def keep(verdict: Verdict) -> None:
                verdicts.append(verdict)
                progress.update()

            items = to_ask(args.debates, settings, names)
            asyncio.run(scheduler.run(items, partial(judged, chat), keep, places, unexpected))
    write_rows(args.out, sorted(verdicts, key=lambda verdict: verdict.item_id))
    agreement = verifier.Agreement.of(verdicts)
    left = sum(undecided[verdict.item_id] for verdict in verdicts if verdict.by_verifier is None)
    counts = {
        "answers": n_answers,
        "undecided_by_rules": undecided.total(),
        "asked": len(names),
        "undecided_by_both": left,
        "audited": agreement.n,
        "both_right": agreement.both_right,
        "both_wrong": agreement.both_wrong,
        "false_accepts": agreement.false_accepts,
        "false_rejects": agreement.false_rejects,
    }
    write_json(args.counts, counts)
    write_text(args.audit, audit(verdicts))
    manifests.write_manifest(
        args.manifest,
        kind="verdicts",
        stage="verify",
        settings=settings.model_dump(mode="json"),
        parents=[args.debates, args.model],
        outputs=[args.out, args.counts, args.audit],
        facts=counts,
    )
    kappa = "-" if agreement.kappa is None else f"{agreement.kappa:.2f}"
    say(
        f"verify       {undecided.total()} of {n_answers} answers undecided by rules, {left} after the verifier; kappa "
        f"{kappa} on {agreement.n} that rules decide, {agreement.false_accepts} false accepts, "
        f"{agreement.false_rejects} false rejects"
    )


Item = tuple[str, Question, str, str | None, bool | None]
"""Id, question, answer, the trace if it is shown, the rules' verdict."""


def survey(debates: Path, settings: Traces) -> tuple[Counter[str], set[str], int]:
    """How often each undecided item occurs, a sample of the decided ones, and how many answers there are.

    The smallest hashes make the sample, so it is the same whatever the order.
    """
    undecided: Counter[str] = Counter()
    sample: list[tuple[int, str]] = []
    n_answers = 0
    for name, _, _, _, by_rules in found(debates, settings):
        n_answers += 1
        # The largest hash is on top of the heap, so it is the one that a smaller one replaces.
        entry = (-int(content_id("audit", name), 16), name)
        if by_rules is None:
            undecided[name] += 1
        elif len(sample) < settings.audit and entry not in sample:
            heapq.heappush(sample, entry)
        elif sample and entry > sample[0] and entry not in sample:
            heapq.heapreplace(sample, entry)
    return undecided, {name for _, name in sample}, n_answers


def to_ask(debates: Path, settings: Traces, names: Container[str]) -> Iterator[Item]:
    """Each item once, however many agents gave that answer."""
    asked: set[str] = set()
    for item in found(debates, settings):
        if item[0] in names and item[0] not in asked:
            asked.add(item[0])
            yield item


def found(debates: Path, settings: Traces) -> Iterator[Item]:
    for debate in read_rows(debates, Debate):
        for turn, grade in zip(debate.turns, verdicts_of(debate), strict=True):
            if grade is not None and grade.answer is not None:
                trace = after_reasoning(turn.reply) if settings.verifier_sees == "trace" else None
                name = verifier.item_id(debate.question, grade.answer, trace)
                yield name, debate.question, grade.answer, trace, None if grade.undecided else grade.correct


async def judged(chat: Chat, item: Item) -> Verdict:
    name, question, answer, trace, by_rules = item
    reply = await chat(verifier.messages(question, answer, trace), verifier.SAMPLING)
    verdict, probability = verifier.read(reply)
    return Verdict(
        item_id=name,
        question_id=question.question_id,
        question=question.question,
        gold=question.gold,
        answer=answer,
        by_rules=by_rules,
        by_verifier=verdict,
        probability=probability,
        reply=reply.text or reply.error or "",
    )


def audit(verdicts: list[Verdict]) -> str:
    """Rows for a person: first where verifier and rules differ, then what only the verifier decided."""

    def worth(verdict: Verdict) -> tuple[bool, bool, str]:
        differ = None not in (verdict.by_rules, verdict.by_verifier) and verdict.by_rules != verdict.by_verifier
        return not differ, verdict.by_rules is not None, verdict.item_id

    text = io.StringIO()
    writer = csv.DictWriter(text, AUDIT_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for verdict in sorted(verdicts, key=worth)[:AUDIT_ROWS]:
        writer.writerow({name: _inert(getattr(verdict, name, "")) for name in AUDIT_COLUMNS})
    return text.getvalue()


def _inert(value: object) -> object:
    """What a spreadsheet would take for a formula becomes a text."""
    formula = isinstance(value, str) and re.match(r"[=@+\t\r]|-(?!\d)", value)
    return f"'{value}" if formula else value


if __name__ == "__main__":
    raise SystemExit(main())
