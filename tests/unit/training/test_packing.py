"""Packed rows: what a model says of an example does not depend on the examples beside it, nor on padding."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from agentark.training import packing, sft, trees
from agentark.training.logprobs import token_logps

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LAYERS = ["sliding_attention", "full_attention"]
WINDOW = 6
"""Shorter than some examples, longer than others."""
CONFIGS = {
    "gemma": SIZES,
    "gemma3_text": SIZES | {"sliding_window": WINDOW, "layer_types": LAYERS},
    "gpt2": {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    | dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    "granite": SIZES,
    "llama": SIZES,
    "mistral": SIZES | {"sliding_window": WINDOW},
    "olmo2": SIZES,
    "phi3": SIZES | {"sliding_window": WINDOW},
    "qwen2": SIZES | {"sliding_window": WINDOW, "use_sliding_window": True, "layer_types": LAYERS},
    "qwen3": SIZES,
    "qwen3_moe": SIZES | {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16},
    "smollm3": SIZES | {"no_rope_layers": [1, 0]},
}
ROWS = [
    {
        "question_id": "q",
        "input_ids": list(range(3, 3 + length)),
        "completion_from": 2,
        "answer_from": length - 2,
        "weight": weight,
    }
    for length, weight in ((17, 1.0), (5, 0.5), (9, 0.5))
]


def made(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **CONFIGS[family])
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")


def loss_and_gradients(model, pad_token_id):
    batch = sft.collate(ROWS, pad_token_id)
    logps, _ = token_logps(model, **sft.inputs_of(batch))
    totals = torch.stack([batch[key].sum() for key in ("weight", "reasoning", "answer")])
    loss = sft.sft_loss(-logps, batch["reasoning"][:, 1:], batch["answer"][:, 1:], totals, "separate")
    loss.backward()
    return loss, [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("family", sorted(packing.FAMILIES))
def test_packed_is_padded(family):
    padded, packed = made(family), made(family)
    assert packing.prepare(packed)
    expected, found = loss_and_gradients(padded, 0), loss_and_gradients(packed, None)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


BEGIN_ALIKE = [[3, 4, 5, *range(10, 22)], [3, 4, 5, 10, 11, 30], [3, 4, 5], [3, 4, 9, 9, 9, 9, 9, 9, 9], [8, 7, 6]]


@pytest.mark.parametrize(("tokens", "of_a_tree", "most_trees"), [(100, 100, 1), (100, 15, 2), (20, 4, 2), (1, 100, 1)])
@pytest.mark.parametrize("family", sorted(packing.FAMILIES))
def test_sequences_that_begin_alike_are_read_as_if_alone(family, tokens, of_a_tree, most_trees, monkeypatch):
    monkeypatch.setattr(trees, "TOKENS_PER_TREE", of_a_tree)
    found = trees.passes(BEGIN_ALIKE, tokens, packs=True)
    assert max(map(len, found)) == most_trees
    model = made(family)
    with torch.no_grad():
        expected = [model(torch.tensor([row])).logits[0] for row in BEGIN_ALIKE]
    packing.prepare(model)
    for planted in found:
        forest = trees.grow(BEGIN_ALIKE, planted)
        with torch.no_grad():
            logits = model(forest.input_ids, use_cache=False, **forest.places).logits[0]
        for number, path in zip((i for tree in planted for i in tree), forest.paths, strict=True):
            torch.testing.assert_close(logits[path], expected[number], atol=1e-5, rtol=1e-4)
            assert forest.input_ids[0, path].tolist() == BEGIN_ALIKE[number]
            assert forest.parents[path].tolist() == [-1, *path[:-1].tolist()]


def test_every_sequence_is_in_one_pass_and_every_token_once_in_a_tree():
    (planted,) = trees.passes(BEGIN_ALIKE, 100, packs=True)
    assert planted == [[2, 0, 1, 3, 4]]
    assert trees.grow(BEGIN_ALIKE, planted).input_ids.numel() == 15 + 1 + 7 + 3
    for tokens in (1, 16, 20):
        found = trees.passes(BEGIN_ALIKE, tokens, packs=True)
        assert sorted(i for planted in found for tree in planted for i in tree) == [0, 1, 2, 3, 4]
        for planted in found:
            alone = sum(map(len, planted)) == 1
            assert alone or trees.grow(BEGIN_ALIKE, planted).input_ids.numel() <= tokens
    assert trees.passes(BEGIN_ALIKE, 100, packs=False) == [[[i]] for i in (2, 0, 1, 3, 4)]


def test_a_long_prompt_is_worth_a_larger_tree(monkeypatch):
    monkeypatch.setattr(trees, "TOKENS_PER_TREE", 20)
    prompt = list(range(15))
    for n_own, sizes in ((4, [27]), (20, [35, 35, 35])):
        rows = [[*prompt, *[100 + i] * n_own] for i in range(3)]
        (planted,) = trees.passes(rows, 1000, packs=True)
        assert [trees.grow(rows, [tree]).input_ids.numel() for tree in planted] == sizes


def test_a_packed_row_has_no_padding():
    batch = sft.collate(ROWS, None)
    assert batch["input_ids"].shape == batch["labels"].shape == batch["answer"].shape == (1, 31)
    assert batch["starts"] == [0, 17, 22, 31]
    assert batch["position_ids"][0, 17:22].tolist() == [0, 1, 2, 3, 4]
    assert sft.n_tokens(batch) == sft.n_tokens(sft.collate(ROWS, 0)) == 31


def test_an_example_does_not_read_the_one_before_it():
    model = made("llama")
    packing.prepare(model)
    changed = [{**ROWS[0], "input_ids": [40] * 17}, *ROWS[1:]]
    one, other = (token_logps(model, **sft.inputs_of(sft.collate(rows, None)))[0] for rows in (ROWS, changed))
    assert not torch.equal(one[:, :16], other[:, :16])
    torch.testing.assert_close(one[:, 17:], other[:, 17:])


@pytest.mark.parametrize("family", ["mamba", "qwen3_next", "recurrent_gemma", "doge", "phimoe"])
def test_models_in_which_more_than_attention_may_read_other_tokens_are_padded(family):
    sizes = SIZES | {"num_experts": 2, "num_experts_per_tok": 1, "num_local_experts": 2, "lru_width": 32}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes))
    before = model.config._attn_implementation
    assert not packing.prepare(model)
    assert model.config._attn_implementation == before
