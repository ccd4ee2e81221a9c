"""Debates and their turns."""

from typing import Literal

from agentark.records.questions import Question
from agentark.records.row import Row

TurnStatus = Literal["ok", "truncated", "failed"]

AGGREGATOR = -1
"""`Turn.agent` of the extra call that settles on the answer of a debate."""
SOLVER = "solver"
"""`Turn.role` of an agent that proposes a whole solution; such turns become traces."""
SETTLER = "aggregator"
"""`Turn.role` of who settles on the debate's answer."""


class Turn(Row):
    """One message of one agent in one round.

    `prompt` is the user message that this turn answered: an agent's whole dialogue is its turns' prompts and
    replies in the order of the rounds, so nothing is stored twice.
    """

    agent: int
    """0-based; `AGGREGATOR` for the call that settles on the answer."""
    round: int
    """1-based."""
    prompt: str
    reply: str
    answer: str | None
    """Extracted final answer; None when none was found."""
    role: str = SOLVER
    """`solver`, `aggregator`, or what else a protocol calls one: `judge`, `critic`, `verifier`, ..."""
    model: str | None = None
    """The model that spoke, by its name in the config; None in imported logs."""
    reads: list[int] = []  # noqa: RUF012 - msgspec gives each its own
    """Places in `Debate.turns` of the replies that the prompt shows, the agent's own among them."""
    n_left_out: int = 0
    """Replies that should have been shown and did not fit into the context."""
    context_cut: int = 0
    """Characters of what the question is about that did not fit."""
    seed: int | None = None
    """What the request asked the engine to draw by; the debate's manifest says whether the engine can."""
    status: TurnStatus = "ok"
    error: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    latency_s: float = 0.0


class Debate(Row):
    """All turns of one question under one protocol."""

    question: Question
    teacher: str
    protocol: str
    turns: list[Turn]
    consensus_round: int | None = None
    """First round in which all agents gave the same answer; None when they never did."""
    answer: str | None = None
    """The protocol's final answer: the aggregator's, else the vote."""

    @property
    def calls(self) -> int:
        return len(self.turns)

    def round_turns(self, number: int) -> list[Turn]:
        """The solvers' turns of one round (1-based), in agent order."""
        return sorted((t for t in self.turns if t.round == number and t.role == SOLVER), key=lambda t: t.agent)

    @property
    def n_rounds(self) -> int:
        """The last round in which a solver spoke; 0 = never."""
        return max((t.round for t in self.turns if t.role == SOLVER), default=0)


class FailedQuestion(Row):
    """A question that could not be finished, and why."""

    question_id: str
    question: str
    reason: str
