"""Transcripts of debates: for the terminal, and as HTML for the report.

What models wrote is shown as text and nothing else: control characters are taken out before a terminal sees them, and
HTML is escaped.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from agentark.debates.protocols.conversation import label
from agentark.grading.comparing import is_right
from agentark.records.debates import SETTLER, SOLVER, Debate, Turn
from agentark.traces.extraction import followed, key_of

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
GREEN, RED, YELLOW, BOLD, DIM, RESET = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True)
class Line:
    """A turn as it is shown."""

    turn: Turn
    author: str
    right: bool | None
    """None where no solution was asked for."""
    change: str
    """What became of the agent's answer: "", "changed from 7", "changed from 7 to what Agent 2 said"."""


def lines(debate: Debate) -> Iterator[Line]:
    """The turns in order, each with its verdict and whether its author changed its mind."""
    question = debate.question
    last: dict[int, Turn] = {}
    for turn in debate.turns:
        solution = turn.role in (SOLVER, SETTLER)
        right = is_right(turn.answer, question.golds, question.gold_type) if solution else None
        before, change = last.get(turn.agent), ""
        if turn.role == SOLVER:
            if before is not None and key_of(before, debate) != key_of(turn, debate):
                change = f"changed from {before.answer or 'no answer'}"
                if led := followed(turn, debate):
                    change += " to what " + ", ".join(label(t) for t in led) + " said"
            last[turn.agent] = turn
        yield Line(turn, label(turn), right, change)


def clean(text: str) -> str:
    """Text without what a terminal would obey."""
    return _CONTROL.sub("\ufffd", text)


def one_line(debate: Debate) -> str:
    """A debate in a list: its question, its answers round by round, its end."""
    question = debate.question
    rounds = " > ".join(
        ",".join(clean(turn.answer or "-") for turn in debate.round_turns(n)) for n in range(1, debate.n_rounds + 1)
    )
    text = clean(question.question).replace("\n", " ")
    text = text if len(text) <= 60 else text[:59] + "…"
    return f"{question.question_id}  {text:<60}  {rounds} = {clean(debate.answer or '-')} (gold {clean(question.gold)})"


def as_text(debate: Debate, *, colour: bool, prompts: bool = False) -> str:
    """A debate for the terminal.

    Args:
        prompts: show what each agent read as well.
    """

    def paint(code: str, text: str) -> str:
        return f"{code}{text}{RESET}" if colour else text

    question = debate.question
    parts = [
        paint(BOLD, clean(question.question)),
        *(f"  ({chr(ord('A') + i)}) {clean(choice)}" for i, choice in enumerate(question.choices or [])),
        f"gold {clean(question.gold)}   {debate.protocol} of {debate.teacher}   question {question.question_id}",
    ]
    number = 0
    for line in lines(debate):
        turn = line.turn
        if turn.round != number:
            number = turn.round
            parts.append(paint(BOLD, f"\nRound {number}"))
        mark = {True: paint(GREEN, "right"), False: paint(RED, "wrong"), None: ""}[line.right]
        head = [paint(BOLD, line.author), *([mark] if mark else [])]
        if line.right is not None:
            head.append(f"answer {clean(turn.answer) if turn.answer else 'none'}")
        if line.change:
            head.append(paint(YELLOW, clean(line.change)))
        if turn.status != "ok":
            head.append(paint(RED, turn.status))
        if turn.n_left_out:
            head.append(paint(RED, f"{turn.n_left_out} replies did not fit"))
        if turn.context_cut:
            head.append(paint(RED, f"{turn.context_cut:,} characters of the context did not fit"))
        parts.append("  ".join(head))
        if prompts:
            parts.append(paint(DIM, _indented(clean(turn.prompt), "  | ")))
        parts.append(_indented(clean(turn.reply.strip()) or "(no reply)", "    "))
    agreed = f"agreed in round {debate.consensus_round}" if debate.consensus_round else "never agreed"
    parts.append(f"\nanswer {clean(debate.answer) if debate.answer else 'none'}, gold {clean(question.gold)}; {agreed}")
    return "\n".join(parts) + "\n"


def _indented(text: str, by: str) -> str:
    return "\n".join(by + line for line in text.splitlines())


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b }
h2 { font-size: 1.1rem; margin-top: 3rem; border-top: 1px solid #ccc; padding-top: 1rem }
h3 { font-size: .95rem; color: #555; margin: 1.2rem 0 .3rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace; margin: .2rem 0 .8rem;
  padding: .5rem .7rem; background: #f6f6f4; border-left: 4px solid #bbb }
pre.right { border-color: #2f8f4e } pre.wrong { border-color: #c0392b }
.change { color: #9a6700 } .right { color: #2f8f4e } .wrong { color: #c0392b } .what { color: #555 }
"""


def as_html(debates: list[tuple[str, Debate]]) -> str:
    """A page of debates, each under a title."""
    body = []
    for title, debate in debates:
        question = debate.question
        choices = "".join(f"<br>({chr(ord('A') + i)}) {_safe(c)}" for i, c in enumerate(question.choices or []))
        body.append(f"<h2>{_safe(title)}</h2><p>{_safe(question.question)}{choices}</p>")
        body.append(f'<p class="what">gold {_safe(question.gold)}, question {_safe(question.question_id)}</p>')
        number = 0
        for line in lines(debate):
            turn = line.turn
            if turn.round != number:
                number = turn.round
                body.append(f"<h3>Round {number}</h3>")
            kind = {True: "right", False: "wrong", None: "what"}[line.right]
            answer = (
                f' <span class="{kind}">{kind}, answer {_safe(turn.answer or "none")}</span>' if kind != "what" else ""
            )
            change = f' <span class="change">{_safe(line.change)}</span>' if line.change else ""
            body.append(f"<b>{_safe(line.author)}</b>{answer}{change}")
            body.append(f'<pre class="{kind}">{_safe(turn.reply.strip()) or "(no reply)"}</pre>')
        body.append(f'<p class="what">answer of the debate: {_safe(debate.answer or "none")}</p>')
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Debates</title>'
        f"<style>{_STYLE}</style><h1>Debates</h1>{''.join(body)}</html>\n"
    )


def _safe(text: str) -> str:
    return html.escape(clean(text))
