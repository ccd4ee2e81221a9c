"""The rows that travel between the stages, and their reading and writing.

One JSON object a line, UTF-8. Rows are checked against their type when they are read: a bad row is named by
file and line, never repaired in silence. Files are written beside their final name and renamed when complete,
so a crash or a full disk leaves no file that looks finished.
"""

import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar, get_args, get_origin

import msgspec

from agentark.errors import UserError

GoldType = Literal["number", "latex", "choice", "boolean", "text", "free"]
Split = Literal["train", "validation", "test"]
TurnStatus = Literal["ok", "truncated", "failed"]
TraceKind = Literal["stable", "corrective", "degraded", "wrong", "aggregate"]

AGGREGATOR = -1
"""`Turn.agent` of the extra call that settles on the answer of a debate."""
SOLVER = "solver"
"""`Turn.role` of an agent that proposes a whole solution; such turns become traces."""
SETTLER = "aggregator"
"""`Turn.role` of who settles on the debate's answer."""


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
    origin_id: str | None = None
    """The id of the question that this one was made from, where the dataset says so."""


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
    reads: list[int] = []
    """Places in `Debate.turns` of the replies that the prompt shows, the agent's own among them."""
    n_left_out: int = 0
    """Replies that should have been shown and did not fit into the context."""
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
    f1: float | None = None
    """SQuAD's, for gold that is text."""


class FailedQuestion(Row):
    """A question that could not be finished, and why."""

    question_id: str
    question: str
    reason: str


class StepValues(Row):
    """What continuations from the steps of a trace came to."""

    trace_id: str
    n: int
    """Continuations a step."""
    right: list[int]
    """Of each step, how many of them ended right."""


class Judgement(Row):
    """Which traces of a question a language model finds to differ."""

    question_id: str
    chosen: list[str]
    """Their ids; empty when it gave no valid list."""


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


class SkippedQuestion(Row):
    """A train question that makes no training data, and why."""

    question_id: str
    reason: str
    other_id: str
    """The question that it repeats."""
    other_set: str
    """The dataset of that question."""
    other_split: Split
    similarity: float
    """Share of three-word phrases in common, 1 = all."""


class RejectedRow(Row):
    """A row of a source that cannot be used, and why."""

    where: str
    """File and place, or an id."""
    reason: str
    """In words that are the same for all rows with this fault, so that they can be counted."""
    sample: str
    """Its beginning."""


R = TypeVar("R", bound=Row)

MAKE_ANEW = "delete the file and run again, and its rule will make it anew"
ROWS_PER_GROUP = 1000
"""Rows of one Parquet row group, all in memory while it is written."""


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
    """Write rows as JSON lines, compressed where the name ends in `.zst`, all or nothing. Returns how many."""
    encoder = msgspec.json.Encoder()
    n_rows = 0
    with atomic_path(path) as partial, partial.open("wb") as file:
        with _packed(file) if path.suffix == ".zst" else nullcontext(file) as handle:
            for row in rows:
                handle.write(encoder.encode(row))
                handle.write(b"\n")
                n_rows += 1
        file.flush()
        os.fsync(file.fileno())
    return n_rows


def _packed(file: BinaryIO) -> Any:
    import zstandard  # here, because the Snakefile imports this module and needs none of it

    return zstandard.ZstdCompressor().stream_writer(file, closefd=False)


def write_parquet(path: Path, rows: Iterable[R], kind: type[R]) -> None:
    """Write rows as a Parquet file, all or nothing; what is nested stays nested."""
    # Imported here: only two stages write Parquet, and the import takes half a second.
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(field.name, _arrow_type(field.type)) for field in msgspec.structs.fields(kind)])
    with atomic_path(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        batch: list[Any] = []
        for row in rows:
            batch.append(msgspec.to_builtins(row))
            if len(batch) == ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_pylist(batch, schema))
                batch = []
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, schema))


def _arrow_type(annotation: Any) -> Any:
    """The Arrow type of a field's annotation."""
    import pyarrow as pa

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    parts = [part for part in get_args(annotation) if part is not type(None)]
    if annotation in kinds:
        return kinds[annotation]
    if get_origin(annotation) is list:
        return pa.list_(_arrow_type(parts[0]))
    if get_origin(annotation) is Literal:
        return kinds[type(parts[0])]
    if isinstance(annotation, type) and issubclass(annotation, Row):
        return pa.struct([(field.name, _arrow_type(field.type)) for field in msgspec.structs.fields(annotation)])
    return _arrow_type(parts[0])  # X | None


def _lines(path: Path) -> Iterator[bytes]:
    if path.suffix != ".zst":
        with path.open("rb") as handle:
            yield from handle
        return
    import zstandard

    try:
        with io.BufferedReader(zstandard.open(path, "rb")) as handle:
            yield from handle
    except zstandard.ZstdError as error:
        raise UserError(f"{path}: damaged ({error}); {MAKE_ANEW}") from error


def read_rows(path: Path, kind: type[R]) -> Iterator[R]:
    """Stream the rows of a JSON-lines file, compressed or not.

    Raises:
        UserError: a line is empty, half-written or not a `kind`; names the file, the line and the cure.
    """
    decoder = msgspec.json.Decoder(kind)
    for number, line in enumerate(_lines(Path(path)), start=1):
        try:
            yield decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            what = "is empty" if not line.strip() else f"is not a {kind.__name__}: {error}"
            raise UserError(f"{path}, line {number} {what}; {MAKE_ANEW}") from error


def by_question(paths: Sequence[Path], kind: type[R]) -> Iterator[tuple[str, list[R]]]:
    """The rows of one question after another; all stages write them side by side."""
    rows = chain.from_iterable(read_rows(path, kind) for path in paths)
    return ((key, list(group)) for key, group in groupby(rows, attrgetter("question_id")))
