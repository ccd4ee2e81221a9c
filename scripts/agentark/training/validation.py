"""Right answers of a student while it is trained: greedy ones, before the first update and after each pass."""

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


class Validation(TrainerCallback):
    """Asks the questions and keeps the share of right answers in the trainer's log, so that checkpoints hold it too.

    Args:
        questions: shared out among the processes.
        max_length: tokens of prompt and answer together; longer answers are cut.
    """

    def __init__(
        self, trainer: Trainer, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question], max_length: int
    ) -> None:
        self.trainer, self.tokenizer, self.questions, self.max_length = trainer, tokenizer, questions, max_length

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.global_step == 0:
            self._validate(state)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        if state.global_step >= state.max_steps or not control.should_training_stop:
            self._validate(state)

    def _validate(self, state: TrainerState) -> None:
        own = self.questions[self.trainer.args.process_index :: processes.count()]
        verdicts = [
            grade(answer, question.gold, question.gold_type, len(question.choices) if question.choices else None)
            for question, answer in zip(own, self._answers(own), strict=True)
        ]
        n_right = torch.tensor(sum(verdict.correct for verdict in verdicts), device=self.trainer.accelerator.device)
        n_right = int(self.trainer.accelerator.reduce(n_right, reduction="sum"))
        accuracy = n_right / len(self.questions)
        state.log_history.append({"step": state.global_step, "validation_accuracy": accuracy})
        say(f"validation   update {state.global_step}: {accuracy:.1%} of {len(self.questions)} right")

    @torch.no_grad()
    def _answers(self, questions: Sequence[Question]) -> list[str]:
        asked = [prompt_ids(self.tokenizer, solve_messages(q.question, q.choices, q.gold_type)) for q in questions]
        answers: dict[int, str] = {}
        order = sorted(range(len(asked)), key=lambda number: len(asked[number]))
        trainer = self.trainer
        with (
            unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model,
            packing.unpacked(model),
            weights.autocast(),
        ):
            model.eval()
            for start in range(0, len(order), AT_ONCE):
                some = order[start : start + AT_ONCE]
                width = len(asked[some[-1]])
                padding = [width - len(asked[number]) for number in some]
                ids = [[self.tokenizer.pad_token_id] * n + asked[i] for n, i in zip(padding, some, strict=True)]
                mask = [[0] * n + [1] * (width - n) for n in padding]
                greedily = GenerationConfig(
                    do_sample=False,
                    max_new_tokens=max(1, self.max_length - width),
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
