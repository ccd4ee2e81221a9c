"""From debates to graded traces, and from a trace to the text that a student learns.

Differs from the reference code, which keeps last-round replies in one string: every turn is a trace of its own, so
an agent that corrected itself can be told from one that was right all along.
"""

import re
from collections.abc import Iterator

from agentark.grading import answer_key, grade, majority
from agentark.prompts import ANSWER_MARKER, answer_statement
from agentark.records import AGGREGATOR, Debate, GoldType, Trace, TraceKind, content_id

_STATEMENT = re.compile(rf"[^\n.]{{0,80}}\b{ANSWER_MARKER}\b[^\n]{{0,200}}\s*\Z", re.IGNORECASE)


def kind_of(correct: bool, correct_at_first: bool) -> TraceKind:
    """How a turn stands to the same agent's first round (paper 3.2; `corrective` is wrong to right)."""
    if correct:
        return "stable" if correct_at_first else "corrective"
    return "degraded" if correct_at_first else "wrong"


def traces_of(debate: Debate) -> Iterator[Trace]:
    """Every turn of a debate as a graded trace; failed and empty turns yield none."""
    question = debate.question
    n_choices = len(question.choices) if question.choices else None
    verdicts = {
        (turn.agent, turn.round): grade(turn.reply, question.gold, question.gold_type, n_choices)
        for turn in debate.turns
        if turn.status != "failed" and turn.reply.strip()
    }
    last = [turn.answer for turn in debate.round_turns(debate.n_rounds)]
    consensus = majority(last, question.gold_type)
    for turn in debate.turns:
        verdict = verdicts.get((turn.agent, turn.round))
        if verdict is None:
            continue
        first = verdicts.get((turn.agent, 1))
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
            kind="aggregate" if turn.agent == AGGREGATOR else kind_of(verdict.correct, bool(first and first.correct)),
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
