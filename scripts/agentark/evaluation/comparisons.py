"""Arms against others on the same questions: the untrained model, and what the config names.

A variant shares the arms that it does not change with what it builds on, and those are there once, under the variant
that owns them. So an arm of a variant, its base too, is looked for along all that the variant builds on.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from agentark.config.tables import Tables
from agentark.evaluation.arms import ACCURACY, BASE, Arm, Arms, called, on_shared_questions, recipe_of
from agentark.evaluation.over_seeds import paired_over_seeds
from agentark.evaluation.statistics import Paired, paired

COLUMNS = {
    "experiment": "experiment; `main` is the run's own grid",
    "benchmark": "dataset that is scored on",
    "model": "model in the config that answers, or was trained from",
    "teacher": "whose debates it was trained on",
    "train_set": "dataset that the debates were about",
    "variant": "whose settings it was made with",
    "method": "method or recipe by its name in the config; `base` is untrained",
    "recipe": "its trainings one after another, `rsft-pad`; empty for the untrained",
    "protocol": "`single`, `self_consistency`, `first_round_vote`, or what the teacher's agents hold",
    "metric": "`accuracy`; answers in words also have `f1`, `rouge1`, `rouge2`, `rouge_l`",
    "against_variant": "the other arm's variant",
    "against": "the other arm's method or recipe",
    "against_recipe": "its trainings",
    "seed": "training seed; empty over seeds",
    "n_seeds": "seeds that both arms have",
    "n": "questions that both answered under all of them",
    "difference_points": "score less that of the other arm, times 100",
    "ci_low": "its 95 % interval, in points",
    "ci_high": "its 95 % interval, in points",
    "p_value": (
        "two-sided: exact McNemar for one seed of right and wrong answers about texts of their own, else a t test "
        "over questions (or the texts they share) and seeds"
    ),
    "p_holm": "after Holm's correction over the comparisons of the experiment that speak for their arms",
    "n_better": "questions on which the arm is better (over seeds: in sum)",
    "n_worse": "questions on which it is worse",
    "detectable_points": "the smallest true difference that would have been found in four cases of five",
}
"""What each is, in order."""


@dataclass(frozen=True)
class Comparison:
    """One arm against another, under one training seed or over those that both have."""

    arm: Arm
    against: Arm
    seed: int | None
    """None: over seeds."""
    n_seeds: int
    metric: str
    counts: bool
    """Whether it speaks for its arm: a single seed beside the row over seeds only describes it, and so does a metric
    that the benchmark is not judged by."""
    result: Paired
    p_holm: float | None = None
    """Corrected over all comparisons of the experiment that count."""


def compare(arms: Arms, tables: Tables) -> tuple[list[Comparison], list[str]]:
    """All comparisons of an experiment, and a sentence for each that the config names and that cannot be made."""
    skipped: list[str] = []
    pairs = dict.fromkeys([*_with_base(arms, tables), *_named(arms, tables, skipped)])
    order = {arm: number for number, arm in enumerate(arms)}
    found: list[Comparison] = []
    for arm, against in sorted(pairs, key=lambda pair: order[pair[0]]):
        results = list(compared(arm, against, arms))
        if not results:
            names = f"{called(arm.variant, arm.name)} and {called(against.variant, against.name)}"
            skipped.append(f"{names} share no seed or no question of {arm.benchmark}, so they are not compared")
        found += results
    p_values = [one.result.p_value for one in found if one.counts]
    corrected = iter(multipletests(p_values, method="holm")[1] if p_values else [])
    found = [replace(one, p_holm=float(next(corrected))) if one.counts else one for one in found]
    return found, list(dict.fromkeys(skipped))


def comparison_table(comparisons: list[Comparison], tables: Tables) -> pd.DataFrame:
    """One line a comparison, `COLUMNS` in order."""
    lines = [
        {
            **one.arm._asdict(),
            "experiment": tables.experiment,
            "method": one.arm.name,
            "recipe": recipe_of(one.arm, tables),
            "against_variant": one.against.variant,
            "against": one.against.name,
            "against_recipe": recipe_of(one.against, tables),
            "seed": one.seed,
            "n_seeds": one.n_seeds,
            "metric": one.metric,
            "n": one.result.n,
            "difference_points": 100 * one.result.difference,
            "ci_low": 100 * one.result.low,
            "ci_high": 100 * one.result.high,
            "p_value": one.result.p_value,
            "p_holm": one.p_holm,
            "n_better": one.result.n_better,
            "n_worse": one.result.n_worse,
            "detectable_points": 100 * one.result.detectable,
        }
        for one in comparisons
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _with_base(arms: Arms, tables: Tables) -> Iterator[tuple[Arm, Arm]]:
    for arm in arms:
        base = _find(arms, tables, arm._replace(teacher=None, train_set=None, protocol="single", name=BASE))
        if base is not None and base != arm:
            yield arm, base


def _named(arms: Arms, tables: Tables, skipped: list[str]) -> Iterator[tuple[Arm, Arm]]:
    trained = dict.fromkeys(arm._replace(variant="", name="") for arm in arms if arm.name != BASE)
    for left, rights in tables.compare.items():
        only, _, name = left.rpartition("/")
        for variant in [only] if only else tables.variants:
            for right in rights:
                other, _, other_name = right.rpartition("/")
                for one in trained:
                    arm = _find(arms, tables, one._replace(variant=variant, name=name))
                    against = _find(arms, tables, one._replace(variant=other or variant, name=other_name))
                    if arm is not None and against is None:
                        who = f"{called(arm.variant, arm.name)} of {arm.model} on {arm.benchmark}"
                        skipped.append(f"{who}: no {right} is there to compare it with")
                    elif arm is not None and against is not None and arm != against:
                        yield arm, against


def _find(arms: Arms, tables: Tables, arm: Arm) -> Arm | None:
    """The arm in its variant, or in the next one below that has it."""
    return next((one for name in tables.lineage(arm.variant) if (one := arm._replace(variant=name)) in arms), None)


def compared(arm: Arm, against: Arm, arms: Arms) -> Iterator[Comparison]:
    """Comparisons by each metric, for each seed that both have and, for several, over them; none where no question is
    shared."""
    ours, theirs = arms[arm], arms[against]
    if against.name == BASE:
        # It has no training seed, so its one set of answers stands beside each.
        theirs = dict.fromkeys(ours, next(iter(theirs.values())))
    seeds = sorted(ours.keys() & theirs.keys())
    for some in [*([seed] for seed in seeds), *([seeds] if len(seeds) > 1 else [])]:
        answers = [*(ours[seed] for seed in some), *(theirs[seed] for seed in some)]
        for metric in answers[0].metrics:
            shared = on_shared_questions(answers, metric)
            if not len(shared.values):
                break
            values, other = np.hsplit(shared.values, 2)
            if len(some) > 1 or metric != ACCURACY or shared.groups is not None:
                result = paired_over_seeds(values, other, shared.groups)
            else:
                result = paired(values[:, 0], other[:, 0])
            counts = len(some) == len(seeds) and metric == answers[0].metric
            seed = some[0] if len(some) == 1 else None
            yield Comparison(arm, against, seed, len(some), metric, counts, result)
