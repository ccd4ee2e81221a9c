"""What trainings do only on CUDA, done on a CPU: it means the same there as what they do on CPUs.

The Triton kernels that TRL's fused head runs on GPUs stay unseen; its arithmetic in PyTorch stands for them.
"""

import pytest
import torch
from transformers import modeling_utils

from agentark.config.grpo import Grpo
from agentark.config.sft import Sft
from agentark.engines.local_models import device
from agentark.records.sets import RlPrompt, TrainingExample
from agentark.training import grpo, prm, prm_training, rollouts, session, sft, weights
from agentark.training.logprobs import token_logps
from tests.unit.training import test_prm

pytestmark = [
    pytest.mark.usefixtures("float32"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="trainings take these branches by themselves here"),
]

TEMPERATURE = 0.7


class OnCuda(torch.Tensor):
    """Says that it lies on a GPU; whatever is computed from it is a plain tensor again."""

    is_cuda = True
    __torch_function__ = torch._C._disabled_torch_function_impl


def as_fused(monkeypatch):
    """Trainers see tokens that say they lie on a GPU. Returns what they saw."""
    seen = []
    compute_loss = sft.TraceTrainer.compute_loss
    logps_of = grpo.PolicyTrainer._get_per_token_logps_and_entropies

    def of_traces(trainer, model, inputs, *rest, **options):
        seen.append(inputs["input_ids"].as_subclass(OnCuda))
        return compute_loss(trainer, model, {**inputs, "input_ids": seen[-1]}, *rest, **options)

    def of_rollouts(trainer, model, input_ids, *rest, **options):
        seen.append(input_ids.as_subclass(OnCuda))
        return logps_of(trainer, model, seen[-1], *rest, **options)

    monkeypatch.setattr(sft.TraceTrainer, "compute_loss", of_traces)
    monkeypatch.setattr(grpo.PolicyTrainer, "_get_per_token_logps_and_entropies", of_rollouts)

    def our_own(*_, **__):
        raise AssertionError("the branch for CPUs")

    monkeypatch.setattr(sft, "token_logps", our_own)
    monkeypatch.setattr(rollouts, "completion_logps", our_own)
    return seen


def as_checkpointed(monkeypatch):
    """Trainers keep no activations, and compute them anew for the gradient."""
    seen = []
    options = session.trainer_options
    checkpoint = modeling_utils.checkpoint

    def with_checkpointing(*given):
        return {**options(*given), "gradient_checkpointing": True}

    def watched(*given, **more):
        seen.append(given)
        return checkpoint(*given, **more)

    monkeypatch.setattr(session, "trainer_options", with_checkpointing)
    monkeypatch.setattr(modeling_utils, "checkpoint", watched)
    return seen


BRANCHES = pytest.mark.parametrize("branch", [as_fused, as_checkpointed])
ADAPTERS = pytest.mark.parametrize("lora_rank", [None, 2])


def caught_trainer(monkeypatch, fit, *args):
    """The trainer that `fit` makes, before it trains."""
    trainers = []
    with monkeypatch.context() as patch:
        patch.setattr(session, "train", lambda trainer, *_: trainers.append(trainer))
        fit(*args)
    return trainers[0]


def gradients(model, logps):
    model.zero_grad()
    # Weights that differ from token to token, so that no two errors cancel.
    (logps * torch.linspace(0.5, 1.5, logps.numel()).view_as(logps)).sum().backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def assert_alike(ours, theirs):
    """Rows of two trainings' logs."""
    assert len(ours) == len(theirs) > 1
    for key in set(ours[0]) & {"loss", "grad_norm", "nll_reasoning", "nll_answer", "kl", "entropy", "reward"}:
        assert [row[key] for row in ours] == pytest.approx([row[key] for row in theirs], rel=1e-4, abs=1e-6), key


def test_each_process_of_a_node_takes_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device() == torch.device("cuda", 3)


# The reward model


@pytest.mark.parametrize("tokens", [16384, 100])
@ADAPTERS
def test_a_reward_model_without_kept_activations_has_the_same_gradient(
    folder, tokenizer, tmp_path, monkeypatch, float32, lora_rank, tokens
):
    def found():
        torch.manual_seed(0)
        chosen = test_prm.settings(tokens_per_pass=tokens)
        questions, _ = prm_training.encode_questions(test_prm.questions_with_a_planted_error(3), tokenizer, chosen, 0)
        model, _ = prm.open_backbone(folder, lora_rank=lora_rank)
        prm_training.trainable_in_stage(model, 2)
        trainer = prm_training.trainer(model, questions, chosen, chosen.stage2, 0, tmp_path)
        if trainer.args.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        trainer.training_step(model, prm_training.update_of(questions, chosen, seed=0, packs=True))
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    kept = found()
    checkpointed = as_checkpointed(monkeypatch)
    torch.testing.assert_close(found(), kept, rtol=1e-4, atol=1e-6)
    assert checkpointed


# R-SFT and DA


def sft_settings(**changes):
    tiny = {"learning_rate": 3e-3, "epochs": 2, "batch_size": 4, "micro_batch_size": 2, "max_length": 128}
    return Sft(**tiny | changes)


def sft_rows(tokenizer):
    examples = [
        TrainingExample(
            example_id=str(number),
            method="rsft",
            question_id=str(number),
            question=f"What is {number} + 0?",
            choices=None,
            gold_type="number",
            completion=(reasoning := "first add, which gives " * (number % 3)) + f"The answer is {number}.",
            answer_start=len(reasoning),
            weight=1 / (1 + number % 2),
            trace_id=str(number),
            kind="stable",
        )
        for number in range(8)
    ]
    return sft.encode_all(examples, tokenizer, 128)[0]


