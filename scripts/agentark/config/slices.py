"""The part of the configuration that one artefact depends on, as it is frozen in `settings/`."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentark.config.tables import Tables
from agentark.config.variants import MAIN

if TYPE_CHECKING:
    from agentark.config.experiments import Experiment
    from agentark.config.study import Config


def frozen(config: "Config", name: str) -> str:
    """The settings of one file under `settings/`, and nothing else, so that nothing else reruns.

    Args:
        name: `sft`, `sets/da`, `models/NAME`, `teams/NAME`, `questions/NAME`, `imports/TEACHER`, ...
    """
    section, _, key = name.partition("/")
    if section == "models":
        value = config.models[key].model_dump(mode="json")
    elif section == "teams":
        value = config.team(key).model_dump(mode="json")
    elif section == "questions":
        # Of changed questions the other dataset says what they were.
        only = {"source", "of", "perturb", "test", "validation"} if config.datasets[key].perturb else None
        value = config.datasets[key].model_dump(mode="json", include=only)
    elif section == "steps":
        value = config.prm_evaluation.benchmarks[key].model_dump(mode="json")
    elif section == "debates":
        # Who has logs decides nothing for those who debate.
        value = config.debates.model_dump(mode="json", exclude={"source", "logs"})
    elif section == "imports":
        value = {"source": "import", "logs": config.debates.logs_of(key), "failed_share": config.debates.failed_share}
    elif section == "sets":
        value = config.sets.slice_for(key).model_dump(mode="json")
    elif section == "sft":
        # The sets are inputs of their own.
        value = config.sft.model_dump(mode="json", exclude={"other_teachers"})
    elif section == "prm":
        # The backbone and the sets are inputs of their own: the same ones make the same PRM for whoever uses it.
        value = config.prm.model_dump(mode="json", exclude={"model", "other_teachers"})
    elif section == "prm_evaluation":
        # How many jobs share the work decides nothing, and each step benchmark is a file of its own.
        value = config.prm_evaluation.model_dump(mode="json", include={"labels"})
    elif section == "evaluation":
        value = config.evaluation.model_dump(mode="json", exclude={"perplexity_questions"})
    elif section == "perplexity":
        value = config.evaluation.model_dump(mode="json", include={"perplexity_questions"})
    elif section == "pass_rates":
        value = config.grpo.model_dump(mode="json", include={"temperature", "max_tokens", "pass_rate_rollouts"})
    else:
        value = getattr(config, section).model_dump(mode="json")
    return _canonical(value)


def tables_of(config: "Config", part: str, evaluations: list[str], perplexities: Sequence[str] = ()) -> str:
    """What the tables of one part of the study are made of.

    Args:
        part: `main` for the run's own grid, or the name of an experiment.
        evaluations, perplexities: its rows' files, below the folder of the run.
    """
    axes = config.parts[part]
    lines = {name for variant in axes.variants for name in config.line(variant)}
    # A training that goes on from another one is compared with it, named or not. Of the comparisons that are named,
    # those that this part can make, so that its table depends on no other's.
    compare = {name: _starts(config, name, axes.methods) for name in axes.methods}
    for arm, others in axes.compare.items():
        known = compare.setdefault(arm, [])
        known += [other for other in others if _is_made(other, axes) and other not in known]
    tables = Tables(
        experiment=part,
        variants={MAIN: None} | {name: config.variants[name].base for name in config.variants if name in lines},
        recipes={name: config.recipe(name) for name in axes.methods},
        compare={arm: others for arm, others in compare.items() if others and _is_made(arm, axes)},
        evaluations=evaluations,
        perplexities=list(perplexities),
        perturbed={name: config.datasets[name].of for name in axes.benchmarks if config.datasets[name].perturb},
    )
    return _canonical(tables.model_dump(mode="json"))


def _starts(config: "Config", name: str, methods: list[str]) -> list[str]:
    """The methods at whose end a recipe's last training begins."""
    return [other for other in methods if config.recipe(other) == config.recipe(name)[:-1]]


def _is_made(arm: str, axes: "Experiment") -> bool:
    """Whether `METHOD` or `VARIANT/METHOD` is in a part of the study."""
    variant, _, method = arm.rpartition("/")
    return method in axes.methods and (not variant or variant in axes.variants)


def _canonical(value: dict[str, Any]) -> str:
    """JSON in which the order of keys in the YAML file does not show: it must not rerun anything."""
    return json.dumps(value, indent=2, sort_keys=True)
