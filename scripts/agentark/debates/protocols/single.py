"""One agent answers once (chain of thought): the baseline of every table.

Source: Wei et al. 2022, arXiv 2201.11903; zero-shot, as the students are asked.
"""

from agentark.debates.protocols.conversation import Ask
from agentark.records.questions import Question


async def single(question: Question, ask: Ask) -> str | None:
    """One call."""
    return (await ask(agent=0, round=1)).answer
