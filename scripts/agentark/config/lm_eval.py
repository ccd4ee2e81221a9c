"""`lm_eval`: tasks of lm-evaluation-harness that students are scored on as well."""

from pydantic import Field

from agentark.config.section import Section


class LmEval(Section):
    """Tasks by their names in lm-evaluation-harness, whose prompts, metrics and versions they are."""

    tasks: list[str] = Field([], description="tasks or groups of them, as `lm_eval ls tasks` lists them")
    folder: str | None = Field(None, description="folder with task files of your own")
    limit: int | None = Field(None, ge=1, description="questions of each task; none = all")
    shots: int | None = Field(None, ge=0, description="solved examples before each question; none = the task's number")
    chat_template: bool = Field(
        False, description="ask by the model's chat template; the harness's published figures are without"
    )
    batch_size: int = Field(8, ge=1, description="requests at a time")
