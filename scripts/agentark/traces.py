"""From debates to graded traces, and from a trace to the text that a student learns.

Differs from the reference code, which keeps last-round replies in one string: every turn is a trace of its own, so
an agent that corrected itself can be told from one that was right all along.
"""

import re
from collections.abc import Iterator

from agentark.grading import Grade, answer_key, grade, majority
from agentark.prompts import ANSWER_MARKER, answer_statement
from agentark.records import SETTLER, SOLVER, Debate, GoldType, Trace, TraceKind, content_id

_STATEMENT = re.compile(rf"[^\n.]{{0,80}}\b{ANSWER_MARKER}\b[^\n]{{0,200}}\s*\Z", re.IGNORECASE)


def kind_of(correct: bool, correct_at_first: bool) -> TraceKind:
    """How a turn stands to the same agent's first round (paper 3.2; `corrective` is wrong to right)."""
    if correct:
        return "stable" if correct_at_first else "corrective"
    return "degraded" if correct_at_first else "wrong"


def verdicts_of(debate: Debate) -> list[Grade | None]:
    """For each turn the grader's verdict on its reply; None where no solution was asked for or given."""
    question = debate.question
    n_choices = len(question.choices) if question.choices else None
    return [
        grade(turn.reply, question.gold, question.gold_type, n_choices)
        if turn.role in (SOLVER, SETTLER) and turn.status != "failed" and turn.reply.strip()
        else None
        for turn in debate.turns
    ]


def traces_of(debate: Debate, verdicts: list[Grade | None] | None = None) -> Iterator[Trace]:
    """Every solution in a debate as a graded trace; failed and empty turns yield none.

    Args:
        verdicts: of `verdicts_of`, a turn each, where they are known already.
    """
    verdicts = verdicts_of(debate) if verdicts is None else verdicts
    question = debate.question
    last = [turn.answer for turn in debate.round_turns(debate.n_rounds)]
    consensus = majority(last, question.gold_type)
    right_at_first: dict[int, bool] = {}
    for turn, verdict in zip(debate.turns, verdicts, strict=True):
        correct_at_first = right_at_first.setdefault(turn.agent, bool(verdict and verdict.correct))
        if verdict is None:
            continue
        yield Trace(
            trace_id=content_id(debate.teacher, question.question_id, turn.agent, turn.round, turn.reply),
            question_id=question.question_id,
            dataset=question.dataset,
            split=question.split,
            question=question.question,
            choices=question.choices,
            gold=question.gold,
            gold_type=question.gold_type,
            agent=turn.agent,
            round=turn.round,
            kind="aggregate" if turn.role == SETTLER else kind_of(verdict.correct, correct_at_first),
            text=turn.reply,
            answer=verdict.answer,
            correct=verdict.correct,
            consensus=_same(verdict.answer, consensus, question.gold_type),
            truncated=turn.status == "truncated",
            completion_tokens=turn.completion_tokens,
        )


def _same(answer: str | None, other: str | None, gold_type: GoldType) -> bool:
    return answer is not None and other is not None and answer_key(answer, gold_type) == answer_key(other, gold_type)


def as_completion(trace: Trace) -> tuple[str, int]:
    """A trace as a student should write it: reasoning r, then the statement of the answer y* (Eq. 1).

    Agents state answers in many ways or not at all; one closing form makes the answer span exact and keeps the
    grader's reading of a student free of guesses.

    Returns:
        The text and the character at which the answer's statement starts.
    """
    reasoning = trace.text.strip()
    if trace.answer is None:
        return reasoning, len(reasoning)
    if closing := _STATEMENT.search(reasoning):
        reasoning = reasoning[: closing.start()].rstrip()
    head = f"{reasoning}\n" if reasoning else ""
    return head + answer_statement(trace.answer, trace.gold_type), len(head)
