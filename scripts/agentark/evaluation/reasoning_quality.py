"""How models reason, beside whether they are right.

What their single answers do on the way, counted without a judge; and how likely worked solutions of others are to them,
token by token behind the question. A perplexity is one of a tokenizer, bits a byte compare models of several.
"""

from collections import Counter
from collections.abc import Iterable
from math import inf, log, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from agentark.config.tables import Tables
from agentark.evaluation.arms import BASE, Arm, Arms, arm_of, recipe_of
from agentark.evaluation.behaviours import behaviours
from agentark.evaluation.summary import ARM_COLUMNS
from agentark.records.evaluations import EvaluationRow, PerplexityRow
from agentark.records.files import read_rows
from agentark.traces.steps import split_steps

COLUMNS = {
    "experiment": "experiment; `main` is the run's own grid",
    **ARM_COLUMNS,
    "n_seeds": "training seeds",
    "n": "answers, of all seeds",
    "steps_per_answer": "lines, or sentences of a single paragraph",
    "equations_per_answer": "`a op b = c`, of up to nine numbers",
    "right_equations_share": "how many of them hold, as the grader compares numbers",
    "right_equations_low": "its 95 % interval; all equations about one question are one draw",
    "right_equations_high": "its 95 % interval",
    "checks_share": "answers that say that they check: `let me check`, `to verify`",
    "finds_error_share": "answers that say that something was wrong: `wait`, `that is wrong`",
    "mends_error_share": (
        "answers with a wrong equation before such words, and a right one with the same value on its left behind them"
    ),
    "solutions": "worked solutions whose likelihood was measured",
    "perplexity": "of each solution by itself, then averaged (the paper's)",
    "perplexity_of_tokens": "of all tokens alike; compares models of one tokenizer",
    "bits_per_byte": "compares models of any",
    "bits_per_byte_low": "its 95 % interval over questions",
    "bits_per_byte_high": "its 95 % interval over questions",
    "bits_per_byte_vs_base": "less that of the untrained model on the same solutions: below 0 is better",
    "bits_per_byte_vs_base_low": "its 95 % interval",
    "bits_per_byte_vs_base_high": "its 95 % interval",
}
"""What each is, in order."""


class _Counts:
    """What the answers of one arm do, in sums: a study has millions of answers."""

    def __init__(self) -> None:
        self.seeds: set[int] = set()
        self.n: Counter[str] = Counter()
        self.of_text: dict[str, list[int]] = {}
        """Right equations and all, of each question or text."""

    def add(self, row: EvaluationRow) -> None:
        found = behaviours(row.output)
        self.seeds.add(row.seed)
        self.n.update(
            answers=1,
            steps=len(split_steps(row.output)),
            checks=found.checks,
            finds=found.finds_error,
            mends=found.mends_error,
        )
        sums = self.of_text.setdefault(row.group or row.question_id, [0, 0])
        sums[0] += found.right_equations
        sums[1] += found.equations

    def line(self) -> dict[str, object]:
        n, answers = self.n, self.n["answers"]
        sums = pd.DataFrame(self.of_text.values(), columns=["right", "equations"])
        right, equations = sums.sum()
        low, high = np.clip(_ratio_interval(sums, "right", "equations"), 0, 1) if equations else (None, None)
        return {
            "n_seeds": len(self.seeds),
            "n": answers,
            "steps_per_answer": n["steps"] / answers,
            "equations_per_answer": equations / answers,
            "right_equations_share": right / equations if equations else None,
            "right_equations_low": low,
            "right_equations_high": high,
            "checks_share": n["checks"] / answers,
            "finds_error_share": n["finds"] / answers,
            "mends_error_share": n["mends"] / answers,
        }


def reasoning_table(
    arms: Arms, evaluations: Iterable[Path], perplexities: Iterable[Path], tables: Tables
) -> pd.DataFrame:
    """A line for each arm that answers alone, over its seeds, in the order of `arms`; `COLUMNS` in order."""
    counted: dict[Arm, _Counts] = {}
    for path in evaluations:
        for row in read_rows(path, EvaluationRow):
            # Where there was no call, nobody said anything that could be counted.
            if row.protocol == "single" and row.calls:
                counted.setdefault(arm_of(row, tables, path), _Counts()).add(row)
    likely: dict[Arm, list[dict[str, object]]] = {}
    for path in perplexities:
        for row in read_rows(path, PerplexityRow):
            likely.setdefault(arm_of(row, tables, path), []).append(_nats(row))
    frames = {arm: pd.DataFrame(rows) for arm, rows in likely.items()}
    bases = {(arm.benchmark, arm.model): frame for arm, frame in frames.items() if arm.name == BASE}

    def likelihood(arm: Arm) -> dict[str, object]:
        """A variant that changes how models answer has the perplexities of what it builds on."""
        line = (arm._replace(variant=name) for name in tables.lineage(arm.variant))
        found = next((one for one in line if one in frames), None)
        return _likelihood(frames[found], bases.get((arm.benchmark, arm.model)), arm) if found else {}

    lines = [
        {
            "experiment": tables.experiment,
            **arm._asdict(),
            "method": arm.name,
            "recipe": recipe_of(arm, tables),
            **counted[arm].line(),
            **likelihood(arm),
        }
        for arm in arms
        if arm in counted
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _nats(row: PerplexityRow) -> dict[str, object]:
    return {
        "question": row.question_id,
        "text": row.group or row.question_id,
        "bits": row.nats / log(2),
        "nats_per_token": row.nats / row.tokens,
        "tokens": row.tokens,
        "bytes": row.bytes,
    }


def _likelihood(solutions: pd.DataFrame, base: pd.DataFrame | None, arm: Arm) -> dict[str, object]:
    low, high = _ratio_interval(solutions.groupby("text")[["bits", "bytes"]].sum(), "bits", "bytes")
    line: dict[str, object] = {
        "solutions": solutions["question"].nunique(),
        # As the paper has it: of each solution, then averaged; a few hard ones can decide it.
        "perplexity": np.exp(solutions["nats_per_token"]).mean(),
        "perplexity_of_tokens": np.exp(
            (solutions["nats_per_token"] * solutions["tokens"]).sum() / solutions["tokens"].sum()
        ),
        "bits_per_byte": solutions["bits"].sum() / solutions["bytes"].sum(),
        "bits_per_byte_low": low,
        "bits_per_byte_high": high,
    }
    if base is not None and arm.name != BASE:
        both = solutions.merge(base[["question", "bits"]], on="question", suffixes=("", "_base"))
        both["more"] = both["bits"] - both["bits_base"]
        low, high = _ratio_interval(both.groupby("text")[["more", "bytes"]].sum(), "more", "bytes")
        line |= {
            "bits_per_byte_vs_base": both["more"].sum() / both["bytes"].sum(),
            "bits_per_byte_vs_base_low": low,
            "bits_per_byte_vs_base_high": high,
        }
    return line


def _ratio_interval(sums: pd.DataFrame, above: str, below: str) -> tuple[float, float]:
    """95 % interval of the sum of one column by that of another, for other questions, or texts where they share some.

    The linearised ratio of sums, t with as many degrees of freedom as there are draws less one (Cochran 1977, Sampling
    techniques, 6.4).

    Args:
        sums: a row for each question or text, all seeds together: that is what was drawn.
    """
    n, total = len(sums), sums[below].sum()
    if n < 2:
        return -inf, inf
    ratio = sums[above].sum() / total
    half = t.ppf(0.975, n - 1) * sqrt(((sums[above] - ratio * sums[below]) ** 2).sum() * n / (n - 1)) / total
    return ratio - half, ratio + half
