"""Evaluation rows to one table: a line for each model and protocol on each benchmark."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
from statsmodels.stats.multitest import multipletests

from agentark.evaluation.statistics import paired, wilson
from agentark.records.evaluations import EvaluationRow

COLUMNS = [
    "benchmark",
    "model",
    "method",
    "protocol",
    "teacher",
    "train_set",
    "seed",
    "n",
    "accuracy",
    "ci_low",
    "ci_high",
    "f1",
    "difference_points",
    "p_value",
    "p_holm",
    "n_better",
    "n_worse",
    "calls_per_question",
    "prompt_tokens_per_question",
    "output_tokens_per_question",
    "seconds_per_question",
    "truncated_share",
    "no_answer_share",
]
METHODS = ["base", "answer_only", "single_cot", "majority", "rejection", "rsft", "da", "pad"]
"""In the order of what they know: a control stands before what it is a control for."""
PROTOCOLS = ["single", "first_round_vote", "self_consistency"]
"""They come first, in this order; what a teacher's agents held comes after them."""


@dataclass(frozen=True)
class Arm:
    """What one line of the table is about."""

    benchmark: str
    model: str
    method: str
    protocol: str
    teacher: str | None
    train_set: str | None
    seed: int

    @classmethod
    def of(cls, row: EvaluationRow) -> "Arm":
        return cls(row.benchmark, row.model, row.method, row.protocol, row.teacher, row.train_set, row.seed)


def summary(rows: Iterable[EvaluationRow]) -> pd.DataFrame:
    """One line an arm, `COLUMNS` in order.

    `difference_points` compares with the untrained model's single answers on the same questions, in percentage
    points; `p_value` is exact McNemar, two-sided; `p_holm` corrects it over all comparisons of the table. They are
    empty where there is no such base (imported debates).
    """
    arms: dict[Arm, dict[str, EvaluationRow]] = {}
    for row in rows:
        arms.setdefault(Arm.of(row), {})[row.question_id] = row
    lines = [_line(arm, by_question, arms) for arm, by_question in sorted(arms.items(), key=_position)]
    table = pd.DataFrame(lines, columns=COLUMNS)
    table["p_value"] = table["p_value"].astype("float64")
    tested = table["p_value"].notna()
    if tested.any():
        table.loc[tested, "p_holm"] = multipletests(table.loc[tested, "p_value"], method="holm")[1]
    return table


def _position(item: tuple[Arm, dict[str, EvaluationRow]]) -> tuple[object, ...]:
    arm = item[0]
    method = METHODS.index(arm.method)
    protocol = PROTOCOLS.index(arm.protocol) if arm.protocol in PROTOCOLS else len(PROTOCOLS)
    return arm.benchmark, method, arm.model, protocol, arm.teacher or "", arm.train_set or "", arm.seed


def _line(arm: Arm, rows: dict[str, EvaluationRow], arms: dict[Arm, dict[str, EvaluationRow]]) -> dict[str, object]:
    n = len(rows)
    n_correct = sum(row.correct for row in rows.values())
    low, high = wilson(n_correct, n)
    base = arms.get(Arm(arm.benchmark, arm.model, "base", "single", None, None, 0))
    line: dict[str, object] = {
        "benchmark": arm.benchmark,
        "model": arm.model,
        "method": arm.method,
        "protocol": arm.protocol,
        "teacher": arm.teacher,
        "train_set": arm.train_set,
        "seed": arm.seed,
        "n": n,
        "accuracy": n_correct / n,
        "ci_low": low,
        "ci_high": high,
        "f1": None if any(row.f1 is None for row in rows.values()) else _mean(rows, "f1"),
        "calls_per_question": _mean(rows, "calls"),
        "prompt_tokens_per_question": _mean(rows, "prompt_tokens"),
        "output_tokens_per_question": _mean(rows, "completion_tokens"),
        "seconds_per_question": _mean(rows, "seconds") or None,
        "truncated_share": _mean(rows, "truncated"),
        "no_answer_share": sum(row.answer is None for row in rows.values()) / n,
    }
    if base is not None and base is not rows:
        same = sorted(rows.keys() & base.keys())
        test = paired([rows[q].correct for q in same], [base[q].correct for q in same])
        line |= {
            "difference_points": 100 * test.difference,
            "p_value": test.p_value,
            "n_better": test.n_better,
            "n_worse": test.n_worse,
        }
    return line


def _mean(rows: dict[str, EvaluationRow], field: str) -> float:
    return sum(getattr(row, field) for row in rows.values()) / len(rows)


def as_text(table: pd.DataFrame) -> str:
    """The table for a terminal: what a reader compares first."""
    lines = [
        f"{'benchmark':<14} {'model':<18} {'method':<11} {'protocol':<17} {'n':>5}  "
        f"{'accuracy [95% CI]':<22} {'vs base':>8} {'p':>8}  {'calls':>5} {'tokens':>7} {'seconds':>8}"
    ]
    for row in table.to_dict("records"):
        interval = f"{100 * row['accuracy']:5.1f}% [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"
        compared = pd.notna(row["difference_points"])
        difference = f"{row['difference_points']:+.1f}" if compared else "-"
        p_value = ("<0.0001" if row["p_value"] < 1e-4 else f"{row['p_value']:.4f}") if compared else "-"
        seconds = f"{row['seconds_per_question']:.2f}" if pd.notna(row["seconds_per_question"]) else "-"
        lines.append(
            f"{row['benchmark']:<14} {row['model']:<18} {row['method']:<11} {row['protocol']:<17} {row['n']:>5}  "
            f"{interval:<22} {difference:>8} {p_value:>8}  {row['calls_per_question']:>5.1f} "
            f"{row['output_tokens_per_question']:>7.1f} {seconds:>8}"
        )
    lines.append("vs base: points, on the same questions; p: exact McNemar, two-sided; tokens, seconds: a question")
    return "\n".join(lines) + "\n"
