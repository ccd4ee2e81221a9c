"""What each rollout earns: by the reward model, the grader, the form of its answer and its length."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from trl.rewards import get_soft_overlong_punishment

from agentark.config.grpo import Grpo, RewardName
from agentark.engines import local_models
from agentark.errors import UserError
from agentark.grading.grades import grade
from agentark.grading.reading import states_answer
from agentark.records.questions import Question
from agentark.records.sets import RlPrompt
from agentark.training.prm import ProcessRewardModel
from agentark.training.prm_scoring import score_steps
from agentark.training.rewards import aggregate

Reward = Callable[..., list[float | None]]
"""As TRL calls it: with the columns of a batch of completions; None leaves a reward out of a completion's."""
Completion = list[dict[str, str]]


class ProcessReward:
    """The reward model's scores of a completion's steps, as one number.

    Between two batches the model lies in the host's memory: beside a policy of its size, an engine for rollouts needs
    its place on the GPU.
    """

    def __init__(
        self,
        prompts: dict[str, RlPrompt | Question],
        model: ProcessRewardModel,
        tokenizer: PreTrainedTokenizerBase,
        how: str,
    ) -> None:
        self.prompts, self.model, self.tokenizer, self.how = prompts, model.to("cpu"), tokenizer, how
        self.latest: list[list[float]] = []
        """Scores of each step of the batch that was asked about last."""

    def __call__(self, completions: list[Completion], question_id: list[str], **_: Any) -> list[float | None]:
        texts = [completion[0]["content"] for completion in completions]
        self.model.to(local_models.device())
        self.latest = score_steps(self.model, self.tokenizer, [self.prompts[name] for name in question_id], texts)
        self.model.to("cpu")
        for name, scores in zip(question_id, self.latest, strict=True):
            if not torch.isfinite(torch.tensor(scores)).all():
                raise UserError(f"grpo: the reward model's scores of a completion of question {name} are not numbers")
        return [aggregate(scores, self.how) for scores in self.latest]


def reward_functions(
    prompts: Sequence[RlPrompt | Question],
    settings: Grpo,
    reward_model: tuple[ProcessRewardModel, PreTrainedTokenizerBase] | None,
) -> dict[RewardName, Reward]:
    """All rewards, those of weight 0 too: a process reward that rises while fewer answers are right is being gamed, and
    only the second curve shows it."""
    by_id = {prompt.question_id: prompt for prompt in prompts}

    def verifiable(completions: list[Completion], question_id: list[str], **_: Any) -> list[float | None]:
        verdicts = [grade(*_asked(by_id[name], done)) for name, done in zip(question_id, completions, strict=True)]
        return [None if verdict.undecided else float(verdict.correct) for verdict in verdicts]

    def form(completions: list[Completion], question_id: list[str], **_: Any) -> list[float | None]:
        asked = [_asked(by_id[name], done) for name, done in zip(question_id, completions, strict=True)]
        return [float(states_answer(text, gold_type, n)) for text, _, gold_type, n in asked]

    penalty = get_soft_overlong_punishment(settings.max_tokens, min(settings.overlong_tokens, settings.max_tokens))
    rewards: dict[RewardName, Reward] = {"verifiable": verifiable, "format": form, "overlong": penalty}
    if reward_model is not None:
        rewards = {"process": ProcessReward(by_id, *reward_model, settings.aggregate), **rewards}
    return rewards


def _asked(prompt: RlPrompt | Question, completion: Completion) -> tuple[str, str, Any, int | None]:
    """A completion's text and what it is graded by, as `grade` takes them."""
    return completion[0]["content"], prompt.golds, prompt.gold_type, len(prompt.choices) if prompt.choices else None
