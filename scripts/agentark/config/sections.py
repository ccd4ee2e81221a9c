"""The sections of a config: what each stage reads, with its defaults and what may stand in it.

Defaults are the paper's faithful values (arXiv 2602.03955 and its reference code). Imported by the Snakefile, so
nothing heavy may be imported here.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from agentark.config.messages import explain
from agentark.errors import UserError

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
Control = Literal["answer_only", "single_cot", "rejection", "majority"]
Method = Literal["rsft", "da", "pad", "answer_only", "single_cot", "rejection", "majority"]
IMPORTED_QUESTIONS = "debate-logs"
"""`source` of a dataset whose questions are those of the imported debate logs."""


class Section(BaseModel):
    """Unknown keys and texts in the place of numbers are refused: an error must not become a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Server(Section):
    """An OpenAI-compatible server that a model is asked through: `vllm serve`, SGLang, a hosted service."""

    url: str = Field(description="base URL up to `/v1`", pattern=r"^https?://[^@\s]+$")
    model: str = Field(description="the model's name on that server")
    key_env: str | None = Field(
        None, pattern=r"^[A-Za-z_]\w*$", description="environment variable that holds the key; it is never logged"
    )
    concurrency: int = Field(64, ge=1, description="requests at the same time")
    requests_per_minute: int | None = Field(None, ge=1, description="rate limit; none = as fast as the server answers")
    timeout_s: float = Field(600.0, gt=0, description="seconds that one request may take")
    retries: int = Field(6, ge=0, description="tries again after 408, 429, 5xx, time-outs and unreadable answers")
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="further fields of every request, for example `{chat_template_kwargs: {enable_thinking: false}}`",
    )


class Model(Section):
    """A language model: where its weights come from, or the server that runs it."""

    source: str | None = Field(
        None,
        description="Hugging Face id, local folder, path of a `.gguf` file, or `package:NAME` for a GGUF file that "
        "an installed Python package ships",
    )
    server: Server | None = Field(None, description="ask this server instead of loading weights; not for students")
    revision: str | None = Field(None, description="git revision on the Hub; none = newest")
    gguf_file: str | None = Field(None, description="GGUF file name inside a Hub repository or folder")
    billions: float | None = Field(
        None,
        gt=0,
        description="parameters, for the jobs' GPUs and memory; none = what the name says, `Qwen3-8B` or "
        "`SmolLM2-135M`, else the smallest size",
    )

    @property
    def size(self) -> float:
        """Billions of parameters that a job has to load; 0 when another machine holds them, or nobody says."""
        if self.server:
            return 0.0
        named = re.search(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z0-9])", self.source or "")
        if self.billions is not None or named is None:
            return self.billions or 0.0
        return float(named[1]) / (1 if named[2] in "Bb" else 1000)

    @model_validator(mode="after")
    def _one_place(self) -> "Model":
        if (self.source is None) == (self.server is None):
            raise ValueError("give either `source`, the weights, or `server`, where it runs")
        return self


class Member(Section):
    """One agent of a team; agent i of a protocol is member i modulo their number."""

    model: str = Field(description="a name under `models`")
    temperature: float | None = Field(None, ge=0, description="none = `debates.temperature`")
    max_tokens: int | None = Field(None, ge=1, description="none = `debates.max_tokens`")
    persona: str | None = Field(None, description="who this agent is told to be, for example `You are an accountant.`")


class Team(Section):
    """The agents of one teacher."""

    members: list[Member] = Field(min_length=1, description="in the order in which they become agents")


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
    gold_type: Literal["number", "latex", "choice", "boolean", "text", "free"] = Field(
        "number",
        description="how answers are compared: `boolean` is yes or no, `free` is text that only a verifier judges",
    )
    licence: str | None = Field(None, description="licence of the data, carried into every set")
    origin: str | None = Field(
        None, description="field with the text of the question that a row was made from (MetaMathQA: original_question)"
    )
    seed: int = Field(0, description="seed of generation and of the cut into parts")
    rejected_share: float = Field(
        0.01, ge=0, le=1, description="share of rows that may be unreadable; they are listed in `rejected.jsonl`"
    )
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
    in_flight: int | None = Field(
        None, ge=1, description="questions that debate at the same time; none = what the attention cache holds"
    )
    prefix_caching: bool = Field(True, description="vLLM: keep what prompts have in common computed")
    tensor_parallel: int | None = Field(
        None, ge=1, description="vLLM: GPUs that one model is spread over; none = all that the job sees"
    )
    gpu_memory_share: float = Field(0.9, gt=0, le=1, description="vLLM: share of a GPU's memory that it may take")
    seed: int = Field(0, description="seed of sampling")


