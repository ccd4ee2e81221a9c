"""PAD's reinforcement learning (paper 3.3.3, Eq. 3 to 5): GRPO against the process reward, or PURE's algorithm.

Differs from the paper: the ratio of a completion's probabilities is the geometric mean over its tokens (as printed,
it explodes or vanishes with length), and the group's standard deviation is the sample one, as in TRL. There is one
update a rollout, so the ratio is 1 when its gradient is taken and only the factor 1/length differs. A group whose
rewards are equal has advantages of 0. Differs from PURE: KL is a term of the loss, with a gradient, not of the reward.

TRL's trainer does the rest: KL (k3) of the current log-probabilities inside the loss, and the end-of-turn token is a
token like any other, so stopping is trained.
"""

import os
import random
import time
import traceback
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object, set_seed
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer

from agentark.config.grpo import Grpo, RewardName
from agentark.engines.chat_template import prompt_ids
from agentark.engines.prompts import solve_messages
from agentark.errors import UserError
from agentark.records.questions import Question
from agentark.records.sets import RlPrompt
from agentark.traces.steps import split_steps
from agentark.training import processes, rollouts, session, weights
from agentark.training.advantages import ScoredRollout, token_advantages, whiten
from agentark.training.guards import Answer, Guard
from agentark.training.prompt_lengths import n_tokens
from agentark.training.resampling import alike, places, replaced
from agentark.training.rollout_rewards import Completion, Reward

VALIDATION_AT_ONCE = 128
"""Validation questions that are answered together: without gradients they need little memory."""


class TimedTrainer(GRPOTrainer):
    """TRL's trainer; logs the seconds that generation and scoring take of an update's `step_time`."""

    def _prepare_inputs(self, *args: Any) -> Any:
        self._seconds: Counter[str] = Counter()
        inputs = super()._prepare_inputs(*args)
        for name, seconds in self._seconds.items():
            self._metrics["train" if self.model.training else "eval"][f"seconds/{name}"].append(seconds)
        return inputs

    def _generate(self, prompts: list[Any]) -> Any:
        with self._timed("generation"):
            return super()._generate(prompts)

    def _calculate_rewards(self, *args: Any) -> Tensor:
        with self._timed("scoring"):
            return super()._calculate_rewards(*args)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._seconds[what] += time.perf_counter() - started


