"""`datasets`: where questions come from, and how they are cut into parts."""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from agentark.config.section import Section

IMPORTED_QUESTIONS = "debate-logs"
"""`source` of a dataset whose questions are those of the imported debate logs."""


AnswerType = Literal["number", "latex", "choice", "boolean", "text", "free"]


Perturbation = Literal["irrelevant", "names", "distractors"]


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

    # In a config it may be that of a ready-made dataset.
    model_config = ConfigDict(json_schema_extra={"required": []})

    source: str = Field(
        description="`reasoning-gym:TASK`, a JSONL or Parquet file, a Hub id, or `debate-logs` (the questions of the "
        "imported logs); a ready-made dataset has its own"
    )
    subset: str | None = Field(None, description="configuration name on the Hub (GSM8K: `main`)")
    options: dict[str, Any] = Field(default_factory=dict, description="options of a reasoning-gym task")
    question: str = Field("question", description="field of the question, or a text with fields: `{Body} {Question}`")
    remove: str | None = Field(None, description="a text that stands in questions and is taken out of them")
    context: str | None = Field(
        None,
        description="field of what a question is about (a paper, a meeting), or a text with fields; it stands before "
        "the question, and is all that is cut where a prompt is too long",
    )
    each: list[str] = Field(
        [],
        description="where a row has several questions, fields that are lists with an entry for each: "
        "`[instructions, outputs]`",
    )
    gold: str = Field("answer", description="field of the gold answer; a list of them are answers of the same worth")
    reasoning: str | None = Field(
        None,
        description="field of a worked solution, for the perplexity of its reasoning; where it ends in its answer "
        "(`####`, `The answer is`) that is left out",
    )
    choices: str | list[str] | None = Field(None, description="field, or fields, of the lettered options")
    first_choice: Literal[0, 1] = Field(0, description="the first option's number, where gold is the number of one")
    gold_type: AnswerType = Field(
        "number",
        description="how answers are compared: `boolean` is yes or no, `free` is text that only a verifier judges",
    )
    of: str | None = Field(
        None,
        description="the dataset whose held-out questions these are, changed by `perturb`",
    )
    perturb: Perturbation | None = Field(
        None,
        description="`irrelevant`: a sentence that has nothing to do with the question stands before its last one; "
        "`names`: other names for all persons; `distractors`: a paragraph of such sentences before it",
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

    @model_validator(mode="after")
    def _changed_and_not_trained_on(self) -> "Dataset":
        if (self.of is None) != (self.perturb is None):
            raise ValueError("`of` and `perturb` belong together: which questions are changed, and how")
        return self
