"""The configuration of a run: one typed model, its defaults, and errors that name file and key.

Everything here defines the result; nothing here is about hardware (that is `profiles/`). Defaults are the
paper's faithful values (arXiv 2602.03955 and its reference code); `config/demo.yaml` overrides them for a laptop.
Imported by the Snakefile, so nothing heavy may be imported here.
"""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from agentark.errors import UserError

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
Method = Literal["rsft", "da", "pad"]
IMPORTED_QUESTIONS = "debate-logs"
"""`source` of a dataset whose questions are those of the imported debate logs."""


class Section(BaseModel):
    """Unknown keys and texts in the place of numbers are refused: an error must not become a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Model(Section):
    """A language model: where its weights come from."""

    source: str = Field(
        description="Hugging Face id, local folder, path of a `.gguf` file, or `package:NAME` for a GGUF file that "
        "an installed Python package ships"
    )
    revision: str | None = Field(None, description="git revision on the Hub; none = newest")
    gguf_file: str | None = Field(None, description="GGUF file name inside a Hub repository or folder")


class SplitSource(Section):
    """Where the questions of one split come from."""

    source: str | None = Field(None, description="file, folder or Hub id of this split, where it has its own")
    split: str | None = Field(None, description="name of the split in that source")
    size: Annotated[int, Field(ge=0)] | None = Field(None, description="questions to take; none = all that are left")


def _split_shorthand(value: Any) -> Any:
    return {"size": value} if isinstance(value, int) and not isinstance(value, bool) else value


SplitField = Annotated[SplitSource | None, BeforeValidator(_split_shorthand)]


class Dataset(Section):
    """A set of questions with train, validation and test parts, disjoint by content."""

    source: str = Field(
        description="`reasoning-gym:TASK`, a JSONL or Parquet file, a Hub id, or `debate-logs` (the questions of the "
        "imported logs)"
    )
    subset: str | None = Field(None, description="configuration name on the Hub (GSM8K: `main`)")
    options: dict[str, Any] = Field(default_factory=dict, description="options of a reasoning-gym task")
    question: str = Field("question", description="field of the question, or a text with fields: `{Body} {Question}`")
    gold: str = Field("answer", description="field of the gold answer")
    choices: str | list[str] | None = Field(None, description="field, or fields, of the lettered options")
    gold_type: Literal["number", "latex", "choice", "text"] = Field("number", description="how answers are compared")
    licence: str | None = Field(None, description="licence of the data, carried into every set")
    seed: int = Field(0, description="seed of generation and of the cut into parts")
    train: SplitField = Field(None, description="questions to debate and to train on; a number is a size")
    validation: SplitField = Field(None, description="questions to choose settings on, never trained on")
    test: SplitField = Field(None, description="questions that every figure in the tables is about")


class Engine(Section):
    """How text is generated."""

    kind: Literal["auto", "vllm", "transformers"] = Field(
        "auto", description="`auto` takes vLLM where it is installed, else transformers, and says which"
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field("auto", description="precision of the weights")
    max_model_len: int = Field(8192, ge=64, description="prompt plus completion, in tokens")
    in_flight: int = Field(256, ge=1, description="questions that debate at the same time")
    seed: int = Field(0, description="seed of sampling")


class Debates(Section):
    """How traces are made: agents that debate, or logs of debates that were held elsewhere."""

    source: Literal["generate", "import"] = Field("generate", description="hold debates, or read logs of them")
    logs: str | None = Field(None, description="JSON file of debate logs, or a folder of them (source: import)")
    agents: int = Field(5, ge=1, description="agents a question (paper: 5)")
    rounds: int = Field(3, ge=1, description="rounds at most (paper: 3)")
    stop: Literal["none", "majority", "unanimous"] = Field(
        "unanimous", description="agreement on the normalised answer that ends a debate early"
    )
    temperature: float = Field(0.5, ge=0, description="sampling temperature (reference code: 0.5)")
    max_tokens: int = Field(4096, ge=1, description="tokens a reply may have")
    shards: int = Field(1, ge=1, description="independent jobs for one set of questions")

    @model_validator(mode="after")
    def _logs_when_imported(self) -> "Debates":
        if self.source == "import" and not self.logs:
            raise ValueError(
                "`source: import` needs `logs`, the JSON file or folder of the debate logs; "
                "on the command line: --config debates='{logs: PATH}'"
            )
        return self


class Sets(Section):
    """Which traces become training data."""

    min_correct_agents: int = Field(
        2, ge=0, description="R-SFT, DA: questions with fewer agents right at the end are left out (paper: 2)"
    )
    require_reasoning: bool = Field(
        True,
        description="R-SFT, DA: leave out traces that only state an answer; they teach to answer at once",
    )
    da_traces: int = Field(3, ge=1, le=8, description="k, different correct traces a question for DA (paper: 1 to 3)")
    rsft_traces: int = Field(
        1, ge=1, description="correct traces a question for R-SFT, corrective ones first, one per example (paper: 1)"
    )
    prm_traces: int = Field(8, ge=2, description="traces a question whose steps train the PRM, at most")

    def slice_for(self, kind: str) -> "Sets":
        """Only the fields that one kind of set depends on; the others are left at their defaults."""
        fields = {
            "rsft": {"min_correct_agents", "require_reasoning", "rsft_traces"},
            "da": {"min_correct_agents", "require_reasoning", "da_traces"},
            "prm": {"prm_traces"},
            "rl": set(),
        }
        return Sets(**self.model_dump(include=fields[kind]))


class Sft(Section):
    """R-SFT (Eq. 1) and DA (Eq. 2): supervised training on traces."""

    loss: Literal["sum", "token_mean", "separate"] = Field(
        "separate",
        description="`separate` = reasoning_weight * mean NLL(reasoning) + answer_weight * mean NLL(answer); "
        "`token_mean` = one mean over all tokens; `sum` = plain sums as printed in Eq. 1",
    )
    reasoning_weight: float = Field(1.0, ge=0, description="weight of the reasoning term of `separate`")
    answer_weight: float = Field(1.0, ge=0, description="weight of the answer term of `separate`")
    learning_rate: float = Field(5e-6, gt=0, description="AdamW, cosine to 10%, warm-up 3%")
    epochs: int = Field(2, ge=1, description="passes over the set")
    batch_size: int = Field(128, ge=1, description="examples an update")
    micro_batch_size: int = Field(8, ge=1, description="examples a forward pass; changes speed and memory only")
    max_length: int = Field(2048, ge=16, description="tokens of prompt and completion; longer examples are left out")
    lora_rank: int | None = Field(None, ge=1, description="train a LoRA adapter of this rank; none = all weights")


class PrmStage(Section):
    """One of the two stages of PRM training."""

    learning_rate: float = Field(gt=0, description="AdamW")
    epochs: int = Field(ge=1, description="passes over the questions")


class Prm(Section):
    """Process reward model, contrastive objective (Eq. 7) in two stages."""

    tau: float = Field(0.1, gt=0, description="temperature of Eq. 7; above 0.2 the loss cannot come near 0")
    negatives: int = Field(8, ge=1, description="steps of other agents on the same question, a positive step")
    stage1: PrmStage = Field(
        PrmStage(learning_rate=1e-4, epochs=3), description="trains the last layer and the reward head"
    )
    stage2: PrmStage = Field(PrmStage(learning_rate=1e-6, epochs=1), description="trains all weights")
    batch_size: int = Field(16, ge=1, description="questions an update")
    max_length: int = Field(4096, ge=16, description="tokens; a trace that is longer is left out, never cut")
    max_questions: int | None = Field(None, ge=1, description="questions to train on; none = all")
    held_out_share: float = Field(
        0.1, ge=0, lt=1, description="share of the questions kept back to measure the PRM's step AUC"
    )


class Grpo(Section):
    """GRPO with the process reward (Eq. 3 to 5)."""

    start: Literal["base", "rsft", "da"] = Field("base", description="policy that RL starts from (reference: base)")
    learning_rate: float = Field(5e-7, gt=0, description="AdamW, constant")
    beta: float = Field(0.001, ge=0, description="weight of the KL term (k3) against the start policy")
    epsilon: float = Field(0.2, gt=0, description="clip range of the ratio")
    steps: int = Field(500, ge=1, description="policy updates")
    prompts_per_step: int = Field(8, ge=1, description="questions rolled out for one update")
    group_size: int = Field(8, ge=2, description="G, rollouts a question")
    micro_batch_size: int = Field(8, ge=1, description="rollouts a forward pass; changes speed and memory only")
    temperature: float = Field(1.0, gt=0, description="sampling temperature of rollouts")
    max_tokens: int = Field(2048, ge=1, description="tokens a rollout may have")
    aggregate: Literal["softmin", "min", "mean", "last", "product"] = Field(
        "softmin", description="how the step scores of a rollout become one reward"
    )
    verifiable_weight: float = Field(
        0.0, ge=0, description="weight of a 0/1 reward from the grader beside the process reward (paper: 0)"
    )
    pass_rate: list[float] = Field(
        [0.0, 1.0],
        min_length=2,
        max_length=2,
        description="take questions whose share of right turns in the debate lies in this range",
    )
    lora_rank: int | None = Field(None, ge=1, description="train a LoRA adapter of this rank; none = all weights")


class Evaluation(Section):
    """How models are scored."""

    split: Literal["validation", "test"] = Field("test", description="choose settings on validation; report test")
    max_tokens: int = Field(2048, ge=1, description="tokens an answer may have, the same for base and students")
    temperature: float = Field(0.0, ge=0, description="0 = greedy")
    baseline_share: float = Field(
        1 / 3, ge=0, le=1, description="share of the questions that the debate and self-consistency also answer"
    )


class Config(Section):
    """A whole run."""

    run: str = Field(pattern=f"^{NAME}$", description="name of the run, its folder under results/")
    models: dict[str, Model] = Field(default_factory=dict, description="models by name")
    datasets: dict[str, Dataset] = Field(description="question sets by name")
    teachers: list[str] = Field(min_length=1, description="models that debate (imported logs: a name for theirs)")
    students: list[str] = Field(min_length=1, description="models that are trained")
    train_sets: list[str] = Field(min_length=1, description="datasets to debate and train on")
    benchmarks: list[str] = Field(min_length=1, description="datasets to score on")
    methods: list[Method] = Field(["rsft", "da", "pad"], min_length=1, description="how students are trained")
    seeds: list[int] = Field([0], min_length=1, description="training seeds, one student each")
    engine: Engine = Field(Engine(), description="text generation")
    debates: Debates = Field(Debates(), description="debates")
    sets: Sets = Field(Sets(), description="training sets")
    sft: Sft = Field(Sft(), description="R-SFT and DA")
    prm: Prm = Field(Prm(), description="process reward model")
    grpo: Grpo = Field(Grpo(), description="PAD")
    evaluation: Evaluation = Field(Evaluation(), description="evaluation")

    @field_validator("models", "datasets")
    @classmethod
    def _names_fit_paths(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not re.fullmatch(NAME, name):
                raise ValueError(f"`{name}` becomes part of a path: use letters, digits, `.`, `_` and `-` only")
        return value

    @field_validator("teachers", "students", "train_sets", "benchmarks", "methods", "seeds")
    @classmethod
    def _no_repeats(cls, value: list[Any]) -> list[Any]:
        repeated = sorted({str(item) for item in value if value.count(item) > 1})
        if repeated:
            raise ValueError(f"{', '.join(repeated)} stands twice: take one out")
        return value

    @model_validator(mode="after")
    def _names_exist(self) -> "Config":
        trained_or_run = [("students", self.students)]
        if self.debates.source == "generate":
            trained_or_run.append(("teachers", self.teachers))
        for key, names in trained_or_run:
            _require(key, names, "models", self.models)
        _require("train_sets", self.train_sets, "datasets", self.datasets)
        _require("benchmarks", self.benchmarks, "datasets", self.datasets)
        for name in self.train_sets:
            if self.datasets[name].train is None:
                raise ValueError(f"datasets.{name} is in train_sets: give its `train` part, for example `train: 256`")
        for name in self.benchmarks:
            if getattr(self.datasets[name], self.evaluation.split) is None:
                part = self.evaluation.split
                raise ValueError(f"datasets.{name} is in benchmarks: give its `{part}` part, for example `{part}: 300`")
        if self.debates.source == "generate":
            for name, dataset in self.datasets.items():
                if dataset.source == IMPORTED_QUESTIONS:
                    raise ValueError(
                        f"datasets.{name}.source is `debate-logs`: this needs `debates: {{source: import}}`"
                    )
        if "pad" in self.methods and self.grpo.start != "base" and self.grpo.start not in self.methods:
            raise ValueError(f"grpo.start is `{self.grpo.start}`: add it to methods, PAD starts from that student")
        return self


def _require(key: str, names: Iterable[str], where: str, known: dict[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{key}: `{name}` is not under `{where}`{_did_you_mean(name, known)}")


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else f" (known: {', '.join(known) or 'none'})"


def load(raw: dict[str, Any], files: Iterable[str | Path] = ()) -> Config:
    """Validate a configuration.

    Args:
        raw: the merged mapping.
        files: where it came from, for the message.

    Raises:
        UserError: names the file, every wrong key and its cure.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        where = ", ".join(str(file) for file in files) or "config"
        lines = "\n".join(f"  {_explain(item)}" for item in error.errors())
        raise UserError(f"{where}: the configuration has errors\n{lines}") from None


def _explain(item: Any) -> str:
    path = [str(part) for part in item["loc"] if part not in ("function-before",)]
    key = ".".join(path) or "top level"
    value = item["input"]
    if item["type"] == "extra_forbidden":
        section = _section_at(path[:-1])
        return f"{key}: unknown key{_did_you_mean(path[-1], section.model_fields if section else [])}"
    if item["type"] == "missing":
        return f"{key}: missing; add it"
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+[eE][+-]?\d+", value):
        mantissa, exponent = re.split("[eE]", value)
        return f"{key}: YAML reads {value} as a text, not as a number; write {mantissa}.0e{exponent}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if item["type"] == "value_error" else f"{key}: {message} (it is {value!r})"


def _section_at(path: list[str]) -> type[Section] | None:
    """The config class at a path of keys; names of models and datasets are stepped over."""
    section: type[Section] = Config
    for part in path:
        if section is Config and part in ("models", "datasets"):
            section = Model if part == "models" else Dataset
        elif part in section.model_fields:
            annotation = section.model_fields[part].annotation
            if not (isinstance(annotation, type) and issubclass(annotation, Section)):
                return SplitSource if section is Dataset else None
            section = annotation
        elif section not in (Model, Dataset):
            return None
    return section
