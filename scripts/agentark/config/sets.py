"""`sets`: which traces become training data."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator

from agentark.config.methods import Control
from agentark.config.section import Section

LabelSource = Literal["consensus", "outcome", "rollouts", "judge"]
LabelShares = dict[LabelSource, Annotated[float, Field(gt=0)]]


class Sets(Section):
    """Which traces become training data."""

    share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the train questions that sets draw from; a smaller one lies inside a larger one",
    )
    trajectories: int | None = Field(
        None,
        ge=1,
        description="R-SFT, DA, PRM: agents a question whose traces are used, the first ones; the PRM needs 2; "
        "none = all",
    )
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
    judge: str | None = Field(
        None, description="model that picks for `da_selection: judge`, and labels steps for `prm_labels: judge`"
    )
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
    prm_labels: LabelShares = Field(
        {"consensus": 1.0},
        min_length=1,
        description="a step is right when its trace's answer is (`outcome`), also when a right trace has the same step "
        "(`consensus`), when a continuation from it ends right (`rollouts`), or when a model finds no error up to it "
        "(`judge`); or shares of the questions that each labels: `{consensus: 3, rollouts: 1}`",
    )
    prm_after_error: Literal["keep", "drop", "wrong"] = Field(
        "keep",
        description="steps after a trace's first wrong one: labelled like the others, left out, or wrong like it",
    )
    prm_questions: Literal["divided", "all"] = Field(
        "divided",
        description="questions with right and with wrong traces (Eq. 7 needs both), or also those where all agree, "
        "which `bce` and `pqm` can use",
    )
    rollouts: int = Field(8, ge=1, description="continuations a step for `prm_labels: rollouts`")
    rollout_model: str | None = Field(None, description="model that continues traces for `prm_labels: rollouts`")
    contamination: Literal["fail", "drop", "report"] = Field(
        "drop", description="train questions that a benchmark also asks: stop, leave them out, or only report them"
    )
    near_duplicates: Literal["drop", "report"] = Field(
        "drop", description="train questions that nearly repeat another one"
    )

    @field_validator("prm_labels", mode="before", json_schema_input_type=LabelSource | LabelShares)
    @classmethod
    def _one_source_by_its_name(cls, value: Any) -> Any:
        return {value: 1.0} if isinstance(value, str) else value

    @staticmethod
    def fields_for(kind: str) -> set[str]:
        """What one kind of set depends on.

        Judges and rollouts see the traces of all questions, so that sets of any share have them in common. A control
        has the questions of the R-SFT set that it stands against, and so its share.
        """
        amount = {"share", "trajectories"}
        labelled = {"trajectories", "prm_traces", "prm_questions", "prm_labels"}
        teaching = {*amount, "min_correct_agents", "require_reasoning", "corrective", "corrective_form"}
        fields = {
            "rsft": {*teaching, "rsft_traces"},
            "da": {*teaching, "da_traces", "da_selection"},
            "prm": {*labelled, "share", "prm_after_error"},
            "rl": {"share"},
            "judged": {"trajectories", "min_correct_agents", "require_reasoning", "corrective", "da_traces"},
            "rollouts": {*labelled, "rollouts"},
            "judge": labelled,
            "overlap": {"contamination", "near_duplicates"},
            **{control: {"trajectories"} for control in get_args(Control)},
        }
        # Models are inputs of their own, so their names need not be here.
        return fields.get(kind, set())

    def slice_for(self, kind: str) -> "Sets":
        """Only the fields that one kind of set depends on; the others are left at their defaults."""
        return Sets(**self.model_dump(include=self.fields_for(kind)))
