"""`prm_evaluation`: how process reward models are measured."""

from typing import Literal

from pydantic import Field

from agentark.config.datasets import AnswerType
from agentark.config.section import Section


class StepBenchmark(Section):
    """Traces whose steps people have judged, in the fields of ProcessBench or of PRMBench."""

    source: str = Field(
        description="a JSON, JSONL or Parquet file, or a Hub id (`Qwen/ProcessBench`, `hitsmy/PRMBench_Preview`)"
    )
    subset: str | None = Field(None, description="configuration name on the Hub")
    split: str | None = Field(None, description="split on the Hub; ProcessBench: `gsm8k`, `math`, ...")
    gold_type: AnswerType = Field("number", description="how the question is put: what its answer is")
    published: Literal["gsm8k", "math", "olympiadbench", "omnimath"] | None = Field(
        None, description="the part of ProcessBench that this is, so that published figures stand beside ours"
    )


class PrmEvaluation(Section):
    """How reward models are measured: on the debates that teachers hold on the benchmarks, and on step benchmarks."""

    labels: Literal["consensus", "outcome"] = Field(
        "consensus",
        description="a step of those debates is right when its trace's answer is (`outcome`), or also when a right "
        "trace has the same step (`consensus`)",
    )
    shards: int = Field(1, ge=1, description="jobs that one reward model's traces are scored in")
    benchmarks: dict[str, StepBenchmark] = Field(default_factory=dict, description="step benchmarks by name")
