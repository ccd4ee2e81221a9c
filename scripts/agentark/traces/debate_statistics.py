"""Statistics of debates: who was right when, who moved whom, what it cost.

Debating can hurt (stack.md names published cases), so the table puts the first round's vote beside the debate's own
answer.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from agentark.grading.comparing import answer_key, is_right, majority
from agentark.grading.grades import Grade
from agentark.records.debates import SOLVER, Debate, Turn
from agentark.traces.extraction import followed, key_of, kind_of


class Tally:
    """Sums over the debates of one teacher on one part of one dataset; `row()` makes them shares and means."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._n: Counter[str] = Counter()

    def sums(self) -> dict[str, Any]:
        """What a shard hands on, for `merged`."""
        return {"of": self._of, "n": dict(self._n)}

    @classmethod
    def merged(cls, shards: Iterable[dict[str, Any]]) -> "Tally":
        tally = cls()
        for shard in shards:
            tally._of = tally._of or shard["of"]
            tally._n.update(shard["n"])
        return tally

    def add(self, debate: Debate, verdicts: Sequence[Grade | None]) -> None:
        """
        Args:
            verdicts: the grader's on each turn (`traces.verdicts_of`); None where there is no solution.
        """
        question, n = debate.question, self._n
        self._of = {
            "teacher": debate.teacher,
            "dataset": question.dataset,
            "part": question.split,
            "protocol": debate.protocol,
        }
        n["questions"] += 1
        n["consensus"] += debate.consensus_round is not None
        known = {
            key_of(turn, debate): verdict.correct
            for turn, verdict in zip(debate.turns, verdicts, strict=True)
            if verdict
        }
        right, vote_right = _right(debate, known), _right(first_round_vote(debate), known)
        n["right"] += right
        n["vote_right"] += vote_right
        n["better_than_vote"] += right and not vote_right
        n["worse_than_vote"] += vote_right and not right
        n["answers_at_first"] += _distinct(debate, 1)
        n["answers_at_last"] += _distinct(debate, debate.n_rounds)
        for turn in debate.turns:
            n["turns"] += 1
            n["truncated"] += turn.status == "truncated"
            n["left_out"] += turn.n_left_out
            n["prompt_tokens"] += turn.prompt_tokens
            n["cached_tokens"] += turn.cached_tokens
            n["completion_tokens"] += turn.completion_tokens
            n["seconds"] += turn.latency_s
        solutions: dict[int, list[tuple[Turn, bool]]] = {}
        for turn, verdict in zip(debate.turns, verdicts, strict=True):
            if turn.role == SOLVER:
                correct = bool(verdict and verdict.correct)
                n[f"spoke_{turn.round}"] += 1
                n[f"right_{turn.round}"] += correct
                solutions.setdefault(turn.agent, []).append((turn, correct))
        for said in solutions.values():
            (_, at_first), (_, at_last) = said[0], said[-1]
            n["agents"] += 1
            n[kind_of(at_last, at_first)] += 1
            for (before, right_before), (after, right_now) in pairwise(said):
                self._count_move(debate, before, after, right_before, right_now)

    def _count_move(self, debate: Debate, before: Turn, after: Turn, right_before: bool, right_now: bool) -> None:
        """An agent that changed its answer: towards one that it had read, or on its own."""
        if after.answer is None or key_of(after, debate) == key_of(before, debate):
            return
        effect = "corrected" if right_now and not right_before else "misled" if right_before else "other"
        self._n[f"{'led' if followed(after, debate) else 'alone'}_{effect}"] += 1

    def row(self) -> dict[str, str | float | int | None]:
        """Shares, means and counts, in the order of the table's columns. Accuracies are shares of all questions."""
        n = self._n

        def per(what: str, of: str) -> float | None:
            return round(n[what] / n[of], 6) if n[of] else None

        return {
            **self._of,
            "questions": n["questions"],
            "accuracy": per("right", "questions"),
            "first_round_vote_accuracy": per("vote_right", "questions"),
            "better_than_vote": n["better_than_vote"],
            "worse_than_vote": n["worse_than_vote"],
            "consensus_rate": per("consensus", "questions"),
            "calls_per_question": per("turns", "questions"),
            "agents": n["agents"],
            **{kind: n[kind] for kind in ("stable", "corrective", "degraded", "wrong")},
            **{
                f"{who}_{effect}": n[f"{who}_{effect}"]
                for effect in ("corrected", "misled", "other")
                for who in ("led", "alone")
            },
            "distinct_answers_first": per("answers_at_first", "questions"),
            "distinct_answers_last": per("answers_at_last", "questions"),
            "truncated_share": per("truncated", "turns"),
            "replies_left_out": n["left_out"],
            "prompt_tokens_per_turn": per("prompt_tokens", "turns"),
            "output_tokens_per_turn": per("completion_tokens", "turns"),
            "cached_prompt_share": per("cached_tokens", "prompt_tokens"),
            "seconds_per_turn": per("seconds", "turns"),
            **{
                f"accuracy_round_{number}": per(f"right_{number}", f"spoke_{number}")
                for number in sorted(int(key.removeprefix("spoke_")) for key in n if key.startswith("spoke_"))
            },
        }


def first_round_vote(debate: Debate) -> Debate:
    """The majority vote of a debate's first round: what the same agents knew before they talked."""
    turns = debate.round_turns(1)
    return Debate(
        question=debate.question,
        teacher=debate.teacher,
        protocol="first_round_vote",
        turns=turns,
        answer=majority([turn.answer for turn in turns], debate.question.gold_type),
    )


def _right(debate: Debate, known: Mapping[str | None, bool]) -> bool:
    """By the verdict on a turn that gave the same answer, which may be a verifier's, else by rules."""
    question, answer = debate.question, debate.answer
    if answer is not None and (key := answer_key(answer, question.gold_type)) in known:
        return known[key]
    return is_right(answer, question.golds, question.gold_type)


def _distinct(debate: Debate, number: int) -> int:
    return len({key_of(turn, debate) for turn in debate.round_turns(number)} - {None})
