"""Scores of many steps: traces go through the model by tokens, and a prompt that several share goes once.

A trace that is longer than the model reads is scored in windows.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agentark.traces.steps import split_steps
from agentark.training import weights
from agentark.training.encoding import Asked, EncodedTrace, encode, inputs_behind, prompt_of, read_prompts
from agentark.training.logprobs import token_logps
from agentark.training.prm import ProcessRewardModel

TOKENS_PER_PASS = 16384 if torch.cuda.is_available() else 2048
"""On CPUs more are slower: what they need no longer fits the caches."""
LOGITS_PER_PASS = TOKENS_PER_PASS // 4
"""A vocabulary of 50,000 makes 200 kB of logits a token."""


def score_steps(
    model: ProcessRewardModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Asked], texts: Sequence[str]
) -> list[list[float]]:
    """Score arbitrary texts, whichever model wrote them: they are split into steps and tokenised here.

    Returns:
        One list a text, one score a step; an empty list for a text without steps.
    """
    traces = [encode(tokenizer, q, text, split_steps(text)) for q, text in zip(questions, texts, strict=True)]
    return score_encoded(model, traces, tokenizer.pad_token_id)


def score_encoded(
    model: ProcessRewardModel, traces: Sequence[EncodedTrace], pad_token_id: int, max_length: int | None = None
) -> list[list[float]]:
    """Scores of each trace's steps, in (0, 1), in the order of the traces.

    Args:
        max_length: tokens that the model is to read at once; None = what it can.
    """
    model.eval()
    longest = max_length or model.backbone.config.get_text_config().max_position_embeddings
    # Around all passes: the weights are rounded once.
    with weights.autocast():
        return _in_windows(
            traces,
            longest,
            TOKENS_PER_PASS,
            shared_passes,
            lambda some: torch.sigmoid(_rewards(model, some, pad_token_id)),
        )


def log_probabilities(
    untrained: PreTrainedModel, traces: Sequence[EncodedTrace], pad_token_id: int, max_length: int | None = None
) -> list[list[float]]:
    """Mean log-probability of each step's tokens under a language model, in the order of the traces."""
    untrained.eval()
    longest = max_length or untrained.config.get_text_config().max_position_embeddings
    return _in_windows(
        traces, longest, LOGITS_PER_PASS, shared_passes, lambda some: _log_probabilities(untrained, some, pad_token_id)
    )


def _in_windows(
    traces: Sequence[EncodedTrace],
    max_length: int,
    tokens_per_pass: int,
    cut: Callable[[Sequence[EncodedTrace], int], Iterable[list[int]]],
    values_of: Callable[[list[EncodedTrace]], Tensor],
) -> list[list[float]]:
    """A value (B, S) of each step, from passes through a model; what is beyond a trace's steps is padding."""
    cuts = [[(window.key, window) for window in windows(trace, max_length)] for trace in traces]
    # Agents often say the same, and planted errors leave most of a trace as it was.
    different = dict(pair for pairs in cuts for pair in pairs)
    keys, parts = list(different), list(different.values())
    found: dict[Hashable, list[float]] = {}
    for chosen in cut(parts, tokens_per_pass):
        found |= zip([keys[i] for i in chosen], values_of([parts[i] for i in chosen]).tolist(), strict=True)
    # Windows of a trace are in order, and so are their steps.
    return [[value for key, part in pairs for value in found[key][: len(part.steps)]] for pairs in cuts]


@torch.no_grad()
def _rewards(model: ProcessRewardModel, traces: list[EncodedTrace], pad_token_id: int) -> Tensor:
    """(B, S) rewards."""
    inputs, _ = inputs_behind(traces, [trace.n_prompt for trace in traces], pad_token_id)
    return model(**send_to_device(inputs, model.head.weight.device))[0]


@torch.no_grad()
def _log_probabilities(untrained: PreTrainedModel, traces: list[EncodedTrace], pad_token_id: int) -> Tensor:
    """(B, S), the mean over a step's tokens."""
    # The first token of a text is foretold by the prompt's last one.
    n_read = [trace.n_prompt - 1 for trace in traces]
    inputs, left = inputs_behind(traces, n_read, pad_token_id)
    inputs = send_to_device(inputs, untrained.device)
    del inputs["step_tokens"]
    past = read_prompts(untrained, inputs.pop("prompts")) if "prompts" in inputs else None
    ids = inputs["input_ids"]
    labels = torch.full_like(ids, -100)
    for row, trace in enumerate(left):
        for first, last in trace.steps:
            labels[row, first : last + 1] = ids[row, first : last + 1]
    logps, _ = token_logps(untrained, labels=labels, past=past, **inputs)
    # The log-probability of token t stands at t - 1.
    means = [
        torch.stack([row[first - 1 : last].mean() for first, last in trace.steps])
        for row, trace in zip(logps, left, strict=True)
    ]
    return nn.utils.rnn.pad_sequence(means, batch_first=True)


def windows(trace: EncodedTrace, max_length: int) -> list[EncodedTrace]:
    """A trace in parts that the model can read: its prompt and a stretch of its text. All steps are in one of them, in
    order, and each but the first window's with at least half a window before it.

    A prompt is cut from its beginning if it would leave less than half of a window for the text; a trace without steps
    has no windows.
    """
    steps = trace.steps
    if steps and len(trace.input_ids) <= max_length:
        return [trace]
    n_prompt = min(trace.n_prompt, max_length // 2)
    room, start, parts = max_length - n_prompt, trace.n_prompt, []
    while steps:
        read = [(first, last) for first, last in steps if last < start + room]
        if read:
            parts.append(trace.part(start, read[-1][1] + 1, read, n_prompt))
            steps = steps[len(read) :]
        if steps:
            start = max(start, steps[0][1] + 1 - room // 2)
    return parts


def passes(traces: Sequence[EncodedTrace], tokens: int) -> list[list[int]]:
    """Traces, by number, that go through the model together: of like length, at most so many tokens with their padding,
    and at least one."""
    return _cut(traces, tokens, sorted(range(len(traces)), key=lambda number: len(traces[number].input_ids)))


def shared_passes(traces: Sequence[EncodedTrace], tokens: int) -> list[list[int]]:
    """The same, with traces that have a prompt in common beside each other, and prompts of like length."""

    def place(number: int) -> tuple[int, tuple[int, ...], int]:
        trace = traces[number]
        return trace.n_prompt, prompt_of(trace), len(trace.input_ids)

    return _cut(traces, tokens, sorted(range(len(traces)), key=place))


def _cut(traces: Sequence[EncodedTrace], tokens: int, order: Sequence[int]) -> list[list[int]]:
    cut: list[list[int]] = []
    longest = 0
    for number in order:
        longest = max(longest, len(traces[number].input_ids))
        if cut and longest * (len(cut[-1]) + 1) <= tokens:
            cut[-1].append(number)
        else:
            cut.append([number])
            longest = len(traces[number].input_ids)
    return cut
