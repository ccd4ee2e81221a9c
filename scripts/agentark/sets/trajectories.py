"""How many agents' traces a question's set may use, for figures over the amount of data."""

from collections.abc import Sequence

from agentark.records.debates import AGGREGATOR
from agentark.records.traces import Trace


def of_first_agents(traces: Sequence[Trace], n: int | None) -> list[Trace]:
    """The turns, over all rounds, of the n agents with the lowest numbers: fewer agents' lie inside more agents'.

    Args:
        traces: all of one question.
        n: none = all agents, who settles on the debate's answer among them.
    """
    if n is None:
        return list(traces)
    agents = sorted({trace.agent for trace in traces} - {AGGREGATOR})[:n]
    return [trace for trace in traces if trace.agent in agents]
