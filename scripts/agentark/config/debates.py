"""`debates`: the protocol of the agents, or the logs to import."""

from typing import Any, Literal

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from agentark.config.messages import explain
from agentark.config.section import Section
from agentark.errors import UserError


class Debates(Section):
    """How traces are made: agents that debate, or logs of debates that were held elsewhere."""

    source: Literal["generate", "import"] = Field("generate", description="hold debates, or read logs of them")
    logs: str | dict[str, str] | None = Field(
        None,
        description="`source: import`: JSON or JSONL file of debate logs, or a folder of them; or one for each teacher "
        "that has any, `{gpt-3.5: PATH}`, and the others debate here",
    )
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
        if self.source == "generate" and self.logs:
            raise ValueError("logs: they are read with `source: import` alone; add it, or take the logs out")
        if self.source == "import" and not self.logs:
            raise ValueError(
                "`source: import` needs `logs`, the file or folder of the debate logs; "
                "on the command line: --config debates='{logs: PATH}'"
            )
        if self.source == "import" and self.shards > 1:
            raise ValueError("shards: debates of logs, and those beside them, are one shard; leave it out")
        return self

    def logs_of(self, teacher: str) -> str | None:
        """Where a teacher's debates are logged; None where it debates here."""
        if self.source == "generate":
            return None
        return self.logs.get(teacher) if isinstance(self.logs, dict) else self.logs

    @property
    def all_logs(self) -> list[str]:
        """In an order that does not depend on that of the teachers: it decides which question falls into which part."""
        if self.source == "generate":
            return []
        return sorted({*self.logs.values()}) if isinstance(self.logs, dict) else [self.logs]
