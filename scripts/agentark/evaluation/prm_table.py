"""Reward models' scores to one table: a line for each measure and judge, for each training seed and over them.

Judges that know nothing of mathematics stand in the same table: a reward model that does not beat them has not been
shown to know more than they do.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from agentark.evaluation import canaries
from agentark.evaluation.best_of_n import selections
from agentark.evaluation.published import PROCESSBENCH_F1
from agentark.evaluation.step_quality import (
    MEASURES,
    Estimate,
    JudgedSteps,
    OfWeights,
    auroc,
    estimate,
    length_bias,
    of_questions,
    position_bias,
)
from agentark.records.scores import ScoredTrace

WHOSE = ["variant", "teacher", "train_set", "model", "benchmark"]
COLUMNS = [*WHOSE, "seed", "n_seeds", "measure", "judge", "against", "value", "ci_low", "ci_high", "questions", "n"]
OURS = "reward model"
TRIVIAL = ("random", "always right", "length", "position", "log-probability")
BEST_OF_N, PLANTED, FIRST_ERROR = "best_of_n", "planted_errors", "first_error_f1"
IN_PROBABILITIES = (OURS, "random", "always right")
"""Judges whose scores can be calibrated."""

Lines = list[dict[str, Any]]


def prm_table(rows: Iterable[ScoredTrace], published: Mapping[str, str]) -> pd.DataFrame:
    """The table, `COLUMNS` in order.

    Args:
        published: parts of ProcessBench, by the name of the step benchmark that is one.
    """
    groups: dict[tuple[str, ...], dict[int, list[ScoredTrace]]] = {}
    for row in rows:
        whose = tuple(getattr(row, name) for name in WHOSE)
        groups.setdefault(whose, {}).setdefault(row.seed, []).append(row)
    lines: Lines = []
    for whose, by_seed in groups.items():
        seeds: list[tuple[int | None, list[list[ScoredTrace]]]] = [(seed, [found]) for seed, found in by_seed.items()]
        if len(seeds) > 1:
            seeds.append((None, list(by_seed.values())))
        for seed, of_seeds in seeds:
            about = dict(zip(WHOSE, whose, strict=True)) | {"seed": seed, "n_seeds": len(of_seeds)}
            lines += [about | line for line in measured(of_seeds)]
    lines += [
        {"benchmark": name, "measure": FIRST_ERROR, "judge": judge, "value": figures[part] / 100}
        for name, part in published.items()
        for judge, figures in PROCESSBENCH_F1.items()
    ]
    table = pd.DataFrame(lines, columns=COLUMNS)
    return table.astype({"seed": "Int64", "n_seeds": "Int64", "questions": "Int64", "n": "Int64"})


def measured(of_seeds: Sequence[Sequence[ScoredTrace]]) -> Lines:
    """All measures of one reward model on one benchmark: the mean over its training seeds, on the same questions."""
    # By id, which is a hash: halves of the questions by their numbers are as good as drawn.
    ids = {key: number for number, key in enumerate(sorted({row.question_id for rows in of_seeds for row in rows}))}
    return [*_of_steps(of_seeds, ids), *_of_choices(of_seeds, ids), *_of_planted(of_seeds, ids)]


def _line(measure: str, judge: str, found: Estimate, n_questions: int, n: int, against: str | None = None) -> dict:
    interval = {"value": found.value, "ci_low": found.low, "ci_high": found.high}
    return {"measure": measure, "judge": judge, "against": against, **interval, "questions": n_questions, "n": n}


def _mean(of: Sequence[OfWeights]) -> OfWeights:
    return lambda often: float(np.mean([one(often) for one in of]))


def _minus(one: OfWeights, other: OfWeights) -> OfWeights:
    return lambda often: one(often) - other(often)


def _of_steps(of_seeds: Sequence[Sequence[ScoredTrace]], ids: Mapping[str, int]) -> Lines:
    """How well each judge tells right steps from wrong ones, and how far ahead of the others the reward model is."""
    judged: dict[str, list[JudgedSteps]] = {}
    lengths: list[np.ndarray] = []
    for rows in of_seeds:
        known = [row for row in rows if row.planted is None and row.right]
        if not known:
            return []
        by_judge, length = judges(known, ids)
        lengths.append(length)
        for judge, steps in by_judge.items():
            judged.setdefault(judge, []).append(steps)
    n, n_steps = len(ids), len(judged[OURS][0].right)
    lines = []
    for name, measure in MEASURES.items():
        for judge, seeds in judged.items():
            if name == "calibration_error" and judge not in IN_PROBABILITIES:
                continue
            of = _mean([of_questions(steps, measure) for steps in seeds])
            lines.append(_line(name, judge, estimate(of, n), n, n_steps))
    by_length = [of_questions(one, length_bias(length)) for one, length in zip(judged[OURS], lengths, strict=True)]
    by_place = [of_questions(one, position_bias) for one in judged[OURS]]
    for name, biases in (("length_bias", by_length), ("position_bias", by_place)):
        lines.append(_line(name, OURS, estimate(_mean(biases), n), n, n_steps))
    ours = _mean([of_questions(steps, auroc) for steps in judged[OURS]])
    for judge in TRIVIAL:
        ahead = _minus(ours, _mean([of_questions(steps, auroc) for steps in judged[judge]]))
        lines.append(_line("auroc", OURS, estimate(ahead, n), n, n_steps, against=judge))
    return lines


def judges(rows: Sequence[ScoredTrace], ids: Mapping[str, int]) -> tuple[dict[str, JudgedSteps], np.ndarray]:
    """The labelled steps with the scores of each judge, and the steps' lengths (N,).

    Whether long or short, early or late steps are taken for the right ones is what is better on these very steps, which
    does those judges a favour.
    """
    places = [(number, i) for number, row in enumerate(rows) for i in range(len(row.right))]

    def steps(value: Callable[[ScoredTrace, int], float]) -> JudgedSteps:
        return JudgedSteps(
            scores=np.array([value(rows[number], i) for number, i in places], dtype=float),
            right=np.array([rows[number].right[i] for number, i in places], dtype=bool),
            question=np.array([ids[rows[number].question_id] for number, _ in places], dtype=int),
            trace=np.array([number for number, _ in places], dtype=int),
        )

    def either_way(value: Callable[[ScoredTrace, int], float]) -> JudgedSteps:
        up = steps(value)
        falls = of_all(auroc, up) < 0.5
        return steps(lambda row, i: -value(row, i)) if falls else up

    generator = np.random.default_rng(0)
    found = {
        OURS: steps(lambda row, i: row.scores[i]),
        "random": steps(lambda row, i: generator.random()),
        "always right": steps(lambda row, i: 1.0),
        "length": either_way(lambda row, i: row.lengths[i]),
        "position": either_way(lambda row, i: i),
        "log-probability": steps(lambda row, i: row.log_probabilities[i]),
    }
    return found, np.array([rows[number].lengths[i] for number, i in places], dtype=float)


def of_all(measure: Callable[[JudgedSteps], OfWeights], steps: JudgedSteps) -> float:
    """The measure where every step counts once."""
    return measure(steps)(np.ones(len(steps.right)))


def _of_choices(of_seeds: Sequence[Sequence[ScoredTrace]], ids: Mapping[str, int]) -> Lines:
    """Accuracy of each way of choosing among a debate's answers, and how far each is ahead of the vote."""
    found: dict[str, list[np.ndarray]] = {}
    n_candidates = 0
    for rows in of_seeds:
        questions: list[list[ScoredTrace]] = [[] for _ in ids]
        for row in rows:
            if row.source == "debate" and row.planted is None and row.answer is not None:
                questions[ids[row.question_id]].append(row)
        n_candidates = sum(map(len, questions))
        for name, chances in selections(questions).items():
            found.setdefault(name, []).append(chances)
    if not n_candidates:
        return []

    def share(chances: np.ndarray) -> OfWeights:
        return lambda often: float(often @ chances / often.sum())

    lines, n = [], len(ids)
    vote = np.mean(found["vote"], axis=0)
    for name, chances in found.items():
        mean = np.mean(chances, axis=0)
        lines.append(_line(BEST_OF_N, name, estimate(share(mean), n), n, n_candidates))
        if name not in ("vote", "oracle"):
            ahead = estimate(share(mean - vote), n)
            lines.append(_line(BEST_OF_N, name, ahead, n, n_candidates, against="vote"))
    return lines