class PolicyTrainer(TimedTrainer):
    """TRL's trainer, made fast on CPUs, with advantages of single tokens where the settings ask for them."""

    def __init__(
        self, settings: Grpo, rewards: dict[RewardName, Reward], spare: Sequence[RlPrompt] = (), **options: Any
    ) -> None:
        self.settings = settings
        self.rewards = rewards
        self.spare = spare
        super().__init__(reward_funcs=list(rewards.values()), **options)
        self.reward_func_names = list(rewards)
        if self.use_vllm:
            # vLLM seeds all of the process, alike for all trainings.
            set_seed(self.args.seed, device_specific=True)
            if not torch.cuda.is_available():
                self.vllm_generation.sync_weights = partial(rollouts.hand_over_weights, self.vllm_generation)

    def _shares_prompts(self) -> bool:
        """On one CPU process: elsewhere TRL's own way, for its engines, wrappers and fused kernels. Checkpointing works
        layers out again, which what is kept of a prompt would not survive."""
        return not (torch.cuda.is_available() or processes.count() > 1 or self.args.gradient_checkpointing)

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        # As everywhere in the pipeline: no thinking, and nothing in a question passes for a special token.
        return [prompt_ids(self.processing_class, prompt) for prompt in prompts], None, {}

    def _generate_single_turn(self, ids: list[list[int]], *args: Any, **options: Any) -> Any:
        if self.use_vllm:
            return super()._generate_single_turn(ids, *args, **options)
        # Without the outer autocast the float32 weights are cast anew for every token.
        with weights.autocast():
            if not self._shares_prompts():
                return super()._generate_single_turn(ids, *args, **options)
            return rollouts.sample(self.model, ids, self.generation_config, self.eos_token_ids), None

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: list[Completion], completion_ids_list: list[list[int]]
    ) -> Tensor:
        given = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        # What no reward that counts can judge teaches nothing; one of weight 0 would make it a 0, as if it were wrong.
        given[given[:, self.reward_weights > 0].isnan().all(dim=1)] = torch.nan
        self._earned = (self.reward_weights.to(given.device) * given).nansum(dim=1)
        self._earned[given.isnan().all(dim=1)] = torch.nan
        if not self.model.training:
            self._answered += self._answers(inputs, completions, completion_ids_list, given)
        elif self.settings.algorithm == "pure":
            latest = self.rewards["process"].latest
            own = [
                ScoredRollout(scores, step_ends(self.processing_class, ids, done[0]["content"]), len(ids))
                for scores, ids, done in zip(latest, completion_ids_list, completions, strict=True)
            ]
            at_end = self.reward_weights.to(given.device) * given
            at_end[:, self.reward_func_names.index("process")] = 0
            self._every_rollout = [
                replace(rollout, at_end=float(value))
                for rollout, value in zip(gather_object(own), at_end.nansum(dim=1), strict=True)
            ]
        return given

    def _answers(
        self, inputs: Any, completions: list[Completion], completion_ids_list: list[list[int]], given: Tensor
    ) -> list[Answer]:
        """Of all processes."""
        verdicts = given[:, self.reward_func_names.index("verifiable")].nan_to_num(0.0).tolist()
        process = self.reward_func_names.index("process") if "process" in self.rewards else None
        own = [
            (row["question_id"], row["question"], done[0]["content"], ids)
            for row, done, ids in zip(inputs, completions, completion_ids_list, strict=True)
        ]
        return [
            Answer(
                question_id=name,
                question=question,
                text=text,
                token_ids=list(ids),
                n_steps=len(split_steps(text)),
                correct=verdict == 1.0,
                process=None if process is None else float(rewards[process]),
            )
            for (name, question, text, ids), verdict, rewards in zip(gather_object(own), verdicts, given, strict=True)
        ]

    def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
        """Ask the validation questions; nothing but their completions and rewards is computed."""
        self._answered: list[Answer] = []
        kept = self.beta, self.vllm_importance_sampling_correction
        self.beta, self.vllm_importance_sampling_correction = 0.0, False
        try:
            return super().evaluate(*args, **options)
        finally:
            self.beta, self.vllm_importance_sampling_correction = kept

    def prediction_step(self, model: nn.Module, inputs: list[dict[str, Any]], *_: Any, **__: Any) -> tuple[Any, ...]:
        self._prepare_inputs(inputs)
        return None, None, None

    def answers(self) -> list[Answer]:
        """Those of the latest validation; where its questions do not fill all processes, some were asked twice."""
        return list({answer.question_id: answer for answer in self._answered}.values())

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._asked = {*gather_object([row["question_id"] for row in inputs])}
        batch = super()._generate_and_score_completions(inputs)
        if self.model.training:
            same = alike(self._earned, self.num_generations)
            self._metrics["train"]["groups/without_variance"].append(sum(same) / len(same))
            if self.settings.resample:
                batch = self._resampled(batch, same)
        if self.settings.algorithm == "pure" and self.model.training:
            groups = torch.arange(len(self._every_rollout)).split(self.num_generations)
            weight = self.settings.weights["process"]
            advantages = whiten(
                [
                    row
                    for group in groups
                    for row in token_advantages(
                        [self._every_rollout[i] for i in group], self.settings.credit, process_weight=weight
                    )
                ]
            )
            first = self.accelerator.process_index * len(inputs)
            mine = nn.utils.rnn.pad_sequence(advantages[first : first + len(inputs)], batch_first=True)
            batch["advantages"] = mine.to(batch["completion_ids"].device, torch.float32)
        return batch

    def _resampled(self, batch: dict[str, Any], all_same: list[bool]) -> dict[str, Any]:
        """Up to `resample` times, other questions in the place of those whose rollouts all earn the same.

        Args:
            all_same: of the groups of all processes.
        """
        size, rank = self.num_generations, self.accelerator.process_index
        per_process = len(all_same) // processes.count()
        same = all_same[rank * per_process : (rank + 1) * per_process]
        # What is logged stays about the rollouts that came first, as it is without resampling.
        n_logged = {name: len(values) for name, values in self._metrics["train"].items()}
        n_replaced = 0
        for attempt in range(self.settings.resample):
            chosen = places(same)
            others = [prompt for prompt in self.spare if prompt.question_id not in self._asked]
            if not chosen or len(others) < len(chosen) * processes.count():
                break
            # By the number of the update, so that a resumed training draws what an unbroken one would.
            generator = random.Random(f"{self.args.seed} {self.state.global_step} {attempt}")
            drawn = generator.sample(others, len(chosen) * processes.count())
            self._asked |= {prompt.question_id for prompt in drawn}
            mine = drawn[rank * len(chosen) : (rank + 1) * len(chosen)]
            fresh = super()._generate_and_score_completions([row for row in asked(mine) for _ in range(size)])
            differ = [not each for each in alike(self._earned, size)][rank * len(chosen) : (rank + 1) * len(chosen)]
            pairs = [(old, new) for new, old in enumerate(chosen) if same[old] and differ[new]]
            if pairs:
                rows = [(old * size + i, new * size + i) for old, new in pairs for i in range(size)]
                batch = replaced(batch, fresh, rows, self.processing_class.pad_token_id)
            for old, _ in pairs:
                same[old] = False
            n_replaced += len(pairs)
        for name, values in self._metrics["train"].items():
            del values[n_logged.get(name, 0) :]
        self._metrics["train"]["groups/replaced"].append(sum(gather_object([n_replaced])) / len(all_same))
        return batch

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **options: Any) -> Tensor:
        loss = super().compute_loss(model, inputs, *args, **options)
        if not torch.isfinite(loss):
            raise UserError(
                f"grpo: the loss is {loss.item()} in the update of the questions {', '.join(sorted(self._asked))}; "
                "lower grpo.learning_rate, or look at these questions in the set"
            )
        return loss

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
        if input_ids.is_cuda or not self._shares_prompts():
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **options
            )
        n_rows = batch_size or len(input_ids)
        parts = [
            rollouts.completion_logps(model, ids, mask, logits_to_keep, self.temperature)
            for ids, mask in zip(input_ids.split(n_rows), attention_mask.split(n_rows), strict=True)
        ]
        logps, entropies = (torch.cat(column) for column in zip(*parts, strict=True))
        return logps, entropies, None


