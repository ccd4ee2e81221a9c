"""Evaluation rows to arms: which questions each model and protocol got right under each training seed, and sums.

A row holds a whole answer, and a study has millions of them, so only a byte of each is kept.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agentark.config.methods import joined
from agentark.config.tables import Tables
from agentark.errors import UserError
from agentark.records.evaluations import EvaluationRow, PerplexityRow
from agentark.records.files import MAKE_ANEW, read_rows

BASE = "base"
METHODS = [BASE, "answer_only", "single_cot", "majority", "rejection", "rsft", "da", "pad"]
"""In the order of what they know: a control stands before what it is a control for."""
PROTOCOLS = ["single", "first_round_vote", "self_consistency"]
"""They come first, in this order; what a teacher's agents held comes after them."""
ACCURACY = "accuracy"
WRONG, RIGHT = 1, 2
"""Marks of a question; 0 is one that was not asked."""


class Arm(NamedTuple):
    """What is compared: a model and how it was trained and asked, under all its training seeds."""

    benchmark: str
    model: str
    teacher: str | None
    train_set: str | None
    protocol: str
    variant: str
    name: str
    """The recipe's in the config, or `base`."""


class Answers:
    """An arm's answers under one training seed.

    Args:
        path: file of the rows.
        groups: of each place a number, the same for questions about the same text.
    """

    def __init__(self, path: Path, groups: "array[int]") -> None:
        self.path = path
        self.marks = bytearray()
        self.scores: dict[str, array[float]] = {}
        """By metric, in the places of `marks`; single precision."""
        self.metric = ACCURACY
        self.n = self.calls = self.prompt_tokens = self.completion_tokens = 0
        self.truncated = self.context_cut = self.unanswered = 0
        self.seconds = 0.0
        self.latencies: array[float] = array("f")
        self.groups = groups

    def add(self, place: int, row: EvaluationRow) -> bool:
        """Keep what the tables need of a row; False if that question has been answered already.

        Args:
            place: of the question among those of its benchmark.
        """
        if place >= len(self.marks):
            self.marks.extend(bytes(place + 1 - len(self.marks)))
        if self.marks[place]:
            return False
        self.marks[place] = RIGHT if row.correct else WRONG
        for name, value in row.scores.items():
            kept = self.scores.setdefault(name, array("f"))
            kept.extend([0.0] * (place + 1 - len(kept)))
            kept[place] = value
        self.metric = row.metric
        self.n += 1
        self.calls += row.calls
        self.prompt_tokens += row.prompt_tokens
        self.completion_tokens += row.completion_tokens
        self.seconds += row.seconds
        if row.calls:
            self.latencies.append(row.latency_s)
        self.truncated += row.truncated
        self.context_cut += row.context_cut
        self.unanswered += row.answer is None
        return True

    @property
    def score(self) -> float:
        """By what the benchmark is judged by, on all questions that were asked."""
        return (self.marks.count(RIGHT) if self.metric == ACCURACY else sum(self.scores[self.metric])) / self.n

    @property
    def metrics(self) -> list[str]:
        return [ACCURACY, *self.scores]


Arms = dict[Arm, dict[int, Answers]]
"""The answers of every arm by training seed, in the order of the tables."""


def arm_of(row: EvaluationRow | PerplexityRow, tables: Tables, path: Path) -> Arm:
    """The arm that an evaluation row is of.

    Args:
        path: of the row's file, for the message.

    Raises:
        UserError: its variant or recipe is none of the experiment's.
    """
    name = tables.named.get(row.recipe) if row.recipe else BASE
    if name is None or row.variant not in tables.variants:
        what = f"variant `{row.variant}`" if name else f"recipe `{row.recipe}`"
        raise UserError(f"{path}: {what} is not one of the experiment `{tables.experiment}`; {MAKE_ANEW}")
    return Arm(row.benchmark, row.model, row.teacher, row.train_set, row.protocol, row.variant, name)


def read_arms(paths: Iterable[Path], tables: Tables) -> Arms:
    """All arms that the rows are about.

    Raises:
        UserError: a row's variant or recipe is none of the experiment's, or a question is answered twice.
    """
    arms: defaultdict[Arm, dict[int, Answers]] = defaultdict(dict)
    places: defaultdict[str, dict[str, int]] = defaultdict(dict)
    groups: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
    numbers: dict[tuple[str, str], int] = {}
    for path in paths:
        for row in read_rows(path, EvaluationRow):
            arm = arm_of(row, tables, path)
            # A changed question stands in the place of the one that it was made from.
            clean = tables.perturbed.get(row.benchmark)
            benchmark, question = (clean, row.origin_id) if clean else (row.benchmark, row.question_id)
            known, group = places[benchmark], groups[benchmark]
            place = known.setdefault(question, len(known))
            if place == len(group):
                # A question that shares its text with none is a group of its own.
                group.append(numbers.setdefault((benchmark, row.group or question), len(numbers)))
            answers = arms[arm].get(row.seed)
            if answers is None:
                answers = arms[arm][row.seed] = Answers(path, group)
            if not answers.add(place, row):
                raise UserError(f"{path}: `{row.question_id}` is answered twice; {MAKE_ANEW}")
    variants = list(tables.variants)

    def position(arm: Arm) -> tuple[object, ...]:
        methods = tables.recipes.get(arm.name, [BASE])
        protocol = PROTOCOLS.index(arm.protocol) if arm.protocol in PROTOCOLS else len(PROTOCOLS)
        how = METHODS.index(methods[-1]), len(methods), arm.name
        trained = arm.teacher or "", arm.train_set or "", variants.index(arm.variant)
        return arm.benchmark, *how, arm.model, protocol, *trained

    return {arm: dict(sorted(arms[arm].items())) for arm in sorted(arms, key=position)}


class Shared(NamedTuple):
    """What several answers say of the Q questions that all of them are about."""

    values: np.ndarray
    """(Q, len(answers)): bool, right or wrong, or float, of another metric."""
    groups: np.ndarray | None
    """(Q,) int, where some questions are about the same text; else None."""


def on_shared_questions(answers: Sequence[Answers], metric: str = ACCURACY) -> Shared:
    """The values of a metric on the questions that all of them answered."""
    # Questions past the shortest were not asked there.
    shortest = min(len(one.marks) for one in answers)
    marks = np.array([np.frombuffer(one.marks, np.uint8, shortest) for one in answers])
    asked = marks.all(axis=0)
    values = marks == RIGHT if metric == ACCURACY else np.array([one.scores[metric][:shortest] for one in answers])
    groups = np.array(answers[0].groups[:shortest])[asked]
    return Shared(values[:, asked].T, groups if len(np.unique(groups)) < len(groups) else None)


def n_questions(answers: Sequence[Answers]) -> int:
    """Questions that any of them answered."""
    return len(set().union(*(np.flatnonzero(np.frombuffer(one.marks, np.uint8)).tolist() for one in answers)))


def recipe_of(arm: Arm, tables: Tables) -> str | None:
    """Its trainings one after another, `rsft-pad`; None for the untrained."""
    return joined(tables.recipes[arm.name]) if arm.name != BASE else None


def called(variant: str, name: str) -> str:
    """`pad`, or `long/pad` in a variant."""
    return name if variant == "main" else f"{variant}/{name}"
