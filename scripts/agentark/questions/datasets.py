"""Questions from any source, in three parts that share no question.

Sources: a reasoning-gym task, a JSONL or Parquet file, a data set on the Hugging Face Hub, imported debate logs.
The parts are cut in the order test, validation, train, so that more training questions never change the test.
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agentark.config.datasets import IMPORTED_QUESTIONS, Dataset, SplitSource
from agentark.debates import imported
from agentark.errors import UserError
from agentark.grading.comparing import answer_key
from agentark.grading.reading import parse_gold
from agentark.records.quarantine import Quarantine
from agentark.records.questions import Question, Split, question_id
from agentark.records.row import content_id

FILES = (".jsonl", ".json", ".parquet")
PARTS: tuple[Split, ...] = ("test", "validation", "train")
CONTEXT_END = "\n\n"
"""Between what a question is about and the question."""
_CALCULATION = re.compile(r"<<[^<>\n]{0,200}>>")
"""GSM8K's marks of what a calculator is to work out."""
_ANSWER = re.compile(r"####|\bThe answer is\b")
GENERATED_PER_QUESTION = 20
"""A reasoning-gym task that yields this many items without a new question has run out of them."""


class BadRowError(ValueError):
    """A row that is no question, for the reason in the message."""


def questions(
    name: str, dataset: Dataset, rejected: Quarantine, logs: Sequence[Path] = ()
) -> dict[Split, list[Question]]:
    """The three parts of a dataset, disjoint by normalised content.

    Args:
        rejected: takes the rows without a question or a readable gold answer.
        logs: files or folders of debate logs, for `source: debate-logs`.

    Raises:
        UserError: the source cannot be read, or has too few different questions.
    """
    parts: dict[Split, list[Question]] = {}
    seen: set[str] = set()
    part_of: dict[str, Split] = {}  # of a text that questions are about
    pools: dict[tuple[str, str | None], Iterator[Question]] = {}
    for part in PARTS:
        wanted: SplitSource | None = getattr(dataset, part)
        if wanted is None:
            parts[part] = []
            continue
        source = (wanted.source or dataset.source, wanted.split)
        if source not in pools:
            pools[source] = _pool(*source, name, dataset, rejected, logs)
        taken: list[Question] = []
        while wanted.size is None or len(taken) < wanted.size:
            question = next(pools[source], None)
            if question is None:
                break
            here = question.group is None or part_of.setdefault(question.group, part) == part
            if here and question.question_id not in seen:
                seen.add(question.question_id)
                taken.append(msgspec.structs.replace(question, split=part))
        if not taken or (wanted.size is not None and len(taken) < wanted.size):
            asked = "at least 1" if wanted.size is None else wanted.size
            raise UserError(
                f"datasets.{name}.{part}: {asked} questions asked for, {source[0]} has {len(taken)} more that differ "
                "from the other parts; lower the size, or name another source or split"
                + (f" ({rejected})" if len(rejected) else "")
            )
        parts[part] = taken
    return parts


def _pool(
    source: str, split: str | None, name: str, dataset: Dataset, rejected: Quarantine, logs: Sequence[Path]
) -> Iterator[Question]:
    """The questions of one source, each with one gold answer; their split is not decided yet."""
    rows = _asked(_rows(source, split, dataset, rejected, logs), dataset.each)
    if source.startswith("reasoning-gym:"):
        # As many as are asked for, and the generator knows its answers.
        for row in rows:
            rejected.n_rows += 1
            try:
                yield _question(row, name, dataset)
            except BadRowError as error:
                rejected.add(f"{source}, {row['_where']}", str(error), json.dumps(row, default=str))
        return
    found: list[tuple[str, Question]] = []
    for row in rows:
        # Logs were counted when they were read.
        rejected.n_rows += source != IMPORTED_QUESTIONS
        where = row["_where"] if source == IMPORTED_QUESTIONS else f"{source}, {row['_where']}"
        try:
            found.append((where, _question(row, name, dataset)))
        except BadRowError as error:
            rejected.add(where, str(error), json.dumps(row, default=str))
    if dataset.gold_type in ("text", "free"):
        found = _by_all_annotators(found)
    golds: dict[str, set[frozenset[str]]] = {}
    for _, question in found:
        keys = frozenset(answer_key(gold, question.gold_type) for gold in question.golds)
        golds.setdefault(question.question_id, set()).add(keys)
    with_choices = {question_id(question.question) for _, question in found if question.choices}
    for where, question in found:
        if len(golds[question.question_id]) > 1:
            rejected.add(where, "another gold answer elsewhere for the same question", question.question)
        elif not question.choices and question.question_id in with_choices:
            # Of logs in several shapes, some leave the options out: one question would be in two parts.
            rejected.add(where, "no choices, and the same question has some elsewhere", question.question)
        else:
            yield question


def _by_all_annotators(found: list[tuple[str, Question]]) -> list[tuple[str, Question]]:
    """Each question once, with the answers of all who were asked it: in words there is more than one right answer."""
    golds: dict[str, dict[str, None]] = {}
    once: dict[str, tuple[str, Question]] = {}
    for where, question in found:
        golds.setdefault(question.question_id, {}).update(dict.fromkeys(question.golds))
        once.setdefault(question.question_id, (where, question))
    return [
        (where, msgspec.structs.replace(question, other_golds=list(golds[key])[1:]))
        for key, (where, question) in once.items()
    ]


