"""R-SFT's and DA's examples: which right traces of a question teach (paper 3.2 and 3.3).

Questions with too few right agents are left out, corrective traces come first. Every function takes the traces of ONE
question; rows are made question by question and never held together.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from agentark.config.sets import Sets
from agentark.records.debates import AGGREGATOR
from agentark.records.row import content_id
from agentark.records.sets import TrainingExample
from agentark.records.traces import Trace
from agentark.sets.diversity import different_traces, reasons
from agentark.sets.trajectories import of_first_agents
from agentark.traces.extraction import as_completion, as_correction

Which = Literal["prefer", "exclude", "only", "none"]


def agents_right_at_the_end(traces: Sequence[Trace]) -> int:
    """|A_correct|: agents whose last turn is right."""
    last = {t.agent: t for t in sorted(traces, key=lambda t: t.round) if t.agent != AGGREGATOR}
    return sum(trace.correct for trace in last.values())


def candidates(traces: Sequence[Trace], settings: Sets, corrective: Which, counts: Counter[str]) -> list[Trace]:
    """The traces of one question that may teach: right, complete, reasoned turns of the debating agents.

    The aggregate is no agent's reasoning (flaw D4). `min_correct_agents` is about the debate and not about the amount
    of data, so it counts all agents, however many `trajectories` are used.

    Args:
        corrective: which are taken, by whether they are corrective.
        counts: what is left after each filter is added here, under `traces_<filter>`.
    """
    counts["traces"] += len(traces)
    if agents_right_at_the_end(traces) < settings.min_correct_agents:
        counts["questions_with_too_few_right_agents"] += 1
        return []
    left = of_first_agents(traces, settings.trajectories)
    if settings.trajectories is not None:
        counts["traces_of_the_first_agents"] += len(left)
    left = [t for t in left if t.correct and t.agent != AGGREGATOR]
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
