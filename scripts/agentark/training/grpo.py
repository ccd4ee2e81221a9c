"""PAD's reinforcement learning (paper 3.3.3, Eq. 3 to 5): GRPO against the process reward.

Differs from the paper: the ratio of a completion's probabilities is the geometric mean over its tokens (as printed,
it explodes or vanishes with length), and the group's standard deviation is the sample one, as in TRL. There is one
update a rollout, so the ratio is 1 when its gradient is taken and only the factor 1/length differs. A group whose
rewards are equal has advantages of 0.

TRL's trainer does the rest: KL (k3) of the current log-probabilities inside the loss, and the end-of-turn token is a
token like any other, so stopping is trained.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer

from agentark.config.grpo import Grpo
from agentark.engines.prompts import solve_messages
from agentark.grading.grades import grade
from agentark.records.sets import RlPrompt
from agentark.training import processes, session, weights
from agentark.training.logprobs import token_logps
from agentark.training.prm import ProcessRewardModel
from agentark.training.prm_scoring import score_steps
from agentark.training.rewards import aggregate

Reward = Callable[..., list[float | None]]
Completion = list[dict[str, str]]


def reward_functions(
    prompts: list[RlPrompt], model: ProcessRewardModel, tokenizer: PreTrainedTokenizerBase, settings: Grpo
) -> list[Reward]:
    """The process reward and the grader's verdict, as functions of a batch of completions.

    The grader is asked even if its weight is 0: a process reward that rises while fewer answers are right is being
    gamed, and only the second curve shows it.
    """
    by_id = {prompt.question_id: prompt for prompt in prompts}

    def process_reward(completions: list[Completion], question_id: list[str], **_: Any) -> list[float | None]:
        asked = [by_id[key] for key in question_id]
        texts = [completion[0]["content"] for completion in completions]
        scores = score_steps(model, tokenizer, asked, texts)
        return [aggregate(steps, settings.aggregate) for steps in scores]

    def verifiable_reward(completions: list[Completion], question_id: list[str], **_: Any) -> list[float | None]:
        rewards: list[float | None] = []
        for key, completion in zip(question_id, completions, strict=True):
            asked = by_id[key]
            n_choices = len(asked.choices) if asked.choices else None
            verdict = grade(completion[0]["content"], asked.gold, asked.gold_type, n_choices)
            # None: TRL leaves the function out of this completion's reward.
            rewards.append(None if verdict.undecided else float(verdict.correct))
        return rewards

    return [process_reward, verifiable_reward]


class PolicyTrainer(GRPOTrainer):
    """TRL's trainer, made fast on CPUs."""

    def _generate_single_turn(self, *args: Any, **options: Any) -> Any:
        # Without the outer autocast the float32 weights are cast anew for every token.
        with weights.autocast():
            return super()._generate_single_turn(*args, **options)

    def _get_per_token_logps_and_entropies(
        self,
        model: torch.nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if input_ids.is_cuda:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **options
            )
        labels = input_ids.masked_fill(attention_mask == 0, -100)
        labels[:, :-logits_to_keep] = -100
        parts = []
        for rows in torch.arange(len(input_ids)).split(batch_size or len(input_ids)):
            batch = (input_ids[rows], attention_mask[rows], labels[rows])
            parts.append(token_logps(model, *batch, self.temperature, with_entropy=True))
        logps, entropies = (torch.cat(column)[:, -logits_to_keep:] for column in zip(*parts, strict=True))
        return logps, entropies, None


def fit(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[RlPrompt],
    rewards: list[Reward],
    settings: Grpo,
    seed: int,
    checkpoints: Path,
) -> tuple[PreTrainedModel, list[dict[str, float]]]:
    """Train the policy.

    Args:
        rewards: functions of completions and dataset columns; the first counts fully, the second
            `verifiable_weight` times.

    Returns:
        The trained model (with its adapter, if any) and what was logged at every update.
    """
    n_rollouts = settings.prompts_per_step * settings.group_size
    arguments = GRPOConfig(
        **session.trainer_options(checkpoints, seed),
        **processes.shares(n_rollouts, settings.micro_batch_size, "grpo.prompts_per_step * grpo.group_size"),
        num_generations=settings.group_size,
        max_steps=settings.steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        beta=settings.beta,
        epsilon=settings.epsilon,
        temperature=settings.temperature,
        max_completion_length=settings.max_tokens,
        loss_type="grpo",
        importance_sampling_level="sequence",
        scale_rewards="group",
        reward_weights=[1.0, settings.verifiable_weight],
        router_aux_loss_coef=0.0,
    )
    rows = [
        {"question_id": p.question_id, "prompt": solve_messages(p.question, p.choices, p.gold_type)} for p in prompts
    ]
    trainer = PolicyTrainer(
        model=model,
        reward_funcs=rewards,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=weights.lora(settings.lora_rank),
    )
    watch = session.Watch("grpo")
    session.train(trainer, watch, checkpoints)
    return trainer.model, watch.rows
