"""Step benchmarks: traces whose steps people have judged, in the fields of ProcessBench or of PRMBench.

ProcessBench (arXiv 2412.06559) marks the first wrong step, so that what follows it has no label and is left out.
PRMBench (arXiv 2501.03124) plants errors and marks every wrong step.
"""

import json
from typing import Any

from agentark.config.prm_evaluation import StepBenchmark
from agentark.questions.datasets import rows_of
from agentark.records.quarantine import Quarantine
from agentark.records.questions import question_id
from agentark.records.row import content_id
from agentark.records.sets import StepExample

BETWEEN_STEPS = "\n\n"


class BadRowError(ValueError):
    """A row that is no trace with judged steps, for the reason in the message."""


def step_examples(settings: StepBenchmark, rejected: Quarantine) -> list[StepExample]:
    """The traces of a step benchmark, those of a question side by side.

    Args:
        rejected: takes the rows that cannot be read.

    Raises:
        UserError: the source cannot be read.
    """
    found = []
    for row in rows_of(settings.source, settings.split, settings.subset, rejected):
        rejected.n_rows += 1
        try:
            found.append(_step_example(row, settings))
        except BadRowError as error:
            rejected.add(f"{settings.source}, {row['_where']}", str(error), json.dumps(row, default=str))
    return sorted(found, key=lambda row: (row.question_id, row.trace_id))


def _step_example(row: dict[str, Any], settings: StepBenchmark) -> StepExample:
    if "modified_process" in row:
        question, steps = row.get("modified_question") or row.get("question"), row["modified_process"]
        wrong = row.get("error_steps")
        if not isinstance(wrong, list):
            raise BadRowError("no list in `error_steps`")
        labels = [int(number not in wrong) for number in range(1, _n_steps(steps) + 1)]
    elif "label" in row:
        question, steps, first_wrong = row.get("problem"), row.get("steps"), row["label"]
        n = _n_steps(steps)
        if not isinstance(first_wrong, int) or not -1 <= first_wrong < n:
            raise BadRowError("a `label` that is neither -1 nor the number of a step, counted from 0")
        labels = [1] * n if first_wrong == -1 else [1] * first_wrong + [0]
    else:
        raise BadRowError("neither `label` (as in ProcessBench) nor `modified_process` (as in PRMBench)")
    if not isinstance(question, str) or not question.strip():
        raise BadRowError("no question in `problem`, `question` or `modified_question`")
    text = BETWEEN_STEPS.join(steps)
    starts = [0]
    for step in steps[:-1]:
        starts.append(starts[-1] + len(step) + len(BETWEEN_STEPS))
    spans = [(start, start + len(step)) for start, step in zip(starts, steps, strict=True)]
    asked = question_id(question, None)
    return StepExample(
        trace_id=content_id(asked, text),
        question_id=asked,
        question=question,
        choices=None,
        gold_type=settings.gold_type,
        agent=0,
        round=1,
        text=text,
        steps=spans[: len(labels)],
        labels=labels,
        licence=None,
    )


def _n_steps(steps: Any) -> int:
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) and step.strip() for step in steps):
        raise BadRowError("no steps, or an empty one")
    return len(steps)
