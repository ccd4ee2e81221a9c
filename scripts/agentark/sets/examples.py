"""From traces to training sets: which traces teach, for each method.

Paper 3.2 and 3.3: questions with too few right agents are left out of R-SFT and DA, corrective traces come first.
Every function takes the traces of ONE question; rows are made question by question and never held together.

Controls are sets like the others, of the questions that R-SFT uses, with as many examples and as nearly as many
tokens as it has: what teaches in a debate can only be told from what teaches without one at the same budget.

    answer_only  R-SFT's answers without their reasoning
    single_cot   one agent's first round, right or wrong: what one agent writes alone
    rejection    the first round's right traces: all agents alone, sorted by the verdict on their answers
    majority     the first round's traces that give its majority answer: sorted without knowing gold
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec

from agentark.config.sections import Control, Sets
from agentark.grading.answers import answer_key, majority
from agentark.records.rows import AGGREGATOR, RlPrompt, StepExample, StepValues, Trace, TrainingExample, content_id
from agentark.sets.diversity import different_traces, reasons
from agentark.traces.extraction import as_completion, as_correction
from agentark.traces.steps import Span, split_steps

CONTROLS = get_args(Control)
Which = Literal["prefer", "exclude", "only", "none"]


def agents_right_at_the_end(traces: Sequence[Trace]) -> int:
    """|A_correct|: agents whose last turn is right."""
    last = {t.agent: t for t in sorted(traces, key=lambda t: t.round) if t.agent != AGGREGATOR}
    return sum(trace.correct for trace in last.values())


def candidates(traces: Sequence[Trace], settings: Sets, corrective: Which, counts: Counter[str]) -> list[Trace]:
    """The traces of one question that may teach: right, complete, reasoned turns of the debating agents.

    The aggregate is no agent's reasoning (flaw D4).

    Args:
        corrective: which are taken, by whether they are corrective.
        counts: what is left after each filter is added here, under `traces_<filter>`.
    """
    counts["traces"] += len(traces)
    if agents_right_at_the_end(traces) < settings.min_correct_agents:
        counts["questions_with_too_few_right_agents"] += 1
        return []
    left = [t for t in traces if t.correct and t.agent != AGGREGATOR]
    counts["traces_right"] += len(left)
    left = [t for t in left if not t.truncated]
    counts["traces_complete"] += len(left)
    left = [t for t in left if not settings.require_reasoning or reasons(t)]
    counts["traces_reasoned"] += len(left)
    if corrective != "prefer":
        left = [t for t in left if corrective == ("only" if t.kind == "corrective" else "exclude")]
        counts["traces_of_the_kind"] += len(left)
    return left


def training_examples(
    method: str,
    traces: Sequence[Trace],
    settings: Sets,
    corrective: Which,
    counts: Counter[str],
    judged: Sequence[str] = (),
) -> list[TrainingExample]:
    """R-SFT and DA rows of one question: up to k different correct traces, weighted 1/k (Eq. 2).

    Args:
        judged: ids of the traces that a judge picked for DA; none = features pick.
    """
    able = candidates(traces, settings, corrective, counts)
    by_judge = [trace for trace in able if trace.trace_id in judged][: settings.da_traces]
    if method == "rsft":
        chosen = different_traces(able, settings.rsft_traces)
    elif by_judge:
        counts["questions_judged"] += 1
        chosen = by_judge
    else:
        how = "max_min" if settings.da_selection == "judge" else settings.da_selection
        chosen = different_traces(able, settings.da_traces, how)
    as_arc = settings.corrective_form == "arc"
    return [
        example(method, trace, as_correction(trace, traces) if as_arc else as_completion(trace), weight=1 / len(chosen))
        for trace in chosen
    ]


def example(method: str, trace: Trace, completion: tuple[str, int], weight: float = 1.0) -> TrainingExample:
    """A trace as a supervised example.

    Args:
        completion: the text, and the character at which it starts to state the answer.
    """
    text, answer_start = completion
    return TrainingExample(
        example_id=content_id(method, trace.trace_id),
        method=method,
        question_id=trace.question_id,
        question=trace.question,
        choices=trace.choices,
        gold_type=trace.gold_type,
        completion=text,
        answer_start=answer_start,
        weight=weight,
        trace_id=trace.trace_id,
        kind=trace.kind,
        licence=trace.licence,
    )


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


def step_examples(
    traces: Sequence[Trace], settings: Sets, values: Mapping[str, StepValues] | None = None
) -> list[StepExample]:
    """PRM rows of one question: about as many right as wrong traces, each step labelled as `sets.prm_labels` says.

    A question without both labels gives no row: Eq. 7 needs a negative.

    Args:
        values: of the steps, by trace id, for `prm_labels: rollouts`; a trace without any gives no row.
    """
    rows = []
    chosen = traces_for_steps(traces, settings)
    agreed = {_normalised(text[a:b]) for trace, text, steps in chosen if trace.correct for a, b in steps}
    for trace, text, steps in chosen:
        if settings.prm_labels == "rollouts":
            if trace.trace_id not in (values or {}):
                continue
            labels = [int(right > 0) for right in values[trace.trace_id].right]
        elif settings.prm_labels == "outcome":
            labels = [int(trace.correct)] * len(steps)
        else:
            labels = [int(trace.correct or _normalised(text[a:b]) in agreed) for a, b in steps]
        rows.append(
            StepExample(
                trace_id=trace.trace_id,
                question_id=trace.question_id,
                question=trace.question,
                choices=trace.choices,
                gold_type=trace.gold_type,
                agent=trace.agent,
                round=trace.round,
                text=text,
                steps=steps,
                labels=labels,
                licence=trace.licence,
            )
        )
    both = {label for row in rows for label in row.labels} == {0, 1}
    return rows if both else []


def traces_for_steps(traces: Sequence[Trace], settings: Sets) -> list[tuple[Trace, str, list[Span]]]:
    """The traces whose steps train the PRM, with text and steps: right and wrong ones, about as many; else none."""
    usable = [t for t in traces if t.agent != AGGREGATOR and not t.truncated and t.answer is not None]
    distinct = list({as_completion(t)[0]: t for t in usable}.values())
    right = [t for t in distinct if t.correct]
    wrong = [t for t in distinct if not t.correct]
    n_traces, half, n_right, n_wrong = settings.prm_traces, settings.prm_traces // 2, len(right), len(wrong)
    if not n_right or not n_wrong:
        return []
    right, wrong = right[: max(n_traces - n_wrong, half)], wrong[: max(n_traces - n_right, half)]
    texts = ((trace, as_completion(trace)[0]) for trace in right + wrong)
    return [(trace, text, split_steps(text)) for trace, text in texts]


def _normalised(step: str) -> str:
    return " ".join(step.split()).casefold().rstrip(".")


def rl_prompt(traces: Sequence[Trace]) -> RlPrompt:
    """The question with its pass rate in the debate: a group without variance teaches GRPO nothing."""
    turns = [t for t in traces if t.agent != AGGREGATOR]
    first = traces[0]
    return RlPrompt(
        question_id=first.question_id,
        question=first.question,
        choices=first.choices,
        gold=first.gold,
        gold_type=first.gold_type,
        pass_rate=sum(t.correct for t in turns) / len(turns) if turns else 0.0,
        licence=first.licence,
    )
