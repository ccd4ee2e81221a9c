"""From traces to training sets: which traces teach, for each method.

Paper 3.2 and 3.3: questions with too few right agents are left out of R-SFT and DA, corrective traces come first.
Every function takes the traces of ONE question; rows are made question by question and never held together.
"""

from agentark.config import Sets
from agentark.records import AGGREGATOR, RlPrompt, StepExample, Trace, TrainingExample, content_id
from agentark.selection import different_traces, reasons
from agentark.steps import split_steps
from agentark.traces import as_completion


def agents_right_at_the_end(traces: list[Trace]) -> int:
    """|A_correct|: agents whose last turn is right."""
    last = {t.agent: t for t in sorted(traces, key=lambda t: t.round) if t.agent != AGGREGATOR}
    return sum(trace.correct for trace in last.values())


def teachable(traces: list[Trace]) -> list[Trace]:
    """Correct, complete turns of the debating agents; the aggregate is no agent's reasoning (flaw D4)."""
    return [t for t in traces if t.correct and not t.truncated and t.agent != AGGREGATOR]


def training_examples(traces: list[Trace], method: str, n_traces: int, settings: Sets) -> list[TrainingExample]:
    """R-SFT and DA rows of one question: up to k different correct traces, weighted 1/k (Eq. 2)."""
    if agents_right_at_the_end(traces) < settings.min_correct_agents:
        return []
    candidates = [t for t in teachable(traces) if reasons(t) or not settings.require_reasoning]
    chosen = different_traces(candidates, n_traces)
    rows = []
    for trace in chosen:
        completion, answer_start = as_completion(trace)
        rows.append(
            TrainingExample(
                example_id=content_id(method, trace.trace_id),
                method=method,
                question_id=trace.question_id,
                question=trace.question,
                choices=trace.choices,
                gold_type=trace.gold_type,
                completion=completion,
                answer_start=answer_start,
                weight=1 / len(chosen),
                trace_id=trace.trace_id,
            )
        )
    return rows


def step_examples(traces: list[Trace], n_traces: int) -> list[StepExample]:
    """PRM rows of one question: about as many right as wrong traces, each step labelled.

    A step is consistent with the verified consensus (label 1) when its trace ends right, or when a trace that ends
    right contains the same step. A question without both labels gives no row: Eq. 7 needs a negative.
    """
    usable = [t for t in traces if t.agent != AGGREGATOR and not t.truncated and t.answer is not None]
    distinct = list({as_completion(t)[0]: t for t in usable}.values())
    right = [t for t in distinct if t.correct]
    wrong = [t for t in distinct if not t.correct]
    half, n_right, n_wrong = n_traces // 2, len(right), len(wrong)
    right, wrong = right[: max(n_traces - n_wrong, half)], wrong[: max(n_traces - n_right, half)]
    agreed = {_normalised(text[a:b]) for text in (as_completion(t)[0] for t in right) for a, b in split_steps(text)}
    rows = []
    for trace in right + wrong:
        text, _ = as_completion(trace)
        steps = split_steps(text)
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
                labels=[int(trace.correct or _normalised(text[a:b]) in agreed) for a, b in steps],
            )
        )
    both = {label for row in rows for label in row.labels} == {0, 1}
    return rows if both else []


def _normalised(step: str) -> str:
    return " ".join(step.split()).casefold().rstrip(".")


def rl_prompt(traces: list[Trace]) -> RlPrompt:
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
    )
