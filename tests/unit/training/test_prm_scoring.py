"""Scores of many steps: whatever goes through the model together, each step has the score that it has alone."""

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from agentark.engines.local_models import open_model
from agentark.training import encoding, packing, prm, prm_scoring
from agentark.training.encoding import EncodedTrace
from agentark.training.prm_scoring import log_probabilities, score_encoded, windows
from tests.unit.training.test_prm import questions_with_a_planted_error


def encoded(tokenizer, n: int) -> list[EncodedTrace]:
    groups = questions_with_a_planted_error(n)
    rows = [
        replace(row, question=row.question + " now" * number) for number, group in enumerate(groups) for row in group
    ]
    return [encoding.encode(tokenizer, row, row.text, row.steps) for row in rows]


def alone(model, trace: EncodedTrace) -> list[float]:
    with torch.no_grad():
        rewards, _ = model(**prm_scoring.inputs_of([trace], [[0]]))
    return torch.sigmoid(rewards).tolist()


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("tokens_per_pass", [1, 200, 16384])
def test_what_traces_share_is_read_once_and_the_scores_are_the_same(
    folder, tokenizer, float32, monkeypatch, tokens_per_pass, packs
):
    monkeypatch.setattr(prm_scoring, "TOKENS_PER_PASS", tokens_per_pass)
    if not packs:
        monkeypatch.setattr(packing, "FAMILIES", set())
    model, _ = prm.open_backbone(folder)
    assert model.packs == packs
    model.eval()
    traces = encoded(tokenizer, 4)
    traces = [*traces[:7], *traces[3:5], traces[-1]]  # repeated ones, and a question with one trace
    read: list[int] = []
    model.backbone.register_forward_pre_hook(
        lambda _, args, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    found = score_encoded(model, traces)
    n_read = sum(read)
    for trace, scores in zip(traces, found, strict=True):
        assert scores == pytest.approx(alone(model, trace), abs=1e-5)
    different = {tuple(trace.input_ids) for trace in traces}
    if not packs or tokens_per_pass == 1:
        assert n_read == sum(map(len, different))
    if packs and tokens_per_pass == 16384:
        assert n_read == len({ids[:end] for ids in different for end in range(1, len(ids) + 1)})


def test_a_prompt_that_is_shared_holds_nothing_of_a_completion(tokenizer):
    for trace in encoded(tokenizer, 3):
        assert "add" not in tokenizer.decode(trace.input_ids[: trace.n_prompt]).rpartition("assistant")[2]
        assert trace.steps[0][0] >= trace.n_prompt


def test_windows_hold_every_step_once_with_half_a_window_before_it():
    ids, n_prompt = list(range(500)), 40
    steps = [(first, first + 9) for first in range(40, 490, 10)]
    parts = windows(EncodedTrace(ids, steps, n_prompt), 140)
    assert len(parts) > 1
    found = [(part.input_ids[first], part.input_ids[last]) for part in parts for first, last in part.steps]
    assert found == steps
    assert all(len(part.input_ids) <= 140 and part.input_ids[:40] == ids[:40] for part in parts)
    assert all(part.steps[0][1] - part.n_prompt + 1 >= 50 for part in parts[1:])


def test_windows_where_a_step_or_the_prompt_is_too_long():
    ids = list(range(300))
    (part,) = windows(EncodedTrace(ids, [(10, 250)], 10), 100)
    assert (part.input_ids[:10], part.input_ids[-1], part.steps) == (ids[:10], 250, [(10, len(part.input_ids) - 1)])
    first, second = windows(EncodedTrace(ids, [(200, 229), (230, 270)], 200), 100)
    assert (first.input_ids[:50], first.steps) == (ids[150:200], [(50, 79)])
    assert [second.input_ids[i] for i in second.steps[0]] == [max(230, second.input_ids[50]), 270]
    assert windows(EncodedTrace(ids, [], 10), 100) == []


def test_a_trace_that_is_too_long_has_a_score_for_each_step(folder, tokenizer, float32):
    model, _ = prm.open_backbone(folder)
    row = questions_with_a_planted_error(1)[0][0]
    text = "\n".join([row.text] * 20)
    (whole,) = prm_scoring.score_steps(model, tokenizer, [row], [text])
    long = encoding.encode(tokenizer, row, text, prm_scoring.split_steps(text))
    assert len(long.input_ids) > 2 * long.n_prompt
    (cut,) = score_encoded(model, [long], max_length=2 * long.n_prompt)
    assert len(cut) == len(whole) == 60
    # The first window is the beginning itself.
    assert cut[0] == pytest.approx(whole[0], abs=1e-5)


@pytest.mark.parametrize("packs", [True, False])
def test_log_probability_is_the_mean_over_a_steps_tokens(folder, tokenizer, float32, packs):
    untrained, reading = open_model(folder).float(), open_model(folder).float()
    traces = encoded(tokenizer, 2)
    if packs:
        assert packing.prepare(reading)
    found = log_probabilities(reading, traces)
    for trace, values in zip(traces, found, strict=True):
        with torch.no_grad():
            logps = torch.log_softmax(untrained(torch.tensor([trace.input_ids])).logits[0].float(), dim=-1)
        expected = [
            np.mean([logps[t - 1, trace.input_ids[t]].item() for t in range(first, last + 1)])
            for first, last in trace.steps
        ]
        assert values == pytest.approx(expected, abs=1e-4)
