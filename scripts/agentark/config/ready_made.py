"""Ready-made datasets (`datasets.yaml`): what a study need not write down."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from agentark.config.messages import did_you_mean
from agentark.config.variants import merged

FILE = Path(__file__).with_name("datasets.yaml")
PARTS = ("train", "validation", "test")


CHANGED_KEYS = {"of", "perturb", "test", "validation"}


def completed(datasets: Mapping[str, Any], named: Iterable[str]) -> dict[str, Any]:
    """The datasets of a study, as they were written, with those that are ready-made and those that change another one.

    An entry without a `source` has the keys of the ready-made dataset of its name where it gives none itself; one with
    `of` those of that dataset, but no train part. A part that is a number is its size. Names that nothing knows are
    left to whoever looks for them.

    Args:
        named: all names that the study uses.

    Raises:
        ValueError: the dataset whose questions another one changes is none, or that one says more than how.
    """
    ready = entries()
    changed = {name: own for name, own in datasets.items() if isinstance(own, dict) and isinstance(own.get("of"), str)}
    asked = dict.fromkeys([*datasets, *named, *(own["of"] for own in changed.values())])
    found = {name: _one(ready.get(name), datasets.get(name)) for name in asked if name in ready or name in datasets}
    for name, own in changed.items():
        of = own["of"]
        if not isinstance(found.get(of), dict) or of in changed:
            raise ValueError(f"datasets.{name}.of: `{of}` is no dataset{did_you_mean(of, [*datasets, *ready])}")
        if more := own.keys() - CHANGED_KEYS:
            raise ValueError(
                f"datasets.{name}.{min(more)}: changed questions are those of `{of}`: only `perturb` and the sizes of "
                "`test` and `validation` can be given"
            )
        found[name] = merged(_sized(found[of]), _sized(own)) | {"train": None}
    return found


@cache
def entries() -> dict[str, Any]:
    """What `datasets.yaml` holds, by name."""
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def _one(ready: dict[str, Any] | None, own: Any) -> Any:
    if own is None:
        return ready
    if ready is None or not isinstance(own, dict) or "source" in own:
        return own
    return merged(ready, _sized(own))


def _sized(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {part: {"size": entry[part]} for part in PARTS if isinstance(entry.get(part), int)}
