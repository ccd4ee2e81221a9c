"""The part of the configuration that one artefact depends on, as it is frozen in `settings/`."""

import json
from typing import TYPE_CHECKING

from agentark.config.variants import MAIN

if TYPE_CHECKING:
    from agentark.config.study import Config


def frozen(config: "Config", name: str) -> str:
    """The settings of one file under `settings/`, and nothing else, so that nothing else reruns.

    Canonical JSON: the order of keys in the YAML file must not rerun anything either.

    Args:
        name: `sft`, `sets/da`, `models/NAME`, `teams/NAME`, `questions/NAME`, ...
    """
    section, _, key = name.partition("/")
    if section == "models":
        value = config.models[key].model_dump(mode="json")
    elif section == "teams":
        value = config.team(key).model_dump(mode="json")
    elif section == "questions":
        value = config.datasets[key].model_dump(mode="json")
    elif section == "sets":
        value = config.sets.slice_for(key).model_dump(mode="json")
    elif section == "prm":
        # The backbone is an input of its own: a model of the same name makes the same PRM for whoever uses it.
        value = config.prm.model_dump(mode="json", exclude={"model"})
    else:
        value = getattr(config, section).model_dump(mode="json")
    return json.dumps(value, indent=2, sort_keys=True)


def tables_of(config: "Config", part: str, evaluations: list[str]) -> str:
    """What the tables of one part of the study are made of.

    Args:
        part: `main` for the run's own grid, or the name of an experiment.
        evaluations: its rows' files, below the folder of the run.
    """
    axes = config.parts[part]
    used = [name for name in config.variants if any(name in config.line(variant) for variant in axes.variants)]
    named = [name.rpartition("/")[2] for arm, others in axes.compare.items() for name in (arm, *others)]
    value = {
        "experiment": part,
        "variants": {MAIN: None} | {name: config.variants[name].base for name in used},
        "recipes": {name: config.recipe(name) for name in dict.fromkeys([*axes.methods, *named])},
        "compare": axes.compare,
        "evaluations": evaluations,
    }
    return json.dumps(value, indent=2, sort_keys=True)
