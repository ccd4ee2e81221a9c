"""Traces to one training set: R-SFT, DA, their controls, step examples for the PRM, or prompts for RL."""

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from agentark.config.sets import Sets
from agentark.errors import UserError
from agentark.provenance import manifests
from agentark.records.files import by_question, read_rows, write_rows, write_text
from agentark.records.questions import SkippedQuestion
from agentark.records.row import Row
from agentark.records.sets import Judgement, StepValues, TrainingExample
from agentark.records.traces import Trace, TraceQuestion
from agentark.running import stage
from agentark.running.progress import say
from agentark.sets import cards, controls, examples, labelled_steps, rl_prompts
from agentark.sets.trajectories import of_first_agents

KINDS = ("rsft", "da", "prm", "rl", *controls.CONTROLS)


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--traces", type=Path, nargs="+", required=True, help="the shards of one teacher and dataset")
    parser.add_argument("--skip", type=Path, required=True, help="questions to leave out, and why")
    parser.add_argument("--judged", type=Path, nargs="*", default=[], help="which traces a judge picked, for DA")
    parser.add_argument("--values", type=Path, nargs="*", default=[], help="what steps are worth, for the PRM")
    parser.add_argument("--rsft", type=Path, help="the R-SFT set that a control stands against")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--card", type=Path, required=True, help="what the set holds and what was left out, JSON")
    parser.add_argument("--page", type=Path, required=True, help="the same to read, Markdown")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Sets)
    skipped = {row.question_id: row.reason for row in read_rows(args.skip, SkippedQuestion)}
    skipped |= dict.fromkeys(outside(args.traces, settings.share), "outside_share")
    card = cards.Card(args.kind)
    write_rows(args.out, rows(args, settings, skipped, card))
    facts = card.facts()
    if not facts["rows"]:
        args.out.unlink()
        raise UserError(
            f"{args.traces[0].parent}: no trace fits the {args.kind} set ({facts['questions']} questions, "
            f"{facts['questions_without_a_right_agent']} without an agent that was right at the end); "
            "debate more or easier questions, or lower sets.min_correct_agents"
            + (", or sets.corrective other than `equal`" if settings.corrective == "equal" else "")
            + (", or raise sets.share" if settings.share < 1 else "")
            + (", or raise sets.trajectories" if settings.trajectories else "")
        )
    manifests.write_manifest(
        args.card,
        kind="set",
        stage="sets",
        settings=settings.model_dump(mode="json"),
        parents=[*args.traces, args.skip, *args.judged, *args.values, *([args.rsft] if args.rsft else [])],
        outputs=[args.out],
        facts=facts,
    )
    write_text(args.page, cards.page(facts, settings))
    used = f"{facts['questions_used']}/{facts['questions']} questions"
    say(f"sets         {args.kind}: {facts['rows']} rows from {used}")


def rows(args: argparse.Namespace, settings: Sets, skipped: dict[str, str], card: cards.Card) -> Iterator[Row]:
    """The rows of all questions, in the order of the traces."""
    rsft = by_question([args.rsft], TrainingExample) if args.rsft else iter(())
    against = next(rsft, None)
    judged = {row.question_id: row.chosen for path in args.judged for row in read_rows(path, Judgement)}
    values = {row.trace_id: row for path in args.values for row in read_rows(path, StepValues)}
    control = controls.ControlSet(args.kind) if args.kind in controls.CONTROLS else None
    shares = equal_shares(args.traces, settings, skipped) if settings.corrective == "equal" else None
    for question_id, traces in by_question(args.traces, Trace):
        if question_id in skipped:
            card.skip(skipped[question_id])
            continue
        made: Sequence[Row] = []
        if args.kind == "prm":
            made = labelled_steps.step_examples(traces, settings, values)
        elif args.kind == "rl":
            made = [rl_prompts.rl_prompt(traces)]
        elif control is None:
            which = shares.get(question_id, "none") if shares is not None else settings.corrective
            by_judge = judged.get(question_id, ())
            made = examples.training_examples(args.kind, traces, settings, which, card.counts, by_judge)
        elif against and against[0] == question_id:
            made = control.rows(of_first_agents(traces, settings.trajectories), against[1])
            against = next(rsft, None)
        card.add(traces, made)
        yield from made
    if control is not None:
        card.counts["rows_fewer_than_rsft"] = control.owed_rows
        card.counts["tokens_fewer_than_rsft"] = control.owed_tokens


def outside(paths: Sequence[Path], share: float) -> list[str]:
    """The ids of the questions that are not in the share, of all that there are, those to be skipped among them."""
    if share == 1:
        return []
    ids = sorted({row.question_id for path in paths for row in read_rows(path, TraceQuestion)})
    # By id, which is a hash: as good as drawn, the same for every teacher and set, and a smaller share is in a larger.
    # As it is written: of 100 questions 0.07 are 7, but the product of floats is above that.
    return ids[math.ceil(Fraction(str(share)) * len(ids)) :]


def equal_shares(paths: Sequence[Path], settings: Sets, skipped: dict[str, str]) -> dict[str, examples.Which]:
    """For as many questions `only` corrective traces as `exclude` for others; questions with neither are left out."""
    able = {True: [], False: []}
    both: list[str] = []
    for question_id, traces in by_question(paths, Trace):
        kinds = {t.kind == "corrective" for t in examples.candidates(traces, settings, "prefer", Counter())}
        if len(kinds) == 2:
            both.append(question_id)
        elif kinds and question_id not in skipped:
            able[kinds.pop()].append(question_id)
    for question_id in both:
        if question_id not in skipped:
            able[len(able[True]) <= len(able[False])].append(question_id)
    n = min(map(len, able.values()))
    # By id, which is a hash: as good as drawn, and the same whatever the order.
    return {
        question_id: "only" if corrective else "exclude"
        for corrective, ids in able.items()
        for question_id in sorted(ids)[:n]
    }


if __name__ == "__main__":
    raise SystemExit(main())