def _asked(rows: Iterable[dict[str, Any]], each: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for every question of a row: the fields named in `each` hold its entry, not the list of them."""
    for row in rows:
        if not each:
            yield row
            continue
        lists = [row.get(field) for field in each]
        if not all(isinstance(entries, list) for entries in lists) or len({*map(len, lists)}) != 1:
            # A row that cannot be read says so when it is.
            yield {**row, "_wrong": f"`{'`, `'.join(each)}` are no lists of one length"}
            continue
        for number, entries in enumerate(zip(*lists, strict=True), start=1):
            yield {**row, **dict(zip(each, entries, strict=True)), "_where": f"{row['_where']}, question {number}"}


def _rows(
    source: str, split: str | None, dataset: Dataset, rejected: Quarantine, logs: Sequence[Path]
) -> Iterable[dict[str, Any]]:
    """All rows of one source in a fixed, seeded order; each row's `_where` names it in messages."""
    if source == IMPORTED_QUESTIONS:
        if not logs:
            raise UserError("source: debate-logs needs debates.logs, the file or folder of the logs")
        rows = [
            {"question": log.question, "answer": log.gold, "_choices": log.choices, "_where": log.where}
            for place in logs
            for log in imported.read(place, rejected)
        ]
        return _shuffled(rows, dataset.seed)
    if source.startswith("reasoning-gym:"):
        return _generated(source.removeprefix("reasoning-gym:"), dataset)
    if Path(source).suffix in FILES:
        return _shuffled(rows_of(source, split, dataset.subset, rejected), dataset.seed)
    return _hub(source, split, dataset.subset, dataset.seed)


def rows_of(source: str, split: str | None, subset: str | None, rejected: Quarantine) -> list[dict[str, Any]]:
    """All rows of a file or of a data set on the Hub, in their order; each row's `_where` names it in messages.

    Args:
        rejected: takes what a file has instead of JSON objects.

    Raises:
        UserError: the source cannot be read.
    """
    path = Path(source)
    if path.suffix not in FILES:
        return _hub(source, split, subset)
    return list(_parquet(path) if path.suffix == ".parquet" else _json_rows(path, rejected))


def _shuffled(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    import random

    random.Random(seed).shuffle(rows)
    return rows


def _generated(task: str, dataset: Dataset) -> Iterator[dict[str, Any]]:
    import reasoning_gym

    # Item i depends on seed + i alone, so a longer stream starts with the same questions.
    size = GENERATED_PER_QUESTION * max(
        sum(p.size or 0 for p in (dataset.train, dataset.validation, dataset.test) if p), 1
    )
    try:
        items = reasoning_gym.create_dataset(task, size=size, seed=dataset.seed, **dataset.options)
    except (ValueError, TypeError, AssertionError) as error:
        raise UserError(f"reasoning-gym:{task}: {error}; see the task's options in reasoning-gym's gallery") from error
    for index, item in enumerate(itertools.islice(items, size)):
        yield {**item, "_where": f"item {index}"}


def _json_rows(path: Path, rejected: Quarantine) -> Iterator[dict[str, Any]]:
    """JSON lines, whatever the name ends in; a `.json` file may also be one list of objects."""
    try:
        handle = path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give the path of a JSONL file") from error
    with handle:
        is_list = path.suffix == ".json" and handle.read(1) == b"["
        handle.seek(0)
        if is_list:
            try:
                rows = json.load(handle)
            except ValueError as error:
                raise UserError(f"{path}: begins as a JSON list and is none ({error}); mend the file") from error
            numbered = ((f"entry {number}", row, str(row)) for number, row in enumerate(rows, start=1))
        else:
            numbered = ((f"line {number}", _parsed(line), line) for number, line in enumerate(handle, start=1))
        for where, row, text in numbered:
            if isinstance(row, dict):
                yield {**row, "_where": where}
            else:
                rejected.n_rows += 1
                sample = text[:1000] if isinstance(text, str) else text[:1000].decode("utf-8", "replace")
                reason = "a line that is no JSON object" if sample.strip() else "an empty line"
                rejected.add(f"{path}, {where}", reason, sample)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as Parquet ({error}); give the path of a Parquet file") from error
    for number, row in enumerate(table.to_pylist(), start=1):
        yield {**row, "_where": f"row {number}"}


def _hub(source: str, split: str | None, subset: str | None, seed: int | None = None) -> list[dict[str, Any]]:
    """The rows in a seeded order, or in their own."""
    import datasets

    if split is None:
        raise UserError(f"{source}: name the split to read, for example `test: {{split: test, size: 300}}`")
    try:
        table = datasets.load_dataset(source, subset, split=split)
    except Exception as error:
        raise UserError(
            f"{source} (subset {subset}, split {split}): the Hub did not give it "
            f"({type(error).__name__}: {str(error)[:200]}); check the id and the network, or name a local file"
        ) from error
    rows = table if seed is None else table.shuffle(seed=seed)
    return [{**row, "_where": f"row {number}"} for number, row in enumerate(rows)]


def _question(row: dict[str, Any], name: str, dataset: Dataset) -> Question:
    if "_wrong" in row:
        raise BadRowError(row["_wrong"])
    asked = _text(row, dataset.question)
    asked = asked.replace(dataset.remove, "").strip() if dataset.remove else asked
    if not asked:
        raise BadRowError(f"nothing in `{dataset.question}`")
    context = _text(row, dataset.context) + CONTEXT_END if dataset.context else ""
    text, choices = context + asked, _choices(row, dataset)
    raw = _field(row, dataset.gold)
    # Of several annotators some gave no answer.
    given = [one for one in raw if one is not None and str(one).strip()] if isinstance(raw, list) else [raw]
    golds = list(dict.fromkeys(_gold(one, dataset, choices) for one in given))
    if not golds:
        raise BadRowError(f"no gold answer in `{dataset.gold}`, as in a split without labels")
    if any("\ud800" <= letter <= "\udfff" for letter in "".join([text, *golds, *(choices or [])])):
        raise BadRowError("half a character (a lone surrogate)")
    return Question(
        question_id=question_id(text, choices),
        dataset=name,
        split="train",
        question=text,
        gold=golds[0],
        other_golds=golds[1:],
        context_chars=len(context),
        group=content_id(context) if context else None,
        reasoning=_reasoning(row, dataset),
        gold_type=dataset.gold_type,
        choices=choices,
        licence=dataset.licence,
        origin_id=_origin_id(row, dataset.origin),
    )


def _gold(raw: Any, dataset: Dataset, choices: list[str] | None) -> str:
    if dataset.gold_type == "choice" and isinstance(raw, int):
        raw -= dataset.first_choice
        if not 0 <= raw < len(choices or []):
            raise BadRowError(f"a number in `{dataset.gold}` that is no option, as in a split without labels")
        raw = chr(ord("A") + raw)
    if raw is None or not str(raw).strip():
        raise BadRowError(f"no gold answer in `{dataset.gold}`, as in a split without labels")
    try:
        return parse_gold(str(raw), dataset.gold_type)
    except ValueError as error:
        raise BadRowError(f"{error} (field `{dataset.gold}`)") from error


def _reasoning(row: dict[str, Any], dataset: Dataset) -> str | None:
    """None where this row has none: few sets have an explanation everywhere."""
    try:
        written = _field(row, dataset.reasoning) if dataset.reasoning else None
    except BadRowError:
        return None
    return _ANSWER.split(_CALCULATION.sub("", _plain(written)), maxsplit=1)[0].strip() or None if written else None


def _text(row: dict[str, Any], question: str) -> str:
    """A field's text, or a template's with its fields filled in: `question`, `{Body} {Question}`."""
    template = question if "{" in question else f"{{{question}}}"
    return re.sub(r"\{([^{}]+)\}", lambda match: _filled(row, match[1]), template).strip()


def _filled(row: dict[str, Any], field: str) -> str:
    value = _field(row, field)
    if value is None:
        raise BadRowError(f"nothing in `{field}`")
    return _plain(value).strip()


def _plain(value: Any) -> str:
    """A nested value as a reader would write it: a paragraph's sentences on one line, a speaker and a colon.

    HotpotQA's paragraphs are `[title, [sentence, ...]]`, or on the Hub two columns of one mapping; QMSum's turns are
    `{speaker, content}`.
    """
    if isinstance(value, Mapping):
        columns = list(value.values())
        if columns and all(isinstance(column, list) for column in columns) and len({*map(len, columns)}) == 1:
            return _plain([list(entry) for entry in zip(*columns, strict=True)])
        return ": ".join(map(_plain, columns))
    if isinstance(value, list):
        flat = all(isinstance(item, str) for item in value)
        return (" " if flat else "\n").join(_plain(item).strip() for item in value)
    return str(value)


def _origin_id(row: dict[str, Any], field: str | None) -> str | None:
    """None also where this source has no such field: the test part is seldom made from anything."""
    try:
        return question_id(_text(row, field)) if field else None
    except BadRowError:
        return None


def _choices(row: dict[str, Any], dataset: Dataset) -> list[str] | None:
    if dataset.choices is None:
        # Logs bring their own.
        return row.get("_choices")
    if isinstance(dataset.choices, list):
        return [str(_field(row, field)) for field in dataset.choices]
    value = _field(row, dataset.choices)
    if not isinstance(value, list):
        raise BadRowError(f"no list in `{dataset.choices}`; name the fields of the options one by one")
    return [str(option) for option in value]


def _field(row: dict[str, Any], field: str) -> Any:
    """A field of a row; dots and numbers step into nested values (`reward_model.ground_truth`, `prompt.0.content`)."""
    value: Any = row
    for part in field.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            known = ", ".join(key for key in row if key not in ("_where", "_choices", "_wrong"))
            raise BadRowError(f"no field `{field}`; the fields are {known}") from None
    return value
