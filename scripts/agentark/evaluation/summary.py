"""Arms to one table: a line for each model and protocol on each benchmark, for each training seed and over them."""

from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from agentark.config.tables import Tables
from agentark.evaluation.arms import ACCURACY, BASE, Answers, Arms, called, n_questions, on_shared_questions, recipe_of
from agentark.evaluation.comparisons import Comparison
from agentark.evaluation.over_seeds import interval
from agentark.evaluation.statistics import wilson

ARM_COLUMNS = {
    "benchmark": "dataset that is scored on",
    "model": "model in the config that answers, or was trained from",
    "method": "method or recipe by its name in the config; `base` is untrained",
    "recipe": "its trainings one after another, `rsft-pad`; empty for the untrained",
    "variant": "whose settings it was made with",
    "protocol": "`single`, `self_consistency`, `first_round_vote`, or what the teacher's agents hold",
    "teacher": "whose debates it was trained on",
    "train_set": "dataset that the debates were about",
}
COLUMNS = {
    "experiment": "experiment; `main` is the run's own grid",
    **ARM_COLUMNS,
    "seed": "training seed; empty over seeds",
    "n_seeds": "training seeds in this row",
    "n": "questions that all of them answered",
    "n_left_out": "questions that some of them did not",
    "metric": "`accuracy`; answers in words also have `f1`, `rouge1`, `rouge2`, `rouge_l`",
    "judged_by": "the metric that the benchmark is judged by",
    "score": "mean of the metric, from 0 to 1",
    "ci_low": "its 95 % interval",
    "ci_high": "its 95 % interval",
    "difference_points": (
        "score less that of the untrained model's single answers on the same questions, times 100; empty where "
        "there are none"
    ),
    "p_value": "of that difference, two-sided",
    "p_holm": (
        "after Holm's correction over the comparisons of the experiment; empty where the row does not speak for its arm"
    ),
    "n_better": "questions on which the arm is better than the untrained model (over seeds: in sum)",
    "n_worse": "questions on which it is worse",
    "calls_per_question": "requests to a model",
    "prompt_tokens_per_question": "tokens read",
    "output_tokens_per_question": "tokens written",
    "seconds_per_question": "wall seconds of the evaluation by its questions; empty where unknown",
    "truncated_share": "answers that ended at their limit",
    "context_cut_share": "answers to a context that was cut to fit",
    "no_answer_share": "replies without an answer",
}
"""What each is, in order."""


def summary(arms: Arms, comparisons: list[Comparison], tables: Tables) -> pd.DataFrame:
    """A line for each arm, metric and training seed and, where there are several, one over them; `COLUMNS` in order.

    `difference_points` compares with the untrained model's single answers on the same questions, in percentage
    points. It is empty where there is no such base (imported debates).
    """
    against_base = {(one.arm, one.seed, one.metric): one for one in comparisons if one.against.name == BASE}
    lines = []
    for arm, by_seed in arms.items():
        groups: list[tuple[int | None, list[Answers]]] = [(seed, [answers]) for seed, answers in by_seed.items()]
        if len(groups) > 1:
            groups.append((None, list(by_seed.values())))
        for seed, answers in groups:
            common = {
                "experiment": tables.experiment,
                **arm._asdict(),
                "method": arm.name,
                "recipe": recipe_of(arm, tables),
                "seed": seed,
                **_cost(answers),
            }
            for metric in answers[0].metrics:
                line = common | _score(answers, metric)
                if compared := against_base.get((arm, seed, metric)):
                    line |= {
                        "difference_points": 100 * compared.result.difference,
                        "p_value": compared.result.p_value,
                        "p_holm": compared.p_holm,
                        "n_better": compared.result.n_better,
                        "n_worse": compared.result.n_worse,
                    }
                lines.append(line)
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _score(answers: list[Answers], metric: str) -> dict[str, object]:
    """A metric on the questions that all seeds answered."""
    values, groups = on_shared_questions(answers, metric)
    if len(answers) > 1 or metric != ACCURACY or groups is not None:
        low, high = interval(values, groups)
    else:
        low, high = wilson(int(values.sum()), len(values))
    return {
        "n": len(values),
        "n_left_out": n_questions(answers) - len(values),
        "metric": metric,
        "score": float(values.mean()),
        "ci_low": low,
        "ci_high": high,
        "judged_by": answers[0].metric,
    }


def _cost(answers: list[Answers]) -> dict[str, object]:
    """What an answer of any seed cost, and what went wrong with it."""
    n = sum(one.n for one in answers)
    return {
        "n_seeds": len(answers),
        **calls_and_tokens(answers),
        "seconds_per_question": sum(one.seconds for one in answers) / n or None,
        "truncated_share": sum(one.truncated for one in answers) / n,
        "context_cut_share": sum(one.context_cut for one in answers) / n,
        "no_answer_share": sum(one.unanswered for one in answers) / n,
    }


