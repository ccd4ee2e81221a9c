"""Scores of many steps: traces go through the model by tokens, and a prompt that several share goes once.

A trace that is longer than the model reads is scored in windows.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

from agentark.traces.steps import split_steps
from agentark.training import weights
from agentark.training.logprobs import token_logps
from agentark.training.prm import Asked, EncodedTrace, ProcessRewardModel, encode, pad

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
    return _in_windows(
        traces, longest, TOKENS_PER_PASS, shared_passes, lambda some: torch.sigmoid(_rewards(model, some, pad_token_id))
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
    with weights.autocast():
        past, n_read = _shared_prompt(model.backbone, traces, traces[0].n_prompt)
        inputs = _after(traces, n_read, pad_token_id, next(model.parameters()).device)
        return model(**inputs, past=past)[0]


@torch.no_grad()
def _log_probabilities(untrained: PreTrainedModel, traces: list[EncodedTrace], pad_token_id: int) -> Tensor:
    """(B, S), the mean over a step's tokens."""
    # The first token of a text is foretold by the prompt's last one.
    past, n_read = _shared_prompt(untrained, traces, traces[0].n_prompt - 1)
    inputs = _after(traces, n_read, pad_token_id, untrained.device)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    spans = [[(first - n_read, last - n_read) for first, last in trace.steps] for trace in traces]
    labels = torch.full_like(ids, -100)
    for row, steps in enumerate(spans):
        for first, last in steps:
            labels[row, first : last + 1] = ids[row, first : last + 1]
    logps, _ = token_logps(untrained, ids, mask, labels, past=past)
    # The log-probability of token t stands at t - 1.
    means = [
        torch.stack([row[first - 1 : last].mean() for first, last in steps])
        for row, steps in zip(logps, spans, strict=True)
    ]
    return nn.utils.rnn.pad_sequence(means, batch_first=True)


def _shared_prompt(model: nn.Module, traces: list[EncodedTrace], n_tokens: int) -> tuple[Cache | None, int]:
    """What the model has read of a prompt that several traces have in common, for each of them, and how many tokens."""
    if not len({prompt_of(trace) for trace in traces}) == 1 < len(traces) or n_tokens < 1:
        return None, 0
    prompt = torch.tensor([traces[0].input_ids[:n_tokens]], device=next(model.parameters()).device)
    # No logits of the prompt; a backbone has none.
    few = {} if model.get_output_embeddings() is None else {"logits_to_keep": 1}
    past = model(input_ids=prompt, use_cache=True, **few).past_key_values
    past.batch_repeat_interleave(len(traces))
    return past, n_tokens


def _after(traces: list[EncodedTrace], n_read: int, pad_token_id: int, where: torch.device) -> dict[str, Tensor]:
    """The model's inputs behind the tokens that it has read."""
    left = [trace.part(n_read, len(trace.input_ids), trace.steps) if n_read else trace for trace in traces]
    inputs = {name: tensor.to(where) for name, tensor in pad(left, pad_token_id).items()}
    mask = inputs["attention_mask"]
    inputs["attention_mask"] = torch.cat([mask.new_ones(len(traces), n_read), mask], dim=1)
    return inputs


def prompt_of(trace: EncodedTrace) -> tuple[int, ...]:
    return tuple(trace.input_ids[: trace.n_prompt])


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
    lengths = [len(trace.input_ids) for trace in traces]
    cut: list[list[int]] = []
    for number in sorted(range(len(traces)), key=lengths.__getitem__):
        if cut and lengths[number] * (len(cut[-1]) + 1) <= tokens:
            cut[-1].append(number)
        else:
            cut.append([number])
    return cut


def shared_passes(traces: Sequence[EncodedTrace], tokens: int) -> Iterator[list[int]]:
    """Passes in which either all traces have the same prompt, or each is the only one of its own."""
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for number, trace in enumerate(traces):
        by_prompt.setdefault(prompt_of(trace), []).append(number)
    alone = [numbers[0] for numbers in by_prompt.values() if len(numbers) == 1]
    for numbers in [alone, *(numbers for numbers in by_prompt.values() if len(numbers) > 1)]:
        for chosen in passes([traces[number] for number in numbers], tokens):
            yield [numbers[i] for i in chosen]