class Debates(Section):
    """How traces are made: agents that debate, or logs of debates that were held elsewhere."""

    source: Literal["generate", "import"] = Field("generate", description="hold debates, or read logs of them")
    logs: str | None = Field(None, description="JSON file of debate logs, or a folder of them (source: import)")
    protocol: str = Field(
        "debate",
        description="`single`, `self_consistency`, `debate`, `mad`, `dylan`, `agentverse`, `camel`, `macnet`, `mav`, "
        "`reflect`, or your own as `FILE.py:FUNCTION` (docs/protocols.md)",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, validate_default=True, description="settings of the protocol (docs/protocols.md)"
    )
    temperature: float = Field(0.5, ge=0, description="sampling temperature (reference code: 0.5)")
    max_tokens: int = Field(4096, ge=1, description="tokens a reply may have")
    prompt_layout: Literal["shared", "reference"] = Field(
        "shared",
        description="`shared`: question, all replies, the agent's own part last, so that agents share their prefix; "
        "`reference`: a dialogue of the agent's own turns, then the others' replies, as the paper's code",
    )
    overflow: Literal["drop_oldest", "summarise", "fail"] = Field(
        "drop_oldest",
        description="when a prompt with `max_tokens` more does not fit: leave out the oldest replies, have the longest "
        "shortened by one more call, or fail that question",
    )
    failed_share: float = Field(
        0.01, ge=0, le=1, description="share of questions that may fail; above it the job stops, and tries them anew"
    )
    shards: int = Field(1, ge=1, description="independent jobs for one set of questions")

    @field_validator("protocol")
    @classmethod
    def _protocol_exists(cls, value: str) -> str:
        from agentark.debates import protocols

        try:
            protocols.find(value)
        except UserError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("options")
    @classmethod
    def _options_of_the_protocol(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Checked against the protocol's signature and completed with its defaults."""
        from agentark.debates import protocols

        if "protocol" not in info.data:
            return value  # it was no protocol, which is said already
        settings = protocols.settings_of(info.data["protocol"])
        try:
            return settings.model_validate(value).model_dump()
        except ValidationError as error:
            raise ValueError("; ".join(explain(item, settings) for item in error.errors())) from None

    @model_validator(mode="after")
    def _logs_when_imported(self) -> "Debates":
        if self.source == "import" and not self.logs:
            raise ValueError(
                "`source: import` needs `logs`, the JSON file or folder of the debate logs; "
                "on the command line: --config debates='{logs: PATH}'"
            )
        return self


class Traces(Section):
    """How debates are graded."""

    rejected_share: float = Field(
        0.01, ge=0, le=1, description="share of replies that may be empty, failed or endless, and make no trace"
    )
    verifier: str | None = Field(
        None,
        description="model that judges the answers that rules cannot decide (paper: Qwen2.5-72B-Instruct); none = "
        "they count as not correct",
    )
    verifier_sees: Literal["answer", "trace"] = Field(
        "answer",
        description="what it reads beside question and gold: the answer (paper), or the whole reply (its code)",
    )
    audit: int = Field(
        200, ge=0, description="answers a shard that rules did decide and the verifier judges too, to know its errors"
    )


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
    da_selection: Literal["max_min", "k_medoids", "random", "judge"] = Field(
        "max_min",
        description="DA: how different traces are picked: each the farthest from those before, one for each way of "
        "solving, at random as a control, or by a language model (paper)",
    )
    judge: str | None = Field(None, description="model that picks for `da_selection: judge`")
    corrective: Literal["prefer", "exclude", "equal"] = Field(
        "prefer",
        description="R-SFT, DA: traces of agents that corrected themselves come first (paper), stay out, or teach as "
        "many questions as the others",
    )
    corrective_form: Literal["final", "arc"] = Field(
        "final",
        description="R-SFT, DA: what of a corrective trace is learnt: the final one, or attempt, doubt and revision",
    )
    prm_traces: int = Field(8, ge=2, description="traces a question whose steps train the PRM, at most")
    prm_labels: Literal["consensus", "outcome", "rollouts"] = Field(
        "consensus",
        description="a step is right when its trace's answer is (`outcome`), also when a right trace has the same step "
        "(`consensus`), or when a continuation from it ends right (`rollouts`)",
    )
    rollouts: int = Field(8, ge=1, description="continuations a step for `prm_labels: rollouts`")
    rollout_model: str | None = Field(None, description="model that continues traces for `prm_labels: rollouts`")
    contamination: Literal["fail", "drop", "report"] = Field(
        "drop", description="train questions that a benchmark also asks: stop, leave them out, or only report them"
    )
    near_duplicates: Literal["drop", "report"] = Field(
        "drop", description="train questions that nearly repeat another one"
    )

    @staticmethod
    def fields_for(kind: str) -> set[str]:
        """What one kind of set depends on."""
        teaching = {"min_correct_agents", "require_reasoning", "corrective", "corrective_form"}
        fields = {
            "rsft": {*teaching, "rsft_traces"},
            "da": {*teaching, "da_traces", "da_selection"},
            "prm": {"prm_traces", "prm_labels"},
            "judged": {"min_correct_agents", "require_reasoning", "corrective", "da_traces"},
            "rollouts": {"prm_traces", "rollouts"},
            "overlap": {"contamination", "near_duplicates"},
        }
        # Models are inputs of their own, so their names need not be here.
        return fields.get(kind, set())

    def slice_for(self, kind: str) -> "Sets":
        """Only the fields that one kind of set depends on; the others are left at their defaults."""
        return Sets(**self.model_dump(include=self.fields_for(kind)))


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


class Size(Section):
    """What jobs with models of some size ask of a machine."""

    up_to: float = Field(gt=0, description="billions of parameters of the largest model that this row is for")
    generate_gpus: int = Field(ge=1, description="GPUs that vLLM spreads the model over (tensor parallel)")
    train_gpus: int = Field(ge=1, description="GPUs that train it, with float32 weights and both moments of Adam")
    zero: Literal[0, 2, 3] = Field(
        description="DeepSpeed's ZeRO stage: what the GPUs of a training share, 0 nothing, 2 gradients and moments, "
        "3 weights too"
    )
    memory_gb: float = Field(gt=0, description="host memory a node; each of its processes reads all weights once")


class Hardware(Section):
    """What jobs ask for. It changes no result, so nothing reruns when it changes."""

    gpus_per_node: int = Field(8, ge=1, description="a training that asks for more takes several nodes")
    request: Literal["gpus", "gres"] = Field(
        "gpus", description="how Slurm is asked for them: `--gpus=4`, or `--gres=gpu:4` where a site wants that"
    )
    environment: Literal["worker-cpu", "worker-gpu"] = Field(
        "worker-cpu", description="which of `envs/` the jobs run in, for `snakemake --sdm conda`"
    )
    container: str | None = Field(
        None, description="image that the jobs run in, a `.sif` file for example, for `snakemake --sdm apptainer`"
    )
    sizes: list[Size] = Field(
        [
            Size(up_to=2, generate_gpus=1, train_gpus=1, zero=0, memory_gb=32),
            Size(up_to=5, generate_gpus=1, train_gpus=2, zero=2, memory_gb=64),
            Size(up_to=10, generate_gpus=1, train_gpus=4, zero=3, memory_gb=128),
            Size(up_to=20, generate_gpus=1, train_gpus=8, zero=3, memory_gb=384),
            Size(up_to=36, generate_gpus=2, train_gpus=16, zero=3, memory_gb=640),
            Size(up_to=80, generate_gpus=4, train_gpus=32, zero=3, memory_gb=1536),
        ],
        min_length=1,
        description="one row a size of model, the smallest first; made for GPUs of 80 GB",
    )

    @field_validator("sizes")
    @classmethod
    def _ascending(cls, value: list[Size]) -> list[Size]:
        if value != sorted(value, key=lambda size: size.up_to):
            raise ValueError("the rows must ascend by `up_to`")
        return value

    def of(self, billions: float) -> Size:
        """The row for a model; the last one for those that are larger than any."""
        return next((size for size in self.sizes if billions <= size.up_to), self.sizes[-1])
