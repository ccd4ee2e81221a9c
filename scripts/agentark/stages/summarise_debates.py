"""One table of what the debates tell, and a page of debates to read."""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from agentark.config.variants import MAIN, variant_of
from agentark.evaluation.statistics import exact_mcnemar, paired
from agentark.records.debates import Debate
from agentark.records.evaluations import EvaluationRow
from agentark.records.files import read_rows, write_csv, write_text
from agentark.traces.debate_statistics import Tally
from agentark.traces.transcripts import as_html, lines

COLUMNS = [
    "variant",
    "teacher",
    "dataset",
    "part",
    "protocol",
    "questions",
    "accuracy",
    "first_round_vote_accuracy",
    "p_value_vote",
    "self_consistency_accuracy",
    "p_value_self_consistency",
]
"""They come first; the others follow in the order of `Tally.row`."""
PER_CASE = 2
ROWS_TO_SEARCH = 500
"""Debates of each file that samples are chosen from."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--statistics", type=Path, nargs="+", required=True, help="JSON of every set of debates")
    parser.add_argument("--evaluations", type=Path, nargs="*", default=[], help="rows of the teachers")
    parser.add_argument("--debates", type=Path, nargs="+", required=True, help="debates to choose samples from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True, help="HTML page")
    work(parser.parse_args(argv))
    return 0


def work(args: argparse.Namespace) -> None:
    rows = tallied(args.statistics)
    by_protocol = answers(args.evaluations)
    for line in rows:
        line["p_value_vote"] = exact_mcnemar(line["better_than_vote"], line["worse_than_vote"])
        who = line["variant"], line["teacher"], line["dataset"]
        held, sampled = by_protocol.get((*who, line["protocol"])), by_protocol.get((*who, "self_consistency"))
        if line["part"] != "train" and held and sampled:
            same = sorted(held.keys() & sampled.keys())
            line["self_consistency_accuracy"] = sum(sampled[q] for q in same) / len(same)
            line["p_value_self_consistency"] = paired([held[q] for q in same], [sampled[q] for q in same]).p_value
    table = pd.DataFrame(rows)
    first = [name for name in COLUMNS if name in table]
    table = table[first + [name for name in table if name not in first]]
    write_csv(args.out, table)
    write_text(args.text, as_text(rows))
    write_text(args.samples, as_html(list(samples(args.debates))))


def tallied(statistics: list[Path]) -> list[dict[str, Any]]:
    """A row for each variant, teacher, dataset and part: its shards together."""
    shards: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in statistics:
        sums = json.loads(path.read_text(encoding="utf-8"))
        if sums["of"]:
            shards.setdefault((variant_of(path), json.dumps(sums["of"])), []).append(sums)
    return [{"variant": variant, **Tally.merged(found).row()} for (variant, _), found in shards.items()]


def answers(evaluations: list[Path]) -> dict[tuple[str, str, str, str], dict[str, bool]]:
    """Which questions a teacher's protocol got right, by (variant, teacher, benchmark, protocol)."""
    found: dict[tuple[str, str, str, str], dict[str, bool]] = {}
    for path in evaluations:
        variant = variant_of(path)
        for row in read_rows(path, EvaluationRow):
            found.setdefault((variant, row.model, row.benchmark, row.protocol), {})[row.question_id] = row.correct
    return found


def as_text(rows: list[dict[str, Any]]) -> str:
    """What a reader looks at first, for the terminal."""
    text = [
        f"{'debates of':<18} {'dataset':<14} {'part':<6} {'protocol':<10} {'n':>6}  {'vote':>6} {'debate':>6} {'p':>8}"
        f"  {'same calls':>10}  {'agreed':>6}  {'corrected':>9} {'misled':>6}  {'calls':>5} {'cached':>6}"
    ]
    for line in rows:
        whose = line["teacher"] if line["variant"] == MAIN else f"{line['teacher']}, {line['variant']}"
        p = "<0.0001" if line["p_value_vote"] < 1e-4 else f"{line['p_value_vote']:.4f}"
        sampled = line.get("self_consistency_accuracy")
        cached = line["cached_prompt_share"]
        text.append(
            f"{whose:<18} {line['dataset']:<14} {line['part']:<6} {line['protocol']:<10} "
            f"{line['questions']:>6}  {line['first_round_vote_accuracy']:>6.1%} {line['accuracy']:>6.1%} {p:>8}  "
            f"{'-' if sampled is None else f'{sampled:.1%}':>10}  {line['consensus_rate']:>6.1%}  "
            f"{line['corrective']:>9} {line['degraded']:>6}  {line['calls_per_question']:>5.1f} "
            f"{'-' if cached is None else f'{cached:.0%}':>6}"
        )
    text.append(
        "vote: of the first round; p: debate against vote, exact McNemar; same calls: self-consistency with as many "
        "calls; corrected, misled: agents"
    )
    return "\n".join(text) + "\n"


def samples(shards: list[Path]) -> Iterator[tuple[str, Debate]]:
    """A few debates of each case, the first ones found."""
    n_found: Counter[str] = Counter()
    for shard in shards:
        for debate in islice(read_rows(shard, Debate), ROWS_TO_SEARCH):
            case = case_of(debate)
            n_found[case] += 1
            if n_found[case] <= PER_CASE:
                yield f"{case} ({debate.teacher}, {debate.question.dataset})", debate


def case_of(debate: Debate) -> str:
    """What a debate is an example of."""
    shown = list(lines(debate))
    before, after = (any(line.right for line in shown if line.turn.round == n) for n in (1, debate.n_rounds))
    if before != after:
        return "A wrong answer was corrected" if after else "A right answer was lost"
    return "Right from the start" if after else "Never right"


if __name__ == "__main__":
    raise SystemExit(main())
