"""What arms lose on questions that were changed where it does not matter, against the same questions as they were."""

import pandas as pd
from statsmodels.stats.multitest import multipletests

from agentark.config.tables import Tables
from agentark.evaluation.arms import Arms, on_shared_questions, recipe_of
from agentark.evaluation.comparisons import compared
from agentark.evaluation.summary import ARM_COLUMNS

COLUMNS = {
    "experiment": "experiment; `main` is the run's own grid",
    **ARM_COLUMNS,
    "clean_benchmark": "the benchmark whose questions were changed",
    "n_seeds": "training seeds",
    "n": "questions that were changed",
    "metric": "what the benchmark is judged by",
    "clean_score": "on the questions as they were",
    "score": "on the changed ones",
    "difference_points": "the second less the first, times 100",
    "ci_low": "its 95 % interval, in points",
    "ci_high": "its 95 % interval, in points",
    "p_value": "two-sided, as in `comparisons.csv`",
    "p_holm": "after Holm's correction over this table",
    "n_better": "questions on which the arm is better when they are changed (over seeds: in sum)",
    "n_worse": "questions on which it is worse",
    "detectable_points": "the smallest true difference that would have been found in four cases of five",
}
"""What each is, in order."""


def robustness(arms: Arms, tables: Tables) -> pd.DataFrame:
    """A line for each arm on each benchmark of changed questions, over its seeds; `COLUMNS` in order.

    The arm's answers to a changed question are paired with those to the question that it was made from, under the same
    seed; a question that could not be changed is not there.
    """
    lines = []
    for arm in arms:
        clean = arm._replace(benchmark=tables.perturbed.get(arm.benchmark, ""))
        for one in compared(arm, clean, arms) if clean in arms else ():
            if not one.counts:
                continue
            seeds = [one.seed] if one.seed is not None else sorted(arms[arm].keys() & arms[clean].keys())
            both = [arms[side][seed] for side in (arm, clean) for seed in seeds]
            values = on_shared_questions(both, one.metric).values
            lines.append(
                {
                    "experiment": tables.experiment,
                    **arm._asdict(),
                    "method": arm.name,
                    "recipe": recipe_of(arm, tables),
                    "clean_benchmark": clean.benchmark,
                    "n_seeds": one.n_seeds,
                    "n": one.result.n,
                    "metric": one.metric,
                    "clean_score": float(values[:, len(seeds) :].mean()),
                    "score": float(values[:, : len(seeds)].mean()),
                    "difference_points": 100 * one.result.difference,
                    "ci_low": 100 * one.result.low,
                    "ci_high": 100 * one.result.high,
                    "p_value": one.result.p_value,
                    "n_better": one.result.n_better,
                    "n_worse": one.result.n_worse,
                    "detectable_points": 100 * one.result.detectable,
                }
            )
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    if len(table):
        table["p_holm"] = multipletests(table["p_value"], method="holm")[1]
    return table