def calls_and_tokens(answers: Sequence[Answers]) -> dict[str, float | None]:
    """Of a question; None where no call was told of, as by lm-evaluation-harness."""
    n, known = sum(one.n for one in answers), any(one.calls for one in answers)
    return {
        "calls_per_question": sum(one.calls for one in answers) / n if known else None,
        "prompt_tokens_per_question": sum(one.prompt_tokens for one in answers) / n if known else None,
        "output_tokens_per_question": sum(one.completion_tokens for one in answers) / n if known else None,
    }


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """The lines that speak for their arms: by what the benchmark is judged by, over seeds where there are several."""
    most = table.groupby(list(ARM_COLUMNS), dropna=False)["n_seeds"].transform("max")
    return table[(table["n_seeds"] == most) & (table["metric"] == table["judged_by"])]


def as_text(table: pd.DataFrame, comparisons: list[Comparison]) -> str:
    """For a terminal: what a reader compares first, then the comparisons that the config names."""
    rows = headline(table).to_dict("records")
    labels = {
        "benchmark": [row["benchmark"] for row in rows],
        "model": [row["model"] for row in rows],
        "method": [called(row["variant"], row["method"]) for row in rows],
        "protocol": [row["protocol"] for row in rows],
        "trained on": [_taught(row["teacher"], row["train_set"]) for row in rows],
        "seeds": [str(row["n_seeds"]) for row in rows],
        "metric": [row["metric"] for row in rows],
    }
    several = {*labels["seeds"]} != {"1"}
    if not several:
        del labels["seeds"]
    metrics = {*labels["metric"]}
    if metrics <= {ACCURACY}:
        del labels["metric"]
    if len({*labels["trained on"]} - {""}) < 2:
        del labels["trained on"]
    padded = [_padded(name, values) for name, values in labels.items()]
    heading = f"{ACCURACY if metrics <= {ACCURACY} else 'score'} [95% CI]"
    figures = [
        f"{'n':>5}  {heading:<22} {'vs base':>8} {'p':>8}  {'calls':>5} {'tokens':>7} {'seconds':>8}",
        *map(_figures, rows),
    ]
    lines = ["".join(parts) for parts in zip(*padded, figures, strict=True)]
    lines.append("vs base: points, on the same questions; p: exact McNemar, two-sided; tokens, seconds: a question")
    if several:
        lines.append("with several seeds: interval and p of a t test over questions and seeds")
    if metrics - {ACCURACY}:
        lines.append("f1, rouge_l: of answers in words; interval and p of a t test over the texts that they are about")
    return "\n".join(lines + _named(comparisons)) + "\n"


def _padded(heading: str, values: list[str]) -> list[str]:
    width = max(map(len, [heading, *values]))
    return [f"{value:<{width}}  " for value in [heading, *values]]


def _taught(teacher: object, train_set: object) -> str:
    return f"{teacher}, {train_set}" if pd.notna(teacher) else ""


def _figures(row: dict[Hashable, Any]) -> str:
    interval = f"{100 * row['score']:5.1f}% [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"
    compared = pd.notna(row["difference_points"])
    difference = f"{row['difference_points']:+.1f}" if compared else "-"
    seconds = f"{row['seconds_per_question']:.2f}" if pd.notna(row["seconds_per_question"]) else "-"
    return (
        f"{row['n']:>5}  {interval:<22} {difference:>8} {_p_value(row['p_value']) if compared else '-':>8}  "
        f"{_or_dash(row['calls_per_question']):>5} {_or_dash(row['output_tokens_per_question']):>7} {seconds:>8}"
    )


def _or_dash(value: float) -> str:
    return f"{value:.1f}" if pd.notna(value) else "-"


def _p_value(value: float) -> str:
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def _named(comparisons: list[Comparison]) -> list[str]:
    """A line for each comparison with a trained arm, under what the two have in common."""
    by_heading: dict[str, list[str]] = {}
    for one in comparisons:
        if one.against.name == BASE or one.p_holm is None:
            continue
        arm, result = one.arm, one.result
        low, middle, high = (100 * value for value in (result.low, result.difference, result.high))
        seeds = f" ({one.n_seeds} seeds)" if one.seed is None else ""
        by_heading.setdefault(
            f"\n{arm.benchmark}, {arm.model} trained on {_taught(arm.teacher, arm.train_set)}:", []
        ).append(
            f"  {called(arm.variant, arm.name)} vs {called(one.against.variant, one.against.name)}{seeds}: "
            f"{middle:+.1f} [{low:.1f}, {high:.1f}], p_holm {_p_value(one.p_holm)}, "
            f"could have seen {100 * result.detectable:.1f}"
        )
    return [line for heading, lines in by_heading.items() for line in (heading, *lines)]