def step_ends(tokenizer: PreTrainedTokenizerBase, completion_ids: Sequence[int], text: str) -> list[int]:
    """The last token of each step of a completion, by number; `text` is what the tokens say."""

    def holds(end: int) -> Callable[[int], bool]:
        return lambda token: len(tokenizer.decode(completion_ids[: token + 1], skip_special_tokens=True)) >= end

    # The text grows with its tokens, so halving finds where a step ends, whatever bytes the tokens cut.
    last = range(len(completion_ids) - 1)
    return [bisect_left(last, True, key=holds(end)) for _, end in split_steps(text)]


def fit(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[RlPrompt],
    rewards: dict[RewardName, Reward],
    settings: Grpo,
    seed: int,
    checkpoints: Path,
    validation: Sequence[Question] = (),
    vllm_memory: float = 0.3,
) -> tuple[PreTrainedModel, list[dict[str, float]], Guard | None]:
    """Train the policy.

    Args:
        rewards: by their names in `reward_weights`; those that are not in there are only logged.
        validation: questions to validate on; with none, nothing guards the training.
        vllm_memory: share of a GPU's memory for `rollouts_by: vllm`.

    Returns:
        The trained model (with its adapter, if any), as the last update left it; what was logged at every update; and
        what guarded it.
    """
    n_rollouts = settings.prompts_per_step * settings.group_size
    shares = processes.shares(n_rollouts, settings.micro_batch_size, "grpo.prompts_per_step * grpo.group_size")
    if settings.resample and settings.prompts_per_step % processes.count():
        raise UserError(
            f"grpo.resample replaces whole groups, and {settings.prompts_per_step} questions an update cannot be "
            f"shared by {processes.count()} GPUs; make grpo.prompts_per_step a multiple of {processes.count()}"
        )
    arguments = GRPOConfig(
        **session.trainer_options(checkpoints, seed),
        **shares,
        num_generations=settings.group_size,
        max_steps=settings.steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        beta=settings.beta,
        epsilon=settings.epsilon,
        temperature=settings.temperature,
        max_completion_length=settings.max_tokens,
        loss_type="grpo",
        importance_sampling_level="token" if settings.algorithm == "pure" else "sequence",
        scale_rewards=settings.reward_scale,
        multi_objective_aggregation=settings.reward_sum,
        reward_weights=[settings.weights.get(name, 0.0) for name in rewards],
        router_aux_loss_coef=0.0,
        shuffle_dataset=False,
        **(validation_options(settings, min(len(validation), VALIDATION_AT_ONCE)) if validation else {}),
        **(
            engine_options(settings, longest([*prompts, *validation], tokenizer), vllm_memory)
            if settings.rollouts_by == "vllm"
            else {}
        ),
    )
    with says_why_vllm_does_not_start():
        trainer = PolicyTrainer(
            settings,
            rewards,
            spare=prompts,
            model=model,
            args=arguments,
            train_dataset=asked(in_order(prompts, settings, seed)),
            eval_dataset=asked(validation) if validation else None,
            processing_class=tokenizer,
            peft_config=weights.lora(settings.lora_rank),
        )
    guard = Guard(trainer.model, trainer.answers, settings.guards, checkpoints) if validation else None
    if guard:
        trainer.add_callback(guard)
    watch = session.Watch("grpo")
    session.train(trainer, watch, checkpoints)
    return trainer.model, watch.rows, guard


