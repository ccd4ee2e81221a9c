"""From a dialogue to the tokens that a model reads: the same in every engine, and in training."""

from pathlib import Path

from transformers import AutoConfig, PreTrainedTokenizerBase

from agentark.prompts import Message


def render(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> str:
    """The dialogue in the model's chat template, up to where its reply begins.

    Thinking is switched off where the template has the switch (Qwen3): its hidden text would fill `max_tokens`, and
    the reasoning that we distil is the visible one. Other templates never read the variable.
    """
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> list[int]:
    # The template has written the special tokens, a beginning-of-text among them: the tokenizer must add none.
    return tokenizer(render(tokenizer, messages), add_special_tokens=False)["input_ids"]


def context_length(folder: Path, max_model_len: int) -> int:
    """Tokens that prompt and reply may have together: the configured number, or the model's own if that is less."""
    model = AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config()
    return min(max_model_len, model.max_position_embeddings)


def too_long(n_prompt_tokens: int, context: int) -> str | None:
    """Why a prompt cannot be answered; None when it can. Prompts are never cut: what is cut may be the question."""
    if n_prompt_tokens < context:
        return None
    return (
        f"the prompt has {n_prompt_tokens} tokens and the context {context}: raise engine.max_model_len "
        "if the model allows it, or lower the tokens a reply may have"
    )
