"""Labelled steps of right and wrong traces, for the process reward model."""

from collections.abc import Mapping, Sequence

from agentark.config.sets import Sets
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


def traces_for_steps(traces: Sequence[Trace], settings: Sets) -> list[tuple[Trace, str, list[Span]]]:
    """The traces whose steps train the PRM, with text and steps: right and wrong ones, about as many; none without
    both, unless `sets.prm_questions` is `all`."""
    used = of_first_agents(traces, settings.trajectories)
    usable = [t for t in used if t.agent != AGGREGATOR and not t.truncated and t.answer is not None]
    distinct = list({as_completion(t)[0]: t for t in usable}.values())
    right = [t for t in distinct if t.correct]
    wrong = [t for t in distinct if not t.correct]
    n_traces, half, n_right, n_wrong = settings.prm_traces, settings.prm_traces // 2, len(right), len(wrong)
    if settings.prm_questions == "divided" and not (n_right and n_wrong):
        return []
    right, wrong = right[: max(n_traces - n_wrong, half)], wrong[: max(n_traces - n_right, half)]
    texts = ((trace, as_completion(trace)[0]) for trace in right + wrong)
    return [(trace, text, split_steps(text)) for trace, text in texts]


def _normalised(step: str) -> str:
    return " ".join(step.split()).casefold().rstrip(".")