def _of_planted(of_seeds: Sequence[Sequence[ScoredTrace]], ids: Mapping[str, int]) -> Lines:
    """Share of pairs in which the clean trace has the better reward than the one with a planted error, ties half."""
    wins: dict[str, list[tuple[int, float]]] = {}
    for rows in of_seeds:
        clean = {row.trace_id: row.rewards["softmin"] for row in rows if row.planted == canaries.CLEAN}
        for row in rows:
            if row.planted in canaries.KINDS:
                ours, theirs = clean[row.trace_id], row.rewards["softmin"]
                pair = ids[row.question_id], (ours > theirs) + (ours == theirs) / 2
                wins.setdefault(row.planted, []).append(pair)
    lines = []
    every = [pair for found in wins.values() for pair in found]
    for kind, pairs in {"all": every, **wins}.items():
        question, won = np.array([q for q, _ in pairs], dtype=int), np.array([win for _, win in pairs])

        def share(often: np.ndarray, question: np.ndarray = question, won: np.ndarray = won) -> float:
            weights = often[question]
            return float(weights @ won / weights.sum()) if weights.sum() else float("nan")

        if pairs:
            n_pairs = len(pairs) // len(of_seeds)
            lines.append(_line(f"{PLANTED}:{kind}", OURS, estimate(share, len(ids)), len(ids), n_pairs))
    return lines


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """The lines that speak for a reward model: over seeds where there are several; published figures stay."""
    most = table.groupby(WHOSE, dropna=False)["n_seeds"].transform("max")
    return table[table["n_seeds"].isna() | (table["n_seeds"] == most)]


