"""Render a dialogue to tokens by the model's chat template: the same in every engine, and in training."""

import functools
import hashlib
import re
from datetime import date
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedTokenizerBase

from agentark.engines.prompts import Message

_SWITCH = "enable_thinking"
_THINKS = f"{{%- set {_SWITCH} = true -%}}\n"
_DAY = date(2024, 7, 26)  # Llama 3's own, where its template knows no other
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def render(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> str:
    """The dialogue in the model's chat template, up to where its reply begins; a last message of its own goes on.

    Thinking is switched off where the template has the switch (Qwen3), unless `let_think` has switched it on in the
    model's folder: its hidden text would fill `max_tokens`, and the reasoning that we distil is the visible one. Where
    it writes the date (Llama 3.2), that is always the same one: a student must be asked tomorrow as it was trained
    today. Other templates never read these variables.
    """
    clean = [{**message, "content": _defused(tokenizer, message["content"])} for message in messages]
    # Templates rewrite finished replies (Qwen3's takes their thoughts away), so one to go on with is put in by hand.
    begun = clean.pop()["content"] if messages[-1]["role"] == "assistant" else ""
    asked = tokenizer.apply_chat_template(
        clean, tokenize=False, add_generation_prompt=True, enable_thinking=False, strftime_now=_DAY.strftime
    )
    return asked + begun


def _defused(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """A message that cannot pose as several: no control characters, and no special tokens, only their letters.

    Replies of models are quoted in prompts, and one that writes `<|im_end|>` must not end the message it stands in.
    """
    special = _any_of(special_tokens(tokenizer))
    return special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", _CONTROL.sub(" ", text))


@functools.cache
def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """All of them: those with a part in the template (Gemma's `<end_of_turn>`, Llama's `<|start_header_id|>`) are often
    not among the tokenizer's named ones."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return tuple(dict.fromkeys([*tokenizer.all_special_tokens, *added]))


@functools.cache
def _any_of(tokens: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True)) or r"(?!)")


def let_think(tokenizer: PreTrainedTokenizerBase) -> None:
    """Switch thinking on in the template itself, for whoever opens it.

    Raises:
        ValueError: the template has no switch.
    """
    if _SWITCH not in str(tokenizer.chat_template):
        raise ValueError(f"its chat template has no `{_SWITCH}`")
    tokenizer.chat_template = _THINKS + tokenizer.chat_template


def facts(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What a manifest tells about prompts."""
    template = str(tokenizer.chat_template)
    return {
        "chat_template_sha256": hashlib.sha256(template.encode()).hexdigest(),
        "thinking": "on" if template.startswith(_THINKS) else "off" if _SWITCH in template else "no switch",
    }


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> list[int]:
    # The template has written the special tokens, a beginning-of-text among them: the tokenizer must add none.
    return tokenizer(render(tokenizer, messages), add_special_tokens=False)["input_ids"]


def context_length(folder: Path, max_model_len: int) -> int:
    """Tokens that prompt and reply may have together: the configured number, or the model's own if that is less."""
    model = AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config()
    return min(max_model_len, model.max_position_embeddings)


def too_long(n_prompt_tokens: int, context: int) -> str | None:
    """Why a prompt cannot be answered; None when it can. No engine cuts one: what it cuts may be the question."""
    if n_prompt_tokens < context:
        return None
    return (
        f"the prompt has {n_prompt_tokens} tokens and the context {context}: raise engine.max_model_len "
        "if the model allows it, or lower the tokens a reply may have"
    )


def first_tokens(tokenizer: PreTrainedTokenizerBase, choices: tuple[str, ...]) -> dict[str, int]:
    """The token that each choice begins with.

    Raises:
        ValueError: two of them begin alike.
    """
    first = {choice: tokenizer(choice, add_special_tokens=False)["input_ids"][0] for choice in choices}
    if len(set(first.values())) < len(choices):
        raise ValueError(f"{', '.join(choices)}: this tokenizer begins two of them with one token")
    return first
