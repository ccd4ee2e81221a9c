"""Questions and completions as a model reads them: rendered text, tokens, and which token holds which character.

The prompt is rendered exactly as it is for generation, and the completion follows it. Rendering the whole dialogue
instead would let templates rewrite the completion (Qwen3's drops and adds reasoning blocks, Llama 3's trims), and a
student would be trained on a prompt that it never meets again.
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agentark.engines import chat_template
from agentark.engines.prompts import solve_messages
from agentark.records.questions import GoldType

_PROBE = "answer-probe"


@dataclass(frozen=True)
class Rendered:
    """Tokens of `prompt + completion`, with their character spans."""

    input_ids: list[int]
    offsets: list[tuple[int, int]]
    """[start, end) of each token in the rendered text; (0, 0) for tokens that the tokenizer adds itself."""
    completion_start: int
    """Character at which the completion begins."""

    def token_at(self, character: int) -> int:
        """Index of the last token up to and with a character of the completion, counted from the completion's start."""
        return self._places[bisect_right(self._starts, self.completion_start + character) - 1]

    @property
    def n_prompt(self) -> int:
        """Tokens that hold nothing of the completion."""
        return sum(end <= self.completion_start for _, end in self.offsets)

    @cached_property
    def _places(self) -> list[int]:
        """The tokens that hold characters."""
        return [i for i, (start, end) in enumerate(self.offsets) if start < end]

    @cached_property
    def _starts(self) -> list[int]:
        return [self.offsets[i][0] for i in self._places]


def render(
    tokenizer: PreTrainedTokenizerBase,
    question: str,
    choices: list[str] | None,
    gold_type: GoldType,
    completion: str,
) -> Rendered:
    """Render and tokenise one example."""
    prompt = chat_template.render(tokenizer, solve_messages(question, choices, gold_type))
    # The template has written the special tokens, a beginning-of-text among them, so the tokenizer must add none.
    encoded = tokenizer(prompt + completion, add_special_tokens=False, return_offsets_mapping=True)
    return Rendered(encoded["input_ids"], encoded["offset_mapping"], len(prompt))


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> str:
    """The token with which the chat template ends an assistant's turn; the end-of-text token when it has none."""
    messages = [{"role": "user", "content": "question"}, {"role": "assistant", "content": _PROBE}]
    after = tokenizer.apply_chat_template(messages, tokenize=False).rpartition(_PROBE)[2]
    found = [token for token in chat_template.special_tokens(tokenizer) if token in after]
    return min(found, key=after.index) if found else tokenizer.eos_token


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end a reply: those that the model knows, and its template's."""
    known = model.generation_config.eos_token_id
    known = known if isinstance(known, list) else [] if known is None else [known]
    return list(dict.fromkeys([*known, tokenizer.convert_tokens_to_ids(end_of_turn(tokenizer))]))
