"""Prompts for RL: a question and how often the debate got it right."""

from collections.abc import Sequence

from agentark.records.debates import AGGREGATOR
from agentark.records.sets import RlPrompt
from agentark.records.traces import Trace


def rl_prompt(traces: Sequence[Trace]) -> RlPrompt:
    """The question with its pass rate in the debate: a group without variance teaches GRPO nothing."""
    turns = [t for t in traces if t.agent != AGGREGATOR]
    first = traces[0]
    return RlPrompt(
        question_id=first.question_id,
        question=first.question,
        choices=first.choices,
        gold=first.gold,
        gold_type=first.gold_type,
        pass_rate=sum(t.correct for t in turns) / len(turns) if turns else 0.0,
        licence=first.licence,
        other_golds=first.other_golds,
    )
