"""What a training set holds and what was left out on the way: as counts for tables, as a page to read."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from agentark.config.sets import Sets
from agentark.records.row import Row
from agentark.records.sets import StepExample, TrainingExample
from agentark.records.traces import Trace
from agentark.sets.controls import n_tokens
from agentark.sets.diversity import diversity
from agentark.sets.examples import agents_right_at_the_end

EXAMPLES = 3
"""Rows that the page shows, the first ones."""
BIN = 16
"""Tokens of one bar of the histogram."""


class Card:
    """Counts, row by row; nothing is held but the first examples."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.counts: Counter[str] = Counter()
        """Further counts, from those who filter."""
        self._kinds: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()
        self._licences: Counter[str] = Counter()
        self._tokens: Counter[int] = Counter()
        self._diversity: list[float] = [0.0, 0]
        self._examples: list[dict[str, str]] = []

    def skip(self, reason: str) -> None:
        """A question that was left out before anything else."""
        self.counts["questions"] += 1
        self.counts[f"questions_skipped_{reason}"] += 1

    def add(self, traces: Sequence[Trace], rows: Sequence[Row]) -> None:
        """
        Args:
            traces: all of one question.
            rows: what became of them.
        """
        n = self.counts
        n["questions"] += 1
        n["questions_used"] += bool(rows)
        n["questions_without_a_right_agent"] += not agents_right_at_the_end(traces)
        n["rows"] += len(rows)
        if rows:
            self._sources[traces[0].dataset] += len(rows)
            self._licences[traces[0].licence or "not given"] += len(rows)
        by_id = {trace.trace_id: trace for trace in traces}
        for row in rows:
            text = _text(row)
            length = n_tokens(text)
            n["tokens"] += length
            self._tokens[length // BIN * BIN] += 1
            if kind := getattr(by_id.get(getattr(row, "trace_id", "")), "kind", None):
                self._kinds[kind] += 1
            if isinstance(row, StepExample):
                n["steps"] += len(row.labels)
                n["steps_right"] += sum(row.labels)
            if len(self._examples) < EXAMPLES:
                self._examples.append({"question": traces[0].question, "text": text})
        if self._kind == "da" and len(rows) > 1:
            chosen = [by_id[row.trace_id] for row in rows if isinstance(row, TrainingExample)]
            self._diversity[0] += diversity(chosen) or 0.0
            self._diversity[1] += 1

    def facts(self) -> dict[str, Any]:
        """Everything, as JSON."""
        total, n_questions = self._diversity
        facts = {
            "set": self._kind,
            "questions": 0,
            "questions_used": 0,
            "questions_without_a_right_agent": 0,
            "rows": 0,
            "tokens": 0,
            **self.counts,
            "kinds": dict(self._kinds.most_common()),
            "corrective_rows": self._kinds["corrective"],
            "sources": dict(self._sources.most_common()),
            "licences": dict(self._licences.most_common()),
            "tokens_histogram": {str(key): self._tokens[key] for key in sorted(self._tokens)},
            "examples": self._examples,
        }
        if self._kind == "da":
            facts |= {"questions_with_several": n_questions, "diversity": total / n_questions if n_questions else None}
        return facts


def _text(row: Row) -> str:
    return (
        row.completion
        if isinstance(row, TrainingExample)
        else row.text
        if isinstance(row, StepExample)
        else row.question
    )


def page(facts: dict[str, Any], settings: Sets) -> str:
    """The card in Markdown."""
    rows, tokens = facts["rows"], facts["tokens"]
    decides = settings.model_dump(include=settings.fields_for(facts["set"]))
    lines = [
        f"# Set `{facts['set']}`",
        "",
        f"{rows:,} rows from {facts['questions_used']:,} of {facts['questions']:,} questions, {tokens:,} words and "
        f"signs ({tokens / rows:.0f} a row).",
        "",
        "| count | |",
        "|---|---:|",
        *(f"| {name.replace('_', ' ')} | {_shown(value)} |" for name, value in facts.items() if _is_count(value)),
        "",
        "| rows by | | |",
        "|---|---|---:|",
        *(
            f"| {what} | {_cell(name)} | {count:,} |"
            for what, key in (("kind of trace", "kinds"), ("dataset", "sources"), ("licence", "licences"))
            for name, count in facts[key].items()
        ),
        "",
        *([f"Settings: {', '.join(f'`{key}: {value}`' for key, value in decides.items())}.", ""] if decides else []),
        "## Length",
        "",
        "```",
        *_histogram({int(key): count for key, count in facts["tokens_histogram"].items()}),
        "```",
        "",
        "## First rows",
    ]
    for example in facts["examples"]:
        lines += ["", *_quoted(example["question"]), "", *(f"    {line}" for line in example["text"].splitlines())]
    return "\n".join(lines) + "\n"


def _is_count(value: object) -> bool:
    return isinstance(value, int | float)


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _quoted(text: str) -> list[str]:
    return [f"> {line}" for line in text.splitlines()]


def _histogram(counts: dict[int, int], bars: int = 20, width: int = 50) -> list[str]:
    """Bars of equal steps over all lengths."""
    step = BIN * max(1, -(-(max(counts) // BIN + 1) // bars))
    grouped = {key: sum(counts[k] for k in keys) for key, keys in groupby(sorted(counts), lambda k: k // step * step)}
    most = max(grouped.values())
    return [
        f"{key:>6} to {key + step - 1:<6} {'#' * round(width * count / most):<{width}} {count:,}"
        for key, count in grouped.items()
    ]
