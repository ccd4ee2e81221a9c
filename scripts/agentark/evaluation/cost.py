"""What an answer of each arm costs, what it took to make a student, and after how many questions that has paid.

Seconds are of accelerators where jobs had any, else of the machine, as `manifest.run.json` has them, which every job
leaves.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agentark.config.tables import Tables
from agentark.evaluation.arms import BASE, PROTOCOLS, Answers, Arms, recipe_of
from agentark.evaluation.summary import ARM_COLUMNS, calls_and_tokens
from agentark.provenance.lineage import Artefact, artefacts, makers_of_files

STEPS = {
    "debates": "debates",
    "traces": "sets",
    "verdicts": "sets",
    "judgements": "sets",
    "step values": "sets",
    "set": "sets",
    "prm": "reward_model",
    "pass rates": "training",
    "student": "training",
}
"""Kind of artefact -> what its seconds are counted as. What is not here costs as much without any distillation, or only
measures what it made."""
COLUMNS = {
    "experiment": "experiment; `main` is the run's own grid",
    **ARM_COLUMNS,
    "n_seeds": "training seeds",
    "n": "answers, of all seeds",
    "judged_by": "the metric of `score`",
    "score": "mean over seeds",
    "calls_per_question": "requests to a model",
    "prompt_tokens_per_question": "tokens read",
    "output_tokens_per_question": "tokens written",
    "seconds_per_question": (
        "seconds of the evaluation by its questions, times the accelerators that it had; all questions are asked "
        "at once, on one engine; empty for logged debates and for a debate's first round, whose own time is not "
        "known"
    ),
    "latency_p50_s": (
        "from a question to its answer, round after round, in that crowd; with nobody else asking it is less"
    ),
    "latency_p95_s": "the same, of the slowest twentieth",
    "pareto": (
        "no arm on the benchmark is as good for less time, or better for as much; debates and votes answer a share of "
        "its questions only (`evaluation.baseline_share`)"
    ),
    "debates_seconds": "of the debates that the student was made from",
    "sets_seconds": "of traces, verdicts and sets",
    "reward_model_seconds": "of its reward model",
    "training_seconds": "of its trainings",
    "made_in_seconds": (
        "of all four: by the attempts that came to an end, of accelerators if any job had some, else of the "
        "machine; what several students share counts in full for each"
    ),
    "pays_after_questions": (
        "`made_in_seconds` by what an answer of the student takes less than its teacher's agents on the "
        "benchmark; empty where it takes no less"
    ),
}
"""What each is, in order."""


@dataclass(frozen=True)
class Spent:
    """What one evaluated model took to make, and what asking it takes."""

    by_step: Mapping[str, float]
    """Seconds by `STEPS`; empty for the untrained."""
    accelerators: int
    """That answer one question together; 1 for a machine without any."""


def spent(run: Path, evaluations: Iterable[Path]) -> dict[Path, Spent]:
    """What stands behind each file of evaluation rows, by its path; jobs without a record count nothing.

    A job that several students share, as the debates, counts in full for each: so much would one of them alone cost.
    """
    makers = makers_of_files(artefacts(run))
    return {path: _spent(makers.get(path.resolve()), makers) for path in evaluations}


def _spent(evaluation: Artefact | None, makers: Mapping[Path, Artefact]) -> Spent:
    if evaluation is None:
        return Spent({}, 1)
    todo, seen = [evaluation], {evaluation.path: evaluation}
    while todo:
        for parent in todo.pop().parents:
            maker = makers.get(parent)
            if maker and maker.path not in seen:
                seen[maker.path] = maker
                todo.append(maker)
    kinds = {one.path: one.content["kind"] for one in seen.values()}
    jobs = [(STEPS[kind], _record(path)) for path, kind in kinds.items() if kind in STEPS]
    unit = "accelerator_seconds" if any(record.get("accelerators") for _, record in jobs) else "wall_seconds"
    by_step: dict[str, float] = {}
    if "student" in kinds.values():
        for step, record in jobs:
            by_step[step] = by_step.get(step, 0.0) + record.get(unit, 0.0)
    return Spent(by_step, len(_record(evaluation.path).get("accelerators", [])) or 1)


def _record(manifest: Path) -> dict[str, Any]:
    try:
        return json.loads(manifest.with_suffix(".run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def cost(arms: Arms, behind: Mapping[Path, Spent], tables: Tables) -> pd.DataFrame:
    """A line an arm, over its seeds; `COLUMNS` in order.

    Args:
        behind: of each file of rows (`spent`).
    """
    lines = [
        {
            "experiment": tables.experiment,
            **arm._asdict(),
            "method": arm.name,
            "recipe": recipe_of(arm, tables),
            **_line([(answers, behind[answers.path]) for answers in by_seed.values()]),
        }
        for arm, by_seed in arms.items()
    ]
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    table["pareto"] = [_on_front(line, table) for _, line in table.iterrows()]
    table["pays_after_questions"] = [_pays_after(line, table, tables) for _, line in table.iterrows()]
    return table


def _line(of_seeds: list[tuple[Answers, Spent]]) -> dict[str, object]:
    answers, spents = zip(*of_seeds, strict=True)
    n = sum(one.n for one in answers)
    asking = sum(one.seconds * its.accelerators for one, its in of_seeds) / n
    latencies = np.concatenate([one.latencies for one in answers])
    known = bool(latencies.any())
    made = {step: float(np.mean([its.by_step.get(step, 0.0) for its in spents])) for step in STEPS.values()}
    trained = any(its.by_step for its in spents)
    return {
        "n_seeds": len(answers),
        "n": n,
        "judged_by": answers[0].metric,
        "score": float(np.mean([one.score for one in answers])),
        **calls_and_tokens(answers),
        "seconds_per_question": asking or None,
        "latency_p50_s": float(np.quantile(latencies, 0.5)) if known else None,
        "latency_p95_s": float(np.quantile(latencies, 0.95)) if known else None,
        **{f"{step}_seconds": seconds if trained else None for step, seconds in made.items()},
        "made_in_seconds": sum(made.values()) if trained else None,
    }


def _on_front(line: pd.Series, table: pd.DataFrame) -> bool | None:
    """Whether no arm on the same benchmark is as good for less, or better for as much; None where time is not known."""
    if pd.isna(line["seconds_per_question"]):
        return None
    same = table[table["benchmark"] == line["benchmark"]]
    score, seconds = same["score"], same["seconds_per_question"].fillna(inf)
    as_good = (score >= line["score"]) & (seconds <= line["seconds_per_question"])
    better = (score > line["score"]) | (seconds < line["seconds_per_question"])
    return not bool((as_good & better).any())


def _pays_after(line: pd.Series, table: pd.DataFrame, tables: Tables) -> int | None:
    """Questions after which making the student and asking it has cost less than asking its teacher's agents.

    They are those of its variant, or of the next one below that has some of its own.
    """
    if line["method"] == BASE or line[["made_in_seconds", "seconds_per_question"]].isna().any():
        return None
    debates = table[
        (table["method"] == BASE)
        & (table["model"] == line["teacher"])
        & (table["benchmark"] == line["benchmark"])
        & ~table["protocol"].isin(PROTOCOLS)
    ].set_index("variant")["seconds_per_question"]
    seconds = next((debates[name] for name in tables.lineage(line["variant"]) if name in debates), None)
    saved = seconds - line["seconds_per_question"] if pd.notna(seconds) else 0
    return ceil(line["made_in_seconds"] / saved) if saved > 0 else None
