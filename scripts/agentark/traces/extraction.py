"""Extract graded traces from debates, and from a trace the text that a student learns.

Differs from the reference code, which keeps last-round replies in one string: every turn is a trace of its own, so
an agent that corrected itself can be told from one that was right all along.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from agentark.engines.prompts import ANSWER_MARKER, answer_statement
from agentark.grading.comparing import answer_key, majority
from agentark.grading.grades import Grade, grade
from agentark.grading.reading import after_reasoning
from agentark.records.debates import SETTLER, SOLVER, Debate, Turn
from agentark.records.questions import GoldType
from agentark.records.row import content_id
from agentark.records.traces import Trace, TraceKind
from agentark.traces.steps import split_steps

DOUBT, OTHERS = "Wait, let me check that.", "Another way of solving it gives {answer}, so there is a mistake above."
MAX_REPLY_CHARS = 200_000
"""Longer than any context of today holds: a loop, or a file that was read as a reply."""
_MARKER = re.compile(rf"\b{ANSWER_MARKER}\b", re.IGNORECASE)
BEFORE, AFTER = 80, 200
"""Characters that the sentence with the answer may have on either side of its marker."""


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
        grade(turn.reply, question.golds, question.gold_type, n_choices)
        if turn.role in (SOLVER, SETTLER) and not why_no_trace(turn)
        else None
        for turn in debate.turns
    ]


def why_no_trace(turn: Turn) -> str | None:
    """What is wrong with a solution that can teach nothing; None = nothing, or none was asked for."""
    if turn.role not in (SOLVER, SETTLER):
        return None
    if turn.status == "failed":
        return "a failed request"
    if not turn.reply.strip():
        return "no text"
    return f"more than {MAX_REPLY_CHARS:,} characters" if len(turn.reply) > MAX_REPLY_CHARS else None


def key_of(turn: Turn, debate: Debate) -> str | None:
    """What a turn's answer counts as; None when it has none."""
    return None if turn.answer is None else answer_key(turn.answer, debate.question.gold_type)


def followed(turn: Turn, debate: Debate) -> list[Turn]:
    """The turns of others that a turn has read and whose answer it gives."""
    key = key_of(turn, debate)
    read = (debate.turns[place] for place in turn.reads)
    return [one for one in read if one.agent != turn.agent and key == key_of(one, debate) is not None]


@dataclass
class _Agent:
    """Where one agent stands as its debate goes on."""

    right_at_first: bool
    right: bool
    turned_round: int | None = None
    turned_by: list[int] = field(default_factory=list)


def traces_of(debate: Debate, verdicts: list[Grade | None] | None = None) -> Iterator[Trace]:
    """Every solution in a debate as a graded trace, round by round; failed and empty turns yield none.

    Args:
        verdicts: of `verdicts_of`, a turn each, where they are known already.
    """
    verdicts = verdicts_of(debate) if verdicts is None else verdicts
    question = debate.question
    vote = majority([turn.answer for turn in debate.round_turns(debate.n_rounds)], question.gold_type)
    consensus = None if vote is None else answer_key(vote, question.gold_type)
    agents: dict[int, _Agent] = {}
    for turn, verdict in sorted(zip(debate.turns, verdicts, strict=True), key=lambda pair: pair[0].round):
        right = bool(verdict and verdict.correct)
        agent = agents.setdefault(turn.agent, _Agent(right, right))
        if right != agent.right:
            agent.right, agent.turned_round = right, turn.round
            agent.turned_by = sorted({one.agent for one in followed(turn, debate)})
        if verdict is None:
            continue
        # What a model thought to itself is no reasoning that anybody was shown, nor can a student write it.
        said = after_reasoning(turn.reply) or ""
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
            kind="aggregate" if turn.role == SETTLER else kind_of(right, agent.right_at_first),
            text=said,
            answer=verdict.answer,
            correct=right,
            decided_by=None if verdict.undecided else "verifier" if verdict.by_verifier else "rules",
            consensus=consensus is not None and key_of(turn, debate) == consensus,
            turned_round=agent.turned_round,
            turned_by=agent.turned_by,
            steps=split_steps(said),
            truncated=turn.status == "truncated",
            completion_tokens=turn.completion_tokens,
            licence=question.licence,
            other_golds=question.other_golds,
        )


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
    reasoning = reasoning[: _statement_start(reasoning, trace.gold_type)].rstrip()
    head = f"{reasoning}\n" if reasoning else ""
    return head + answer_statement(trace.answer, trace.gold_type), len(head)


def _statement_start(text: str, gold_type: GoldType) -> int:
    """Where the sentence begins that ends a text with its answer; the text's length where there is none.

    A free answer may be long; without a statement all of the text is it.
    """
    if gold_type == "free":
        return max((marker.start() for marker in _MARKER.finditer(text)), default=0)
    line_start = text.rfind("\n") + 1
    for marker in _MARKER.finditer(text, line_start):
        if len(text) - marker.end() <= AFTER:
            return max(text.rfind(".", line_start, marker.start()) + 1, line_start, marker.start() - BEFORE)
    return len(text)


def as_correction(trace: Trace, traces: Sequence[Trace]) -> tuple[str, int]:
    """A corrective trace as one agent that corrects itself: its wrong attempt, the doubt, its revision.

    The doubt names the answers of the agents that it then followed, since a student has no one else to hear.

    Args:
        traces: all of the same question.

    Returns:
        As `as_completion`, which other traces get.
    """
    text, answer_start = as_completion(trace)
    turned = trace.turned_round or 0
    before = [t for t in traces if t.agent == trace.agent and t.round < turned and t.kind == "wrong"]
    attempts = [t for t in before if t.text.strip() and not t.truncated]
    if trace.kind != "corrective" or not attempts:
        return text, answer_start
    attempt = max(attempts, key=lambda t: t.round)
    doubt = DOUBT
    if trace.turned_by and trace.answer is not None:
        doubt += f" {OTHERS.format(answer=trace.answer)}"
    head = f"{as_completion(attempt)[0]}\n\n{doubt}\n\n"
    return head + text, len(head) + answer_start
