"""Reading and writing rows.

One JSON object a line, UTF-8. Rows are checked against their type when they are read: a bad row is named by
file and line, never repaired in silence. Files are written beside their final name and renamed when complete,
so a crash or a full disk leaves no file that looks finished.
"""

import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar, get_args, get_origin

import msgspec

from agentark.errors import UserError
from agentark.records.row import Row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

R = TypeVar("R", bound=Row)

MAKE_ANEW = "delete the file and run again, and its rule will make it anew"
ROWS_PER_GROUP = 1000
"""Rows of one Parquet row group, all in memory while it is written."""


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


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write a table, all or nothing."""
    with atomic_path(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g")


def write_svg(path: Path, figure: "Figure") -> None:
    """Write a figure, all or nothing. It has no date, and ids from a fixed salt: the same one gives the same file."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "agentark"}), atomic_path(path) as partial:
        figure.savefig(partial, format="svg", metadata={"Date": None})


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
