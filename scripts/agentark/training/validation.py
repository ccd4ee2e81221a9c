"""Right answers of a student while it is trained: greedy ones, before the first update and after each pass."""

import math
from collections.abc import Sequence

import torch
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl.models import unwrap_model_for_generation

from agentark.engines.chat_template import prompt_ids
from agentark.engines.prompts import solve_messages
from agentark.grading.grades import grade
from agentark.records.questions import Question
from agentark.running.progress import say
from agentark.training import packing, processes, weights
from agentark.training.rendering import end_ids

AT_ONCE = 64


def validated(state: TrainerState) -> dict[int, float]:
    """Shares of right answers by update, those before an interruption too."""
    return {row["step"]: row["validation_accuracy"] for row in state.log_history if "validation_accuracy" in row}


class Validation(TrainerCallback):
    """Asks the questions and keeps the share of right answers in the trainer's log, so that checkpoints hold it too.

    Args:
        questions: shared out among the processes.
        max_length: tokens of the longest prompt and an answer together; longer answers are cut.
    """

    def __init__(
        self, trainer: Trainer, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question], max_length: int
    ) -> None:
        self.trainer, self.tokenizer, self.questions = trainer, tokenizer, questions
        self.room = max(1, max_length - max(len(self._prompt(question)) for question in questions))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        # A training that was stopped at the end of a pass left its validation out.
        ends_a_pass = not state.epoch or abs(state.epoch - round(state.epoch)) < 1e-6
        if ends_a_pass and state.global_step not in validated(state):
            self._validate(state)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        if state.global_step >= state.max_steps or not control.should_training_stop:
            self._validate(state)

    def _validate(self, state: TrainerState) -> None:
        # As many in every process, since ZeRO-3 has all of them at every forward pass; those too many count nowhere.
        n, each = len(self.questions), math.ceil(len(self.questions) / processes.count())
        numbers = range(self.trainer.args.process_index, each * processes.count(), processes.count())
        own = [self.questions[number % n] for number in numbers]
        verdicts = [
            grade(answer, question.golds, question.gold_type, len(question.choices) if question.choices else None)
            for question, answer in zip(own, self._answers(own), strict=True)
        ]
        right = [verdict.correct for number, verdict in zip(numbers, verdicts, strict=True) if number < n]
        n_right = torch.tensor(sum(right), device=self.trainer.accelerator.device)
        n_right = int(self.trainer.accelerator.reduce(n_right, reduction="sum"))
        accuracy = n_right / n
        state.log_history.append({"step": state.global_step, "validation_accuracy": accuracy})
        say(f"validation   update {state.global_step}: {accuracy:.1%} of {n} right")

    def _prompt(self, question: Question) -> list[int]:
        return prompt_ids(self.tokenizer, solve_messages(question.question, question.choices, question.gold_type))

    @torch.no_grad()
    def _answers(self, questions: Sequence[Question]) -> list[str]:
        asked = list(map(self._prompt, questions))
        answers: dict[int, str] = {}
        order = sorted(range(len(asked)), key=lambda number: len(asked[number]))
        trainer = self.trainer
        unwrapped = unwrap_model_for_generation(
            trainer.model_wrapped,
            trainer.accelerator,
            gradient_checkpointing_kwargs=trainer.args.gradient_checkpointing_kwargs,
        )
        with unwrapped as model, packing.unpacked(model), weights.autocast():
            model.eval()
            for start in range(0, len(order), AT_ONCE):
                some = order[start : start + AT_ONCE]
                width = len(asked[some[-1]])
                padding = [width - len(asked[number]) for number in some]
                ids = [[self.tokenizer.pad_token_id] * n + asked[i] for n, i in zip(padding, some, strict=True)]
                mask = [[0] * n + [1] * (width - n) for n in padding]
                greedily = GenerationConfig(
                    do_sample=False,
                    repetition_penalty=1.0,  # or the model's own would count
                    max_new_tokens=self.room,
                    eos_token_id=end_ids(model, self.tokenizer),
                    pad_token_id=self.tokenizer.pad_token_id,
                )
                found = model.generate(
                    input_ids=torch.tensor(ids, device=model.device),
                    attention_mask=torch.tensor(mask, device=model.device),
                    generation_config=greedily,
                )
                texts = self.tokenizer.batch_decode(found[:, width:], skip_special_tokens=True)
                answers |= zip(some, texts, strict=True)
            model.train()
        return [answers[number] for number in range(len(asked))]