def as_text(table: pd.DataFrame) -> str:
    """What a reader looks at first, for the terminal: a line a reward model and benchmark."""
    rows = headline(table)
    lines = [
        f"{'reward model':<16} {'variant':<12} {'benchmark':<18} {'seeds':>5} {'n':>5}  {'steps [95% CI]':<20} "
        f"{'best other':<22} {'ahead':<6} {'first error':>11}  {'planted':>7}  {'vote':>6} {'picked':>6} {'oracle':>6}"
    ]
    for whose, found in rows[rows["n_seeds"].notna()].groupby(WHOSE, sort=False):
        about = dict(zip(WHOSE, whose, strict=True))
        own = found[found["against"].isna()].set_index(["measure", "judge"])["value"].to_dict()
        some = found.iloc[0]
        lines.append(
            f"{about['model']:<16} {about['variant']:<12} {about['benchmark']:<18} {some['n_seeds']:>5} "
            f"{some['questions']:>5}  {_steps(found, own)}  {_share(own, FIRST_ERROR, OURS):>11}  "
            f"{_share(own, f'{PLANTED}:all', OURS):>7}  "
            + " ".join(f"{_share(own, BEST_OF_N, way):>6}" for way in ("vote", "softmin", "oracle"))
        )
    lines += [
        "steps: AUROC of right against wrong ones; ahead: of all judges that know nothing, with the whole interval;",
        "planted: how often a clean trace wins; vote, picked, oracle: right answers of a debate's, picked by softmin",
    ]
    return "\n".join(lines) + "\n"


def _steps(found: pd.DataFrame, own: Mapping[tuple[str, str], float]) -> str:
    if ("auroc", OURS) not in own:
        return f"{'-':<20} {'-':<22} {'-':<5}"
    ours = found[(found["measure"] == "auroc") & (found["judge"] == OURS)]
    value = ours[ours["against"].isna()].iloc[0]
    best = max(TRIVIAL, key=lambda judge: own["auroc", judge])
    ahead = "yes" if (ours[ours["against"].notna()]["ci_low"] > 0).all() else "no"
    interval = f"{value['value']:.3f} [{value['ci_low']:.3f}, {value['ci_high']:.3f}]"
    other = f"{best} {own['auroc', best]:.3f}"
    return f"{interval:<20} {other:<22} {ahead:<5}"


def _share(own: Mapping[tuple[str, str], float], measure: str, judge: str) -> str:
    value = own.get((measure, judge))
    return "-" if value is None or np.isnan(value) else f"{value:.1%}"
