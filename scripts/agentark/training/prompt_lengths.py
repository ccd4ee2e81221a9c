"""How long the prompts of questions are, and which leave room for an answer."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from transformers import PreTrainedTokenizerBase

from agentark.engines.chat_template import context_length, prompt_ids
from agentark.engines.local_models import open_tokenizer
from agentark.engines.prompts import solve_messages
from agentark.records.questions import Question
from agentark.records.sets import RlPrompt

Asked = TypeVar("Asked", RlPrompt, Question)


def n_tokens(question: RlPrompt | Question, tokenizer: PreTrainedTokenizerBase) -> int:
    """Of a question's prompt."""
    return len(prompt_ids(tokenizer, solve_messages(question.question, question.choices, question.gold_type)))


def that_fit(
    questions: Iterable[Asked], folder: Path, max_tokens: int, max_model_len: int = sys.maxsize
) -> list[Asked]:
    """Those whose prompts leave `max_tokens` for an answer in the context of a model.

    Args:
        folder: the model's.
        max_model_len: a limit below the model's own.
    """
    tokenizer, room = open_tokenizer(folder), context_length(folder, max_model_len) - max_tokens
    return [question for question in questions if n_tokens(question, tokenizer) <= room]
