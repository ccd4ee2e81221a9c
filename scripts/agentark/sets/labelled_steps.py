"""Labelled steps of right and wrong traces, for the process reward model."""

import random
from collections.abc import Mapping, Sequence
from typing import Literal

from agentark.config.sets import LabelSource, Sets
from agentark.records.debates import AGGREGATOR
from agentark.records.sets import StepExample, StepValues
from agentark.records.traces import Trace
from agentark.sets.trajectories import of_first_agents
from agentark.traces.extraction import as_completion
from agentark.traces.steps import Span, split_steps


def step_examples(
    traces: Sequence[Trace], settings: Sets, values: Mapping[str, StepValues] | None = None
) -> list[StepExample]:
    """PRM rows of one question: about as many right as wrong traces, each step labelled as `sets.prm_labels` says.

    A question without both labels gives no row, unless `sets.prm_questions` is `all`.

    Args:
        values: of the steps, by trace id, for `prm_labels: rollouts` and `judge`; a trace without any gives no row.
    """
    rows = []
    chosen = traces_for_steps(traces, settings)
    if not chosen:
        return []
    source = label_source(traces[0].question_id, settings.prm_labels)
    if source in ("rollouts", "judge"):
        chosen = [one for one in chosen if one[0].trace_id in (values or {})]
        labelled = [[int(right > 0) for right in values[trace.trace_id].right] for trace, _, _ in chosen]
    else:
        labelled = labels_by_answer(chosen, source)
    for (trace, text, steps), labels in zip(chosen, labelled, strict=True):
        if 0 in labels and settings.prm_after_error != "keep":
            n_before = labels.index(0)
            labels = labels[:n_before] + [0] * (len(labels) - n_before)
            if settings.prm_after_error == "drop":
                labels, steps = labels[: n_before + 1], steps[: n_before + 1]
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
    return rows if both or settings.prm_questions == "all" else []


def label_source(question_id: str, shares: Mapping[LabelSource, float]) -> LabelSource:
    """Which source labels the steps of a question: drawn by its id, so the same for every teacher."""
    sources = sorted(shares)
    return random.Random(question_id).choices(sources, [shares[source] for source in sources])[0]


Cut = tuple[Trace, str, list[Span]]
"""A trace, its text as a completion, and the steps of that."""


def labels_by_answer(traces: Sequence[Cut], how: Literal["outcome", "consensus"]) -> list[list[int]]:
    """Labels of the steps of one question's traces: 1 where the trace's answer is right and, by `consensus`, where a
    right trace has the same step."""
    agreed = {_normalised(text[a:b]) for trace, text, steps in traces if trace.correct for a, b in steps}
    if how == "outcome":
        agreed = set()
    return [[int(trace.correct or _normalised(text[a:b]) in agreed) for a, b in steps] for trace, text, steps in traces]


def traces_for_steps(traces: Sequence[Trace], settings: Sets) -> list[Cut]:
    """The traces whose steps train the PRM, with text and steps: right and wrong ones, about as many; none without
    both, unless `sets.prm_questions` is `all`."""
    distinct = distinct_traces(of_first_agents(traces, settings.trajectories))
    right = [one for one in distinct if one[0].correct]
    wrong = [one for one in distinct if not one[0].correct]
    n_traces, half, n_right, n_wrong = settings.prm_traces, settings.prm_traces // 2, len(right), len(wrong)
    if settings.prm_questions == "divided" and not (n_right and n_wrong):
        return []
    right, wrong = right[: max(n_traces - n_wrong, half)], wrong[: max(n_traces - n_right, half)]
    return right + wrong


def distinct_traces(traces: Sequence[Trace]) -> list[Cut]:
    """The finished traces with an answer, cut into steps, the same text once."""
    usable = (trace for trace in traces if trace.agent != AGGREGATOR and not trace.truncated)
    by_text = {as_completion(trace)[0]: trace for trace in usable if trace.answer is not None}
    return [(trace, text, split_steps(text)) for text, trace in by_text.items()]


def _normalised(step: str) -> str:
    return " ".join(step.split()).casefold().rstrip(".")
