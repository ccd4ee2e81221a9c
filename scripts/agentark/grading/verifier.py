"""Two-step verification (paper 3.2 and A.3): rules first, a language model for what they cannot decide.

The verifier reads question, gold and the extracted answer, and no reasoning, which could talk it into a verdict
(flaw L6); `sees: trace` shows it the whole reply, as the paper's code does. It answers true or false and nothing
else; anything else leaves the item undecided, which is not the same as wrong (flaw L5). Some items that the rules have
decided are put to it as well: the only way to know what its verdicts are worth (flaw L8).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentark.engines.chat import Reply, Sampling
from agentark.engines.prompts import Message, question_text
from agentark.grading.grades import Grade
from agentark.grading.reading import after_reasoning
from agentark.records.debates import Debate, Turn
from agentark.records.questions import Question
from agentark.records.row import content_id
from agentark.records.traces import Verdict

TRUE, FALSE = "true", "false"
SAMPLING = Sampling(temperature=0.0, max_tokens=8, choices=(TRUE, FALSE))
MAX_TRACE_CHARS = 20_000
"""Of a shown reply the end is kept: there stands the answer. Question, gold and answer are never cut (flaw L2)."""
TASK = (
    "Is the student's final answer the same as the reference answer? Other units, formats, orders and names for the "
    "same thing are the same; a different value, thing or choice is not. Reply with one word: true or false."
)


def messages(question: Question, answer: str, trace: str | None) -> list[Message]:
    """What the verifier reads.

    Args:
        trace: the whole reply, to show it; None = the answer alone.
    """
    parts = [
        f"Question:\n{question_text(question.question, question.choices)}",
        f"Reference answer:\n{question.gold}",
        *([f"Student's solution:\n{trace[-MAX_TRACE_CHARS:]}"] if trace is not None else []),
        f"Student's final answer:\n{answer}",
        TASK,
    ]
    return [{"role": "user", "content": "\n\n".join(parts)}]


def item_id(question: Question, answer: str, trace: str | None) -> str:
    """One item is asked once, however many agents gave that answer."""
    return content_id(question.question_id, question.gold, answer, trace)


def read(reply: Reply) -> tuple[bool | None, float | None]:
    """The verdict and the probability of "true"; None where the reply is neither word or tells no probability."""
    word = reply.text.strip().strip(".\"'*").casefold()
    verdict = {TRUE: True, FALSE: False}.get(word) if reply.status != "failed" else None
    return verdict, reply.chances[TRUE] if reply.chances else None


def settled(debate: Debate, grades: list[Grade | None], verdicts: Mapping[str, bool], sees: str) -> list[Grade | None]:
    """The grades of a debate, with the verifier's verdict where the rules have none.

    Args:
        grades: the rules', a turn each.
        verdicts: by `item_id`.
        sees: `answer` or `trace`, as the verifier was asked.
    """

    def grade(turn: Turn, by_rules: Grade | None) -> Grade | None:
        if by_rules is None or not by_rules.undecided or by_rules.answer is None:
            return by_rules
        trace = after_reasoning(turn.reply) if sees == "trace" else None
        verdict = verdicts.get(item_id(debate.question, by_rules.answer, trace))
        return by_rules if verdict is None else Grade(by_rules.answer, verdict, undecided=False, by_verifier=True)

    return [grade(turn, by_rules) for turn, by_rules in zip(debate.turns, grades, strict=True)]


@dataclass(frozen=True)
class Agreement:
    """Verifier against rules, on items that both decided; rules are taken for the truth."""

    n: int
    both_right: int
    both_wrong: int
    false_accepts: int
    """The verifier says true, the rules say wrong."""
    false_rejects: int

    @classmethod
    def of(cls, verdicts: Iterable[Verdict]) -> "Agreement":
        n = Counter((v.by_rules, v.by_verifier) for v in verdicts if None not in (v.by_rules, v.by_verifier))
        return cls(n.total(), n[True, True], n[False, False], n[False, True], n[True, False])

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa; None where chance alone agrees always."""
        if not self.n:
            return None
        agreed = (self.both_right + self.both_wrong) / self.n
        rules_right = (self.both_right + self.false_rejects) / self.n
        verifier_right = (self.both_right + self.false_accepts) / self.n
        by_chance = rules_right * verifier_right + (1 - rules_right) * (1 - verifier_right)
        return None if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)
