"""How good a reward model is, beside judges that know nothing of mathematics and on errors planted in right traces."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agentark.evaluation import canaries
from agentark.evaluation.step_quality import Estimate, JudgedSteps, auroc, estimate, gain, measured
from agentark.training.logprobs import token_logps
from agentark.training.prm import ProcessRewardModel, score_encoded, score_steps
from agentark.training.prm_training import PrmQuestion
from agentark.training.rendering import render
from agentark.training.rewards import aggregate


def baselines(
    untrained: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    held_out: list[PrmQuestion],
    train: list[PrmQuestion],
) -> dict[str, np.ndarray]:
    """Scores (N,) of the held-out steps by judges that were trained on no step.

    Args:
        untrained: the model that the reward model starts from.
        train: questions that say whether short or long, early or late steps are the right ones.
    """
    return trivial_scores(held_out, train) | {"log_probability": log_probabilities(untrained, tokenizer, held_out)}


def quality(
    model: ProcessRewardModel,
    tokenizer: PreTrainedTokenizerBase,
    held_out: list[PrmQuestion],
    beside: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Facts for the manifest, about questions kept out of the training.

    Args:
        beside: other judges' scores (N,) of the same steps.
    """
    encoded = [trace for question in held_out for trace in question.encoded]
    scores = [score for row in score_encoded(model, encoded, tokenizer.pad_token_id) for score in row]
    steps = labelled(held_out, np.array(scores))
    n = len(held_out)
    gains = {name: gain(steps, other, n) for name, other in beside.items()}
    return {
        "held_out_questions": n,
        "held_out_steps": len(steps.right),
        "held_out_steps_right": int(steps.right.sum()),
        **{name: _facts(found) for name, found in measured(steps, n).items()},
        "gain_over": {name: _facts(found) for name, found in gains.items()},
        "beats_baselines": all(found.low > 0 for found in gains.values()),
        "canaries": planted_errors(model, tokenizer, held_out),
    }


def _facts(found: Estimate) -> dict[str, float | None]:
    """Rounded, without NaN, which JSON does not have."""
    return {key: None if math.isnan(value) else round(value, 4) for key, value in asdict(found).items()}


def labelled(questions: list[PrmQuestion], scores: np.ndarray) -> JudgedSteps:
    """The labelled steps of questions, with scores (N,) of some judge."""
    traces = [(number, trace) for number, question in enumerate(questions) for trace in question.traces]
    return JudgedSteps(
        scores=scores,
        right=np.array([label == 1 for _, trace in traces for label in trace.labels], dtype=bool),
        question=np.array([number for number, trace in traces for _ in trace.labels], dtype=int),
        trace=np.array([number for number, (_, trace) in enumerate(traces) for _ in trace.labels], dtype=int),
    )


def trivial_scores(questions: list[PrmQuestion], train: list[PrmQuestion]) -> dict[str, np.ndarray]:
    """Scores (N,) of judges that see a step's length, or its place in the trace, and nothing else."""
    found = {}
    for name, of_step in (("length", lambda i, start, end: end - start), ("position", lambda i, start, end: i)):
        ours, theirs = (
            np.array(
                [of_step(i, *span) for q in part for trace in q.traces for i, span in enumerate(trace.steps)],
                dtype=float,
            )
            for part in (questions, train)
        )
        falls = auroc(labelled(train, theirs), np.ones(len(theirs))) < 0.5
        found[name] = -ours if falls else ours
    return found


@torch.no_grad()
def log_probabilities(
    untrained: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: list[PrmQuestion]
) -> np.ndarray:
    """Mean log-probability of each step's tokens, (N,), under a model that was trained on no step."""
    found: list[float] = []
    untrained.eval()
    for trace in (trace for question in questions for trace in question.traces):
        rendered = render(tokenizer, trace.question, trace.choices, trace.gold_type, trace.text)
        ids = torch.tensor([rendered.input_ids], device=untrained.device)
        logps, _ = token_logps(untrained, ids, torch.ones_like(ids), ids)
        # The log-probability of token t stands at t - 1.
        spans = [(rendered.token_at(start) - 1, rendered.token_at(end - 1)) for start, end in trace.steps]
        found += [logps[0, start:end].mean().item() for start, end in spans]
    return np.array(found)


def planted_errors(
    model: ProcessRewardModel, tokenizer: PreTrainedTokenizerBase, questions: list[PrmQuestion]
) -> dict[str, dict[str, float | None]]:
    """Of right traces, the share in which the clean one gets the better reward, by kind of error and over all kinds."""
    rows = [
        (number, trace, kind, text)
        for number, question in enumerate(questions)
        for trace in question.traces
        if all(trace.labels)
        for kind, text in canaries.spoilt(trace.text, trace.steps, trace.trace_id)
    ]
    clean = [canaries.clean(trace.text, trace.steps) for _, trace, _, _ in rows]
    asked, texts = [trace for _, trace, _, _ in rows] * 2, clean + [text for _, _, _, text in rows]
    rewards = np.array([aggregate(scores, "softmin") for scores in score_steps(model, tokenizer, asked, texts)])
    ours, theirs = rewards[: len(rows)], rewards[len(rows) :]
    wins = (ours > theirs) + (ours == theirs) / 2
    number, kinds = np.array([row[0] for row in rows], dtype=int), np.array([row[2] for row in rows], dtype=str)

    def share(chosen: np.ndarray) -> dict[str, float | None]:
        def of(often: np.ndarray) -> float:
            weights = often[number[chosen]]
            return float(weights @ wins[chosen] / weights.sum()) if weights.sum() else math.nan

        return {**_facts(estimate(of, len(questions))), "n": int(chosen.sum())}

    return {"all": share(np.ones(len(rows), dtype=bool))} | {kind: share(kinds == kind) for kind in canaries.KINDS}
