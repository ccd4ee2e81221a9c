"""Prompts. One place, so that debates, students, rollouts and evaluation ask alike.

No template uses a system message: several chat templates (Gemma's) have none.
"""

from typing import Literal, TypedDict

from agentark.records.questions import GoldType


class Message(TypedDict):
    role: Literal["system", "user", "assistant"]
    content: str


ANSWER_MARKER = "The answer is"

_TASK = {
    "number": f'Write the equation with its result, then finish with "{ANSWER_MARKER}" and the number.',
    "latex": "Reason step by step, then put the final answer in \\boxed{}.",
    "choice": f'Reason step by step, then finish with "{ANSWER_MARKER}" and the letter in parentheses.',
    "boolean": f'Reason step by step, then finish with "{ANSWER_MARKER}" and yes or no.',
    "free": f'Finish with "{ANSWER_MARKER}" and the answer in one to three sentences.',
    "text": f'Reason step by step, then finish with "{ANSWER_MARKER}" and the answer in a few words.',
}


def question_text(question: str, choices: list[str] | None) -> str:
    """The question, with its options lettered from A."""
    if not choices:
        return question.strip()
    lettered = "\n".join(f"({chr(ord('A') + i)}) {choice}" for i, choice in enumerate(choices))
    return f"{question.strip()}\n{lettered}"


def instructions(gold_type: GoldType) -> str:
    """How to reason and how to state the answer: the last words of every request for a solution."""
    return _TASK[gold_type]


def solve(question: str, choices: list[str] | None, gold_type: GoldType) -> str:
    """The user message that asks one model to solve one question: debates' first round, training, evaluation."""
    return f"{question_text(question, choices)}\n{instructions(gold_type)}"


def solve_messages(question: str, choices: list[str] | None, gold_type: GoldType) -> list[Message]:
    return [{"role": "user", "content": solve(question, choices, gold_type)}]


def answer_statement(answer: str, gold_type: GoldType) -> str:
    """The sentence that states a final answer, as `solve` asks for it."""
    if gold_type == "latex":
        return f"\\boxed{{{answer}}}"
    stated = f"{ANSWER_MARKER} ({answer})" if gold_type == "choice" else f"{ANSWER_MARKER} {answer}"
    return stated if stated.endswith((".", "!", "?")) else f"{stated}."
