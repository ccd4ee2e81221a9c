"""Training data: examples, labelled steps, prompts for RL, and what judges and rollouts say of traces."""

from agentark.records.questions import GoldType
from agentark.records.row import Row
from agentark.records.traces import TraceKind


class TrainingExample(Row):
    """One supervised example: the completion's characters from `answer_start` on state the final answer."""

    example_id: str
    method: str
    """`rsft`, `da`, or a control."""
    question_id: str
    question: str
    choices: list[str] | None
    gold_type: GoldType
    completion: str
    answer_start: int
    weight: float
    """Weights of one question sum to 1 (DA: 1/k, Eq. 2)."""
    trace_id: str
    kind: TraceKind
    licence: str | None = None


class StepExample(Row):
    """One trace cut into steps, each labelled, for the process reward model."""

    trace_id: str
    question_id: str
    question: str
    choices: list[str] | None
    gold_type: GoldType
    agent: int
    round: int
    text: str
    steps: list[tuple[int, int]]
    """Character spans [start, end) of `text`, in order, not overlapping."""
    labels: list[int]
    """1 = consistent with the verified consensus, 0 = not."""
    licence: str | None = None


class RlPrompt(Row):
    """A question to roll out in GRPO."""

    question_id: str
    question: str
    choices: list[str] | None
    gold: str
    gold_type: GoldType
    pass_rate: float
    """Share of the debate's agent turns that were right on this question."""
    licence: str | None = None
    other_golds: list[str] = []  # noqa: RUF012 - msgspec gives each its own

    @property
    def golds(self) -> list[str]:
        """All right answers."""
        return [self.gold, *self.other_golds]


class PassRate(Row):
    """How often a policy answers a question right before it is trained."""

    question_id: str
    rollouts: int
    right: int


class StepValues(Row):
    """What a model found of the steps of a trace."""

    trace_id: str
    n: int
    """Verdicts a step: of that many continuations, or a judge's one."""
    right: list[int]
    """Of each step, how many continuations ended right, or whether the judge finds it right."""


class Judgement(Row):
    """Which traces of a question a language model finds to differ."""

    question_id: str
    chosen: list[str]
    """Their ids; empty when it gave no valid list."""
