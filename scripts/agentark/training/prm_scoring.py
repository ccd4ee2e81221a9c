"""Scores of many steps: traces go through the model by tokens, and what several have in common goes once.

A trace that is longer than the model reads is scored in windows.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agentark.traces.steps import split_steps
from agentark.training import packing, trees, weights
from agentark.training.encoding import Asked, EncodedTrace, encode
from agentark.training.prm import ProcessRewardModel

TOKENS_PER_PASS = 16384 if torch.cuda.is_available() else 1024
"""On CPUs more are slower: what they need no longer fits the caches."""
LOGITS_PER_PASS = 4096 if torch.cuda.is_available() else 512
"""A vocabulary of 50,000 makes 200 kB of logits a token."""


def score_steps(
    model: ProcessRewardModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Asked], texts: Sequence[str]
) -> list[list[float]]:
    """Score arbitrary texts, whichever model wrote them: they are split into steps and tokenised here.

    Returns:
        One list a text, one score a step; an empty list for a text without steps.
    """
    traces = [encode(tokenizer, q, text, split_steps(text)) for q, text in zip(questions, texts, strict=True)]
    return score_encoded(model, traces)


def score_encoded(
    model: ProcessRewardModel, traces: Sequence[EncodedTrace], max_length: int | None = None
) -> list[list[float]]:
    """Scores of each trace's steps, in (0, 1), in the order of the traces.

    Args:
        max_length: tokens that the model is to read at once; None = what it can.
    """
    model.eval()
    longest = max_length or model.backbone.config.get_text_config().max_position_embeddings
    # Around all passes: the weights are rounded once.
    with weights.autocast():
        return _in_windows(traces, longest, TOKENS_PER_PASS, model.packs, partial(_scores, model))


def log_probabilities(
    untrained: PreTrainedModel, traces: Sequence[EncodedTrace], max_length: int | None = None
) -> list[list[float]]:
    """Mean log-probability of each step's tokens under a language model, in the order of the traces.

    Faster where the model has been made to read packed rows (`packing.prepare`).
    """
    untrained.eval()
    longest = max_length or untrained.config.get_text_config().max_position_embeddings
    values_of = partial(_log_probabilities, untrained)
    return _in_windows(traces, longest, LOGITS_PER_PASS, packing.packs(untrained), values_of)


def _in_windows(
    traces: Sequence[EncodedTrace],
    max_length: int,
    tokens_per_pass: int,
    packs: bool,
    values_of: Callable[[list[EncodedTrace], trees.Trees], list[Tensor]],
) -> list[list[float]]:
    """A value of each step, from passes through a model."""
    cuts = [[(window.key, window) for window in windows(trace, max_length)] for trace in traces]
    # Agents often say the same, and planted errors leave most of a trace as it was.
    different = dict(pair for pairs in cuts for pair in pairs)
    keys, parts = list(different), list(different.values())
    found: dict[Hashable, list[float]] = {}
    for planted in trees.passes([part.input_ids for part in parts], tokens_per_pass, packs):
        chosen = [keys[i] for tree in planted for i in tree]
        found |= zip(chosen, [values.tolist() for values in values_of(parts, planted)], strict=True)
    # Windows of a trace are in order, and so are their steps.
    return [[value for key, _ in pairs for value in found[key]] for pairs in cuts]


@torch.no_grad()
def _scores(model: ProcessRewardModel, traces: list[EncodedTrace], planted: trees.Trees) -> list[Tensor]:
    """(S,) each."""
    rewards, _ = model(**send_to_device(inputs_of(traces, planted), model.head.weight.device))
    return list(torch.sigmoid(rewards).split([len(traces[i].steps) for tree in planted for i in tree]))


@torch.no_grad()
def _log_probabilities(model: PreTrainedModel, traces: list[EncodedTrace], planted: trees.Trees) -> list[Tensor]:
    """(S,) each, the mean over a step's tokens."""
    forest = trees.grow([trace.input_ids for trace in traces], planted)
    paths = zip((traces[i] for tree in planted for i in tree), forest.paths, strict=True)
    steps = [[path[first : last + 1] for first, last in trace.steps] for trace, path in paths]
    asked = torch.cat([tokens for trace in steps for tokens in trace]).unique()
    ids = forest.input_ids.to(model.device)
    places = send_to_device(forest.places, model.device) if packing.packs(model) else {}
    kept = forest.parents[asked].to(model.device)
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=kept, **places).logits[0].float()
    logps = torch.zeros(len(forest.parents))
    logps[asked] = -functional.cross_entropy(logits, ids[0, asked], reduction="none").cpu()
    return [torch.stack([logps[tokens].mean() for tokens in trace]) for trace in steps]


def inputs_of(traces: Sequence[EncodedTrace], planted: trees.Trees) -> dict[str, Any]:
    """What a reward model reads in one pass; its outputs are in the order in which `planted` names the traces."""
    forest = trees.grow([trace.input_ids for trace in traces], planted)
    chosen = [traces[i] for tree in planted for i in tree]
    step_tokens = torch.cat([path[trace.step_tokens] for trace, path in zip(chosen, forest.paths, strict=True)])
    return {"input_ids": forest.input_ids, "step_tokens": step_tokens, **forest.places}


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
