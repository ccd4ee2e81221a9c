"""Samples of lm-evaluation-harness as evaluation rows: one a question, with every metric that it has of its own.

A metric that is 0 or 1 on every question is an accuracy; any other keeps its name, and is what the task is judged by if
it is the first one. What a task only knows of all questions together, as BLEU of a corpus, stands in the manifest.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentark.evaluation.arms import ACCURACY
from agentark.records.evaluations import EvaluationRow


def rows_of_task(task: str, samples: Sequence[Mapping[str, Any]], **who: Any) -> Iterator[EvaluationRow]:
    """The rows of one task.

    Args:
        samples: as `simple_evaluate` logs them; a task with several filters has each question once for each.
        who: what a row says of its model.
    """
    values: dict[str, dict[str, float]] = {}
    said: dict[str, str] = {}
    for sample in samples:
        question = str(sample["doc_id"])
        for metric in sample["metrics"]:
            value = sample.get(metric)
            if isinstance(value, (bool, int, float)) and math.isfinite(value):
                name = metric if sample["filter"] == "none" else f"{metric}.{sample['filter']}"
                values.setdefault(question, {})[name] = float(value)
        said[question] = _text(sample["filtered_resps"])
    if not values:
        return
    first = next(iter(values[min(values, key=int)]))
    right_or_wrong = all(scores.get(first) in (0.0, 1.0) for scores in values.values())
    for question, scores in values.items():
        others = {name: value for name, value in scores.items() if not (right_or_wrong and name == first)}
        yield EvaluationRow(
            **who,
            protocol="single",
            benchmark=task,
            question_id=question,
            output=said[question],
            answer=said[question] or None,
            correct=scores.get(first, 0.0) == 1.0,
            truncated=False,
            calls=0,  # what it took is not told
            prompt_tokens=0,
            completion_tokens=0,
            seconds=0.0,
            metric=ACCURACY if right_or_wrong else first,
            scores=others,
        )


def _text(replies: Any) -> str:
    """What was said, or the log-likelihoods of the options."""
    return replies[0] if len(replies) == 1 and isinstance(replies[0], str) else str(replies)
