"""Graded turns, and a verifier's verdicts."""

from typing import Literal

from agentark.records.questions import GoldType, Split
from agentark.records.row import Row

TraceKind = Literal["stable", "corrective", "degraded", "wrong", "aggregate"]


class Trace(Row):
    """Reasoning and final answer of one turn, with its verdict: the unit of training data.

    `kind` compares the turn with the same agent's first round: stable = right from the start, corrective = wrong
    first and right now, degraded = right first and wrong now, wrong = wrong then and now.
    """

    trace_id: str
    question_id: str
    dataset: str
    split: Split
    question: str
    choices: list[str] | None
    gold: str
    gold_type: GoldType
    agent: int
    round: int
    kind: TraceKind
    text: str
    answer: str | None
    correct: bool
    decided_by: Literal["rules", "verifier"] | None
    """Who gave the verdict; None = nobody could, and the trace counts as not correct."""
    consensus: bool
    """The answer equals the debate's consensus (majority of the last round)."""
    turned_round: int | None
    """The round, up to this one, in which the agent last went from wrong to right or back; None = it never did."""
    turned_by: list[int]
    """The other agents whose answer it then took over, having read it."""
    steps: list[tuple[int, int]]
    """Character spans [start, end) of `text`, in order, not overlapping."""
    truncated: bool
    completion_tokens: int
    licence: str | None = None
    other_golds: list[str] = []  # noqa: RUF012 - msgspec gives each its own

    @property
    def golds(self) -> list[str]:
        """All right answers."""
        return [self.gold, *self.other_golds]


class TraceQuestion(Row, forbid_unknown_fields=False):
    """Whose trace a line holds; the rest of the line is passed over."""

    question_id: str


class Verdict(Row):
    """What a language model says of an answer, beside what the rules say."""

    item_id: str
    """Of question, gold and answer, and of the trace where it was shown."""
    question_id: str
    question: str
    gold: str
    answer: str
    by_rules: bool | None
    """None = undecided."""
    by_verifier: bool | None
    """None = its reply was neither true nor false."""
    probability: float | None
    """Of "true", where the engine tells."""
    reply: str