def in_order(prompts: Sequence[RlPrompt], settings: Grpo, seed: int) -> list[RlPrompt]:
    """The prompts of every update, one after another: all of them before one comes again, each time in another order.

    A resumed training finds its place in this list; in TRL's own order, it would begin the passes anew.
    """
    needed = settings.steps * settings.prompts_per_step
    passes = range(-(-needed // len(prompts)))
    return [p for n in passes for p in random.Random(f"{seed} {n}").sample(prompts, len(prompts))][:needed]


def asked(questions: Sequence[RlPrompt | Question]) -> Dataset:
    """Prompts as TRL takes them."""
    return Dataset.from_list(
        [
            {
                "question_id": q.question_id,
                "question": q.question,
                "prompt": solve_messages(q.question, q.choices, q.gold_type),
            }
            for q in questions
        ]
    )


def validation_options(settings: Grpo, at_once: int) -> dict[str, Any]:
    """One sampled answer a validation question, so many at once."""
    return {
        "eval_strategy": "steps",
        "eval_steps": settings.validation_every,
        "num_generations_eval": 1,
        "per_device_eval_batch_size": -(-at_once // processes.count()),
    }


def longest(questions: Sequence[RlPrompt | Question], tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens of the longest prompt."""
    return max(n_tokens(question, tokenizer) for question in questions)


def engine_options(settings: Grpo, longest_prompt: int, memory: float) -> dict[str, Any]:
    """vLLM in each process; on GPUs it lets go of its memory while the policy is updated.

    Args:
        memory: share of a GPU's.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; it would take that share of the host's memory
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_enable_sleep_mode": torch.cuda.is_available(),
        "vllm_gpu_memory_utilization": memory,
        "vllm_max_model_length": longest_prompt + settings.max_tokens,
        # TRL's default would leave a long completion out for the product of small differences over all its tokens.
        "vllm_importance_sampling_mode": "token_truncate",
    }


@contextmanager
def says_why_vllm_does_not_start() -> Iterator[None]:
    """Raises UserError if vLLM does not; nothing takes its place unasked."""
    try:
        yield
    except Exception as error:
        if not any(frame.name == "_init_vllm" for frame in traceback.extract_tb(error.__traceback__)):
            raise
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"grpo.rollouts_by: vLLM did not start ({why}); if it was a GPU's memory, change hardware.rollout_memory, "
            "or write rollouts_by: transformers"
        ) from error
