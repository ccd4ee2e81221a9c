"""R-SFT's controls: what teaches without a debate, at the same budget.

Controls are sets like the others, of the questions that R-SFT uses, with as many examples and as nearly as many
tokens as it has: what teaches in a debate can only be told from what teaches without one at the same budget.

    answer_only  R-SFT's answers without their reasoning
    single_cot   one agent's first round, right or wrong: what one agent writes alone
    rejection    the first round's right traces: all agents alone, sorted by the verdict on their answers
    majority     the first round's traces that give its majority answer: sorted without knowing gold
"""

import re
from collections.abc import Sequence
from typing import get_args

import msgspec

from agentark.config.methods import Control
from agentark.grading.comparing import answer_key, majority
from agentark.records.debates import AGGREGATOR
from agentark.records.row import content_id
from agentark.records.sets import TrainingExample
from agentark.records.traces import Trace
from agentark.sets.examples import example
from agentark.traces.extraction import as_completion

CONTROLS = get_args(Control)


class ControlSet:
    """A control's rows, question by question, at the budget of the R-SFT rows that they stand against."""

    def __init__(self, kind: Control) -> None:
        self._kind = kind
        self.owed_rows = 0
        """Rows that R-SFT had and this set could not make yet."""
        self.owed_tokens = 0
        """Tokens that R-SFT's rows have more so far."""

    def rows(self, traces: Sequence[Trace], rsft: Sequence[TrainingExample]) -> list[TrainingExample]:
        """The rows of one question; each takes the trace whose length brings both sets nearest to each other.

        A question that has no trace for this control leaves its rows to later ones that have several.
        """
        self.owed_rows += len(rsft)
        self.owed_tokens += sum(n_tokens(row.completion) for row in rsft)
        if self._kind == "answer_only":
            made = [_without_reasoning(row) for row in rsft]
        else:
            weight = rsft[0].weight
            made = [example(self._kind, trace, as_completion(trace), weight) for trace in self._candidates(traces)]
        chosen: list[TrainingExample] = []
        while made and self.owed_rows:
            a_row = self.owed_tokens / self.owed_rows
            best = min(made, key=lambda row: (abs(n_tokens(row.completion) - a_row), row.trace_id))
            made.remove(best)
            chosen.append(best)
            self.owed_rows -= 1
            self.owed_tokens -= n_tokens(best.completion)
        return chosen

    def _candidates(self, traces: Sequence[Trace]) -> list[Trace]:
        first = [t for t in traces if t.round == 1 and t.agent != AGGREGATOR and t.answer is not None]
        if self._kind == "single_cot":
            return [t for t in first if t.agent == min(t.agent for t in traces if t.agent != AGGREGATOR)]
        first = [t for t in first if not t.truncated]
        if self._kind == "rejection":
            return [t for t in first if t.correct]
        gold_type = traces[0].gold_type
        vote = majority([t.answer for t in first], gold_type)
        return [
            t for t in first if vote and t.answer and answer_key(t.answer, gold_type) == answer_key(vote, gold_type)
        ]


def _without_reasoning(row: TrainingExample) -> TrainingExample:
    answer = row.completion[row.answer_start :]
    return msgspec.structs.replace(
        row, example_id=content_id("answer_only", row.trace_id), method="answer_only", completion=answer, answer_start=0
    )


def n_tokens(text: str) -> int:
    """Words and signs: a set serves students with different tokenizers."""
    return len(re.findall(r"\w+|[^\w\s]", text))
