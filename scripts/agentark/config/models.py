"""`models` and `teams`: where weights come from, and who debates."""

import re
from typing import Any

from pydantic import (
    Field,
    model_validator,
)

from agentark.config.section import Section


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


class Taught(Section):
    """A student of this study, as a model: it can teach the next generation, or be trained further."""

    model: str = Field(description="the model that was trained, a name under `models`")
    method: str = Field(description="method or recipe that trained it")
    teacher: str | None = Field(None, description="whose debates it learned from; none = the run's first teacher")
    train_set: str | None = Field(None, description="what they were about; none = the run's first train set")
    seed: int | None = Field(None, description="training seed; none = the run's first")
    variant: str = Field("main", description="the variant in which it was trained")


class Model(Section):
    """A language model: where its weights come from, the server that runs it, or the student that it is."""

    source: str | None = Field(
        None,
        description="Hugging Face id, local folder, path of a `.gguf` file, or `package:NAME` for a GGUF file that "
        "an installed Python package ships",
    )
    server: Server | None = Field(None, description="ask this server instead of loading weights; not for students")
    student: Taught | None = Field(None, description="a student that this study trains")
    revision: str | None = Field(None, description="git revision on the Hub; none = newest")
    gguf_file: str | None = Field(None, description="GGUF file name inside a Hub repository or folder")
    thinking: bool = Field(
        False,
        description="let it think before it answers, where its chat template has the switch (Qwen3); a teacher's "
        "thoughts are no part of its traces, and nobody else reads them",
    )
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
        if [self.source, self.server, self.student].count(None) != 2:
            raise ValueError(
                "give either `source`, the weights, or `server`, where it runs, or `student`, who of this study it is"
            )
        if self.thinking and self.source is None:
            raise ValueError(
                "thinking: a server is told by `server.extra: {chat_template_kwargs: {enable_thinking: true}}`, and a "
                "student has learnt visible text"
            )
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