def sft_log(folder, tokenizer, settings, checkpoints):
    model, _ = weights.open_for_training(folder)
    return sft.fit(model, tokenizer, sft_rows(tokenizer), settings, 0, checkpoints)[1]


@ADAPTERS
def test_the_fused_head_gives_our_log_probabilities(folder, tokenizer, tmp_path, monkeypatch, lora_rank):
    model, _ = weights.open_for_training(folder)
    rows, settings = sft_rows(tokenizer), sft_settings(lora_rank=lora_rank)
    trainer = caught_trainer(monkeypatch, sft.fit, model, tokenizer, rows, settings, 0, tmp_path)
    inputs = sft.inputs_of(sft.collate(rows[:4], None))
    model = trainer.model.eval()
    theirs, ours = model(**inputs, fused_lm_head=True).log_probs, token_logps(model, **inputs)[0]
    assert ours.shape == theirs.shape
    assert (ours < 0).sum() == (inputs["labels"][:, 1:] != -100).sum()
    torch.testing.assert_close(theirs, ours, atol=1e-6, rtol=1e-6)
    for fused, plain in zip(gradients(model, theirs), gradients(model, ours), strict=True):
        torch.testing.assert_close(fused, plain, atol=1e-6, rtol=1e-4)


@BRANCHES
@ADAPTERS
def test_r_sft_learns_the_same(folder, tokenizer, tmp_path, monkeypatch, branch, lora_rank):
    settings = sft_settings(lora_rank=lora_rank)
    plain = sft_log(folder, tokenizer, settings, tmp_path / "plain")
    seen = branch(monkeypatch)
    assert_alike(sft_log(folder, tokenizer, settings, tmp_path / "cuda"), plain)
    assert seen


# GRPO


def grpo_settings(**changes):
    tiny = {"learning_rate": 3e-3, "beta": 0.1, "steps": 3, "prompts_per_step": 2, "group_size": 4}
    return Grpo(**tiny | {"micro_batch_size": 4, "max_tokens": 6, "temperature": TEMPERATURE} | changes)


def grpo_arguments(folder, tokenizer, settings, checkpoints):
    prompts = [
        RlPrompt(
            question_id=str(i),
            # Of several lengths, so that prompts are padded.
            question="What is " + " + ".join(["5"] * (i + 1)) + "?",
            choices=None,
            gold="5",
            gold_type="number",
            pass_rate=0.5,
        )
        for i in range(4)
    ]

    def reward(completion_ids, **_):
        return [sum(token < 100 for token in ids) / len(ids) for ids in completion_ids]

    def no_say(completions, **_):
        return [None] * len(completions)

    model, _ = weights.open_for_training(folder)
    return model, tokenizer, prompts, {"process": reward, "verifiable": no_say}, settings, 0, checkpoints


def scripted(monkeypatch, tokenizer):
    """Rollouts that are given: sampled ones would differ where two probabilities are a rounding apart."""
    ids = [tokenizer.convert_tokens_to_ids(letter) for letter in "abcd"]
    group = [ids[:1], ids[1:3], [*ids, tokenizer.eos_token_id], [250, 260, 270]]

    def generate(trainer, prompt_ids, *_, **__):
        return (group * len(prompt_ids))[: len(prompt_ids)], None

    monkeypatch.setattr(grpo.PolicyTrainer, "_generate_single_turn", generate)


@ADAPTERS
def test_the_fused_head_gives_our_log_probabilities_of_rollouts(folder, tokenizer, tmp_path, monkeypatch, lora_rank):
    arguments = grpo_arguments(folder, tokenizer, grpo_settings(lora_rank=lora_rank), tmp_path)
    trainer = caught_trainer(monkeypatch, grpo.fit, *arguments)
    torch.manual_seed(0)
    input_ids = torch.randint(5, 200, (5, 12))
    attention_mask = torch.ones_like(input_ids)
    # As TRL pads: prompts on the left, completions, here of up to 5 tokens, on the right.
    attention_mask[0, :4] = 0
    attention_mask[1, -3:] = 0
    model, said = trainer.model.eval(), attention_mask[:, -5:] == 1
    found = []
    for ids in (input_ids, input_ids.as_subclass(OnCuda)):
        logps, entropies, _ = trainer._get_per_token_logps_and_entropies(
            model, ids, attention_mask, 5, batch_size=2, compute_entropy=True
        )
        assert logps.shape == (5, 5)
        found.append((logps.masked_fill(~said, 0), entropies.masked_fill(~said, 0), gradients(model, logps * said)))
    (ours, our_entropies, plain), (theirs, their_entropies, fused) = found
    assert (ours < 0).sum() == said.sum()
    torch.testing.assert_close(theirs, ours, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(their_entropies, our_entropies, atol=1e-5, rtol=1e-6)
    for one, other in zip(fused, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@BRANCHES
@ADAPTERS
def test_pad_learns_the_same(folder, tokenizer, tmp_path, monkeypatch, branch, lora_rank):
    scripted(monkeypatch, tokenizer)
    settings = grpo_settings(lora_rank=lora_rank)
    plain = grpo.fit(*grpo_arguments(folder, tokenizer, settings, tmp_path / "plain"))[1]
    seen = branch(monkeypatch)
    assert_alike(grpo.fit(*grpo_arguments(folder, tokenizer, settings, tmp_path / "cuda"))[1], plain)
    assert seen
