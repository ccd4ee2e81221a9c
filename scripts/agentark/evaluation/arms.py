"""Evaluation rows to arms: which questions each model and protocol got right under each training seed, and sums.

A row holds a whole answer, and a study has millions of them, so only a byte of each is kept.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agentark.config.methods import joined
from agentark.config.tables import Tables
from agentark.errors import UserError
from agentark.records.evaluations import EvaluationRow
from agentark.records.files import MAKE_ANEW, read_rows

BASE = "base"
METHODS = [BASE, "answer_only", "single_cot", "majority", "rejection", "rsft", "da", "pad"]
"""In the order of what they know: a control stands before what it is a control for."""
PROTOCOLS = ["single", "first_round_vote", "self_consistency"]
"""They come first, in this order; what a teacher's agents held comes after them."""
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
    """An arm's answers under one training seed."""

    def __init__(self) -> None:
        self.marks = bytearray()
        self.n = self.n_f1 = self.calls = self.prompt_tokens = self.completion_tokens = 0
        self.truncated = self.context_cut = self.unanswered = 0
        self.seconds = self.f1 = 0.0

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
        self.n += 1
        self.calls += row.calls
        self.prompt_tokens += row.prompt_tokens
        self.completion_tokens += row.completion_tokens
        self.seconds += row.seconds
        self.truncated += row.truncated
        self.context_cut += row.context_cut
        self.unanswered += row.answer is None
        if row.f1 is not None:
            self.f1 += row.f1
            self.n_f1 += 1
        return True


Arms = dict[Arm, dict[int, Answers]]
"""The answers of every arm by training seed, in the order of the tables."""


def read_arms(paths: Iterable[Path], tables: Tables) -> Arms:
    """All arms that the rows are about.

    Raises:
        UserError: a row's variant or recipe is none of the experiment's, or a question is answered twice.
    """
    names = {joined(methods): name for name, methods in tables.recipes.items()}
    arms: defaultdict[Arm, dict[int, Answers]] = defaultdict(lambda: defaultdict(Answers))
    places: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for path in paths:
        for row in read_rows(path, EvaluationRow):
            name = names.get(row.recipe) if row.recipe else BASE
            if name is None or row.variant not in tables.variants:
                what = f"variant `{row.variant}`" if name else f"recipe `{row.recipe}`"
                raise UserError(f"{path}: {what} is not one of the experiment `{tables.experiment}`; {MAKE_ANEW}")
            arm = Arm(row.benchmark, row.model, row.teacher, row.train_set, row.protocol, row.variant, name)
            known = places[row.benchmark]
            if not arms[arm][row.seed].add(known.setdefault(row.question_id, len(known)), row):
                raise UserError(f"{path}: `{row.question_id}` is answered twice; {MAKE_ANEW}")
    variants = list(tables.variants)

    def position(arm: Arm) -> tuple[object, ...]:
        methods = tables.recipes.get(arm.name, [BASE])
        protocol = PROTOCOLS.index(arm.protocol) if arm.protocol in PROTOCOLS else len(PROTOCOLS)
        how = METHODS.index(methods[-1]), len(methods), arm.name
        trained = arm.teacher or "", arm.train_set or "", variants.index(arm.variant)
        return arm.benchmark, *how, arm.model, protocol, *trained

    return {arm: dict(sorted(arms[arm].items())) for arm in sorted(arms, key=position)}


def on_shared_questions(answers: Sequence[Answers]) -> np.ndarray:
    """(Q, len(answers)) bool: which were right, on the Q questions that all of them answered."""
    # Questions past the shortest were not asked there.
    shortest = min(len(one.marks) for one in answers)
    marks = np.array([np.frombuffer(one.marks, np.uint8, shortest) for one in answers])
    return (marks[:, marks.all(axis=0)] == RIGHT).T


def n_questions(answers: Sequence[Answers]) -> int:
    """Questions that any of them answered."""
    return len(set().union(*(np.flatnonzero(np.frombuffer(one.marks, np.uint8)).tolist() for one in answers)))


def recipe_of(arm: Arm, tables: Tables) -> str | None:
    """Its trainings one after another, `rsft-pad`; None for the untrained."""
    return joined(tables.recipes[arm.name]) if arm.name != BASE else None


def called(variant: str, name: str) -> str:
    """`pad`, or `long/pad` in a variant."""
    return name if variant == "main" else f"{variant}/{name}"
