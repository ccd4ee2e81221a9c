"""The rows that travel between the stages, and their reading and writing.

One JSON object a line, UTF-8. Rows are checked against their type when they are read: a bad row is named by
file and line, never repaired in silence. Files are written beside their final name and renamed when complete,
so a crash or a full disk leaves no file that looks finished.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from agentark.errors import UserError

GoldType = Literal["number", "latex", "choice", "text"]
Split = Literal["train", "validation", "test"]
TurnStatus = Literal["ok", "truncated", "failed"]
TraceKind = Literal["stable", "corrective", "degraded", "wrong", "aggregate"]

AGGREGATOR = -1
"""`Turn.agent` of the extra call that summarises a debate."""


class Row(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base of all records: immutable, keyword-only, unknown fields refused."""


class Question(Row):
    """A question with its gold answer; `question_id` is the hash of its normalised content."""

    question_id: str
    dataset: str
    split: Split
    question: str
    gold: str
    gold_type: GoldType
    choices: list[str] | None = None
    licence: str | None = None


class Turn(Row):
    """One message of one agent in one round.

    `prompt` is the user message that this turn answered: an agent's whole dialogue is its turns' prompts and
    replies in the order of the rounds, so nothing is stored twice.
    """

    agent: int
    """0-based; `AGGREGATOR` for the summarising call."""
    round: int
    """1-based."""
    prompt: str
    reply: str
    answer: str | None
    """Extracted final answer; None when none was found."""
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
        """The agents' turns of one round (1-based), in agent order, without the aggregator."""
        return sorted((t for t in self.turns if t.round == number and t.agent != AGGREGATOR), key=lambda t: t.agent)

    @property
    def n_rounds(self) -> int:
        return max((t.round for t in self.turns if t.agent != AGGREGATOR), default=0)


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
    consensus: bool
    """The answer equals the debate's consensus (majority of the last round)."""
    truncated: bool
    completion_tokens: int


class TrainingExample(Row):
    """One supervised example: the completion's characters from `answer_start` on state the final answer."""

    example_id: str
    method: Literal["rsft", "da"]
    question_id: str
    question: str
    choices: list[str] | None
    gold_type: GoldType
    completion: str
    answer_start: int
    weight: float
    """Weights of one question sum to 1 (DA: 1/k, Eq. 2)."""
    trace_id: str


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


class RlPrompt(Row):
    """A question to roll out in GRPO."""

    question_id: str
    question: str
    choices: list[str] | None
    gold: str
    gold_type: GoldType
    pass_rate: float
    """Share of the debate's agent turns that were right on this question."""


class EvaluationRow(Row):
    """One model (or protocol) on one test question."""

    model: str
    method: str
    """`base`, `rsft`, `da` or `pad`."""
    teacher: str | None
    train_set: str | None
    protocol: str
    """`single`, `self_consistency`, `first_round_vote`, `debate`."""
    benchmark: str
    question_id: str
    output: str
    answer: str | None
    correct: bool
    truncated: bool
    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    """Wall seconds of the protocol over all its questions, divided by their number."""
    seed: int


R = TypeVar("R", bound=Row)


def content_id(*parts: object) -> str:
    """First 16 hex digits of the SHA-256 over the canonical JSON of the parts."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def question_id(question: str, choices: list[str] | None = None) -> str:
    """Identity of a question: its text without case and spacing, and its choices."""
    normalised = re.sub(r"\s+", " ", question).strip().casefold()
    return content_id(normalised, choices)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path to write to; it becomes `path` when the block ends well and vanishes when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write rows as JSON lines, all or nothing. Returns how many."""
    encoder = msgspec.json.Encoder()
    n_rows = 0
    with atomic_path(path) as partial, partial.open("wb") as handle:
        for row in rows:
            handle.write(encoder.encode(row))
            handle.write(b"\n")
            n_rows += 1
        handle.flush()
        os.fsync(handle.fileno())
    return n_rows


def read_rows(path: Path, kind: type[R]) -> Iterator[R]:
    """Stream the rows of a JSON-lines file.

    Raises:
        UserError: a line is empty, half-written or not a `kind`; names the file, the line and the cure.
    """
    decoder = msgspec.json.Decoder(kind)
    with Path(path).open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                yield decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                what = "is empty" if not line.strip() else f"is not a {kind.__name__}: {error}"
                raise UserError(
                    f"{path}, line {number} {what}; delete the file and run again, and its rule will make it anew"
                ) from error
