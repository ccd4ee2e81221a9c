"""The answer that a reward model picks among those of a debate, beside those that need none.

What a process reward is for: if it does not pick better than a vote, a policy that follows it has nothing to gain.
"""

from collections.abc import Callable, Sequence

import numpy as np

from agentark.records.scores import ScoredTrace

Values = Callable[[ScoredTrace], float]


def picked(questions: Sequence[Sequence[ScoredTrace]], value: Values) -> np.ndarray:
    """(Q,) the chance that the trace with the highest value is right; equal ones are drawn from, none is wrong."""
    return np.array([_chance([(value(trace), trace.correct) for trace in traces]) for traces in questions])


def voted(questions: Sequence[Sequence[ScoredTrace]], value: Values) -> np.ndarray:
    """(Q,) the chance that the answer is right whose traces have the highest value together."""
    return np.array([_chance(_by_answer(traces, value)) for traces in questions])


def _by_answer(traces: Sequence[ScoredTrace], value: Values) -> list[tuple[float, bool]]:
    answers: dict[str, tuple[float, bool]] = {}
    for trace in traces:
        total, _ = answers.get(trace.answer or "", (0.0, False))
        answers[trace.answer or ""] = total + value(trace), trace.correct
    return list(answers.values())


def _chance(valued: list[tuple[float, bool]]) -> float:
    best = max((value for value, _ in valued), default=0.0)
    drawn = [correct for value, correct in valued if value == best]
    return sum(drawn) / len(drawn) if drawn else 0.0


def selections(questions: Sequence[Sequence[ScoredTrace]]) -> dict[str, np.ndarray]:
    """The chance (Q,) that each question is answered rightly, by way of choosing.

    Returns:
        `random`, `vote`, `oracle`; `log-probability`, the untrained model's, of all steps together; for each aggregate
        of a trace's scores the trace with the best reward; and as `vote_by_min` the answer with the most reward.
    """
    found = {
        "random": picked(questions, lambda trace: 0.0),
        "vote": voted(questions, lambda trace: 1.0),
        "oracle": picked(questions, lambda trace: trace.correct),
        "log-probability": picked(questions, lambda trace: float(np.mean(trace.log_probabilities or [-np.inf]))),
    }
    names = next((trace.rewards.keys() for traces in questions for trace in traces), [])
    for name in names:
        found[name] = picked(questions, lambda trace, name=name: trace.rewards[name])
    if names:
        # Softmin is the one that can be negative, where more traces would take from an answer.
        found["vote_by_min"] = voted(questions, lambda trace: trace.rewards["min"])
    return found
