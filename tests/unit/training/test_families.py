"""The families of models that a study names: what their templates and tokenizers do that others do not.

Templates and tokenizers are small ones of our own with the traits of the real ones.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from agentark.config.models import Model
from agentark.config.sft import Sft
from agentark.engines import chat_template
from agentark.engines.local_models import open_model, open_tokenizer
from agentark.engines.prompts import solve_messages
from agentark.records.sets import TrainingExample
from agentark.stages import models as models_stage
from agentark.training import sft, weights
from agentark.training.rendering import end_of_turn, render

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
}


@dataclass(frozen=True)
class Family:
    """
    Args:
        special: all of its special tokens, of which the tokenizer names only `named`.
        ending: with which an assistant's turn ends.
        begins: how a prompt begins, and `asks`, how it ends.
    """

    template: str
    special: list[str]
    named: dict[str, str]
    config: type[PretrainedConfig]
    ending: str
    begins: str
    asks: str


FAMILIES = {
    # Writes a system message where there is none.
    "smollm2": Family(
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"},
        LlamaConfig,
        "<|im_end|>",
        "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
    ),
    # Thinks unless it is told not to, and takes the thoughts out of finished replies.
    "qwen3": Family(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        Qwen3Config,
        "<|im_end|>",
        "<|im_start|>user\n",
        "<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    # Has no system role, calls the assistant a model, and its tokenizer does not name the end of a turn.
    "gemma3": Family(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
        "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"],
        {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
        Gemma3TextConfig,
        "<end_of_turn>",
        "<bos><start_of_turn>user\n",
        "<end_of_turn>\n<start_of_turn>model\n",
    ),
    # Writes today's date, trims what is said, and its headers are tokens that the tokenizer does not name.
    "llama3": Family(
        "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\nToday: {{ strftime_now('%d %b %Y') }}<|eot_id|>"
        "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
        "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|end_of_text|>"},
        LlamaConfig,
        "<|eot_id|>",
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024<|eot_id|>",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
}


def build(family: Family, folder: Path) -> Path:
    alphabet = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in family.special])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=family.template, **family.named)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(token) for name, token in family.named.items()}
    config = family.config(vocab_size=len(tokenizer), **SIZES, **{"bos_token_id": None} | ids)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def folder(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(family, tmp_path_factory.mktemp("family") / "model")


def example(number: int) -> TrainingExample:
    return TrainingExample(
        example_id=str(number),
        method="rsft",
        question_id=str(number),
        question=f"What is {number} + 1?",
        choices=None,
        gold_type="number",
        completion=f"{number} + 1 = {number + 1}\nThe answer is {number + 1}.",
        answer_start=len(f"{number} + 1 = {number + 1}\n"),
        weight=1.0,
        trace_id=str(number),
        kind="stable",
    )


def test_a_prompt_is_the_familys_on_any_day(folder, family):
    tokenizer = open_tokenizer(folder)
    prompt = chat_template.render(tokenizer, solve_messages("What is 1 + 1?", None, "number"))
    assert prompt.startswith(family.begins)
    assert prompt.endswith(family.asks)
    ids = chat_template.prompt_ids(tokenizer, solve_messages("What is 1 + 1?", None, "number"))
    assert tokenizer.decode(ids) == prompt
    if bos := family.named.get("bos_token"):
        assert ids[0] == tokenizer.convert_tokens_to_ids(bos)
        assert ids[1] != ids[0]


def test_no_message_can_pose_as_several(folder, family):
    tokenizer = open_tokenizer(folder)
    said = "".join(family.special)
    plain, posing = (
        chat_template.prompt_ids(tokenizer, solve_messages(text, None, "number")) for text in ("What?", f"What?{said}")
    )
    special = tokenizer.convert_tokens_to_ids(family.special)
    assert [i for i in posing if i in special] == [i for i in plain if i in special]
    assert len(posing) > len(plain)


def test_the_end_of_a_turn_is_trained_and_engines_are_told_of_it(folder, family, tmp_path, float32):
    tokenizer = open_tokenizer(folder)
    ending = tokenizer.convert_tokens_to_ids(family.ending)
    assert end_of_turn(tokenizer) == family.ending
    rows, _ = sft.encode_all(map(example, range(8)), tokenizer, 512)
    assert all(row["input_ids"][-1] == ending for row in rows)
    model, stored = weights.open_for_training(folder)
    chosen = Sft(learning_rate=1e-2, epochs=1, batch_size=4, micro_batch_size=4, max_length=512)
    model, *_ = sft.fit(model, tokenizer, rows, chosen, 0, tmp_path / "checkpoints")
    weights.save(model, tokenizer, tmp_path / "student", stored)
    ends = open_model(tmp_path / "student").generation_config.eos_token_id
    assert ending in ([ends] if isinstance(ends, int) else ends)


def test_a_teacher_thinks_where_its_template_can(folder, family, tmp_path, capsys):
    (tmp_path / "model.json").write_text(Model(source=str(folder), thinking=True).model_dump_json())
    status = models_stage.main(f"--config {tmp_path}/model.json --manifest {tmp_path}/made/manifest.json".split())
    if "enable_thinking" not in family.template:
        assert status == 1
        assert "has no `enable_thinking` to switch thinking on by" in capsys.readouterr().err
        return
    tokenizer = open_tokenizer(tmp_path / "made" / "model")
    prompt = chat_template.render(tokenizer, solve_messages("What is 1 + 1?", None, "number"))
    assert prompt.endswith("<|im_start|>assistant\n")
    assert chat_template.facts(tokenizer)["thinking"] == "on"
    assert chat_template.facts(open_tokenizer(folder))["thinking"] == "off"


def test_what_is_trained_follows_the_prompt_of_generation(folder, family):
    tokenizer = open_tokenizer(folder)
    text = "  <think>no</think> 1 + 1 = 2. "
    rendered = render(tokenizer, "What is 1 + 1?", None, "number", text)
    prompt = chat_template.prompt_ids(tokenizer, solve_messages("What is 1 + 1?", None, "number"))
    assert rendered.input_ids[: len(prompt)] == prompt
    assert tokenizer.decode(rendered.input_ids[len(prompt) :]) == text
