"""How models reason, beside whether they are right: what their single answers do, counted without a judge."""

from collections.abc import Iterable
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from agentark.config.tables import Tables
from agentark.evaluation.arms import Arm, Arms, arm_of, recipe_of
from agentark.evaluation.behaviours import behaviours
from agentark.evaluation.summary import ARM_COLUMNS
from agentark.records.evaluations import EvaluationRow
from agentark.records.files import read_rows
from agentark.traces.steps import split_steps

COLUMNS = [
    "experiment",
    *ARM_COLUMNS,
    "n_seeds",
    "n",
    "steps_per_answer",
    "equations_per_answer",
    "right_equations_share",
    "right_equations_low",
    "right_equations_high",
    "checks_share",
    "finds_error_share",
    "mends_error_share",
]


def reasoning_table(arms: Arms, evaluations: Iterable[Path], tables: Tables) -> pd.DataFrame:
    """A line for each arm that answers alone, over its seeds, in the order of `arms`; `COLUMNS` in order."""
    counted: dict[Arm, list[dict[str, object]]] = {}
    for path in evaluations:
        for row in read_rows(path, EvaluationRow):
            if row.protocol == "single":
                counted.setdefault(arm_of(row, tables, path), []).append(_counts(row))
    lines = [
        {
            "experiment": tables.experiment,
            **arm._asdict(),
            "method": arm.name,
            "recipe": recipe_of(arm, tables),
            **_line(pd.DataFrame(counted[arm])),
        }
        for arm in arms
        if arm in counted
    ]
    return pd.DataFrame(lines, columns=COLUMNS)


def _counts(row: EvaluationRow) -> dict[str, object]:
    found = behaviours(row.output)
    return {
        "seed": row.seed,
        "text": row.group or row.question_id,
        "steps": len(split_steps(row.output)),
        "equations": found.equations,
        "right": found.right_equations,
        "checks": found.checks,
        "finds": found.finds_error,
        "mends": found.mends_error,
    }


def _line(answers: pd.DataFrame) -> dict[str, object]:
    n_equations = answers["equations"].sum()
    share = answers["right"].sum() / n_equations if n_equations else None
    low, high = _ratio_interval(answers, share) if share is not None else (None, None)
    return {
        "n_seeds": answers["seed"].nunique(),
        "n": len(answers),
        "steps_per_answer": answers["steps"].mean(),
        "equations_per_answer": answers["equations"].mean(),
        "right_equations_share": share,
        "right_equations_low": low,
        "right_equations_high": high,
        "checks_share": answers["checks"].mean(),
        "finds_error_share": answers["finds"].mean(),
        "mends_error_share": answers["mends"].mean(),
    }


def _ratio_interval(answers: pd.DataFrame, share: float) -> tuple[float, float]:
    """95 % interval of right equations by all equations, for other questions, or texts where they share some.

    All equations of one question, of all seeds, are one draw: the linearised ratio of sums, t with as many degrees of
    freedom as there are draws less one (Cochran 1977, Sampling techniques, 6.4).
    """
    sums = answers.groupby("text")[["right", "equations"]].sum()
    n = len(sums)
    if n < 2:
        return 0.0, 1.0
    rest = sums["right"] - share * sums["equations"]
    half = t.ppf(0.975, n - 1) * sqrt((rest**2).sum() * n / (n - 1)) / sums["equations"].sum()
    low, high = np.clip([share - half, share + half], 0, 1)
    return float(low), float(high)
