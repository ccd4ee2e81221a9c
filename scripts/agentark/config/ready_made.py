"""Ready-made datasets (`datasets.yaml`): what a study need not write down."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from agentark.config.messages import did_you_mean
from agentark.config.variants import merged

FILE = Path(__file__).with_name("datasets.yaml")
PARTS = ("train", "validation", "test")


def completed(datasets: Mapping[str, Any], named: Iterable[str]) -> dict[str, Any]:
    """The datasets of a study, as they were written, with those that are ready-made.

    An entry without a `source` has the keys of the ready-made dataset of its name where it gives none itself; a part
    that is a number is its size. Names that nothing knows are left to whoever looks for them.

    Args:
        named: all names that the study uses.

    Raises:
        ValueError: the dataset whose questions another one changes is none.
    """
    ready = entries()
    changed = {name: own["of"] for name, own in datasets.items() if isinstance(own, dict) and own.get("of")}
    asked = dict.fromkeys([*datasets, *named, *changed.values()])
    found = {name: _one(ready.get(name), datasets.get(name)) for name in asked if name in ready or name in datasets}
    for name, of in changed.items():
        if not isinstance(found.get(of), dict) or of in changed:
            raise ValueError(f"datasets.{name}.of: `{of}` is no dataset{did_you_mean(of, [*datasets, *ready])}")
        found[name] = found[of] | {"train": None} | datasets[name]
    return found


def entries() -> dict[str, Any]:
    """What `datasets.yaml` holds, by name."""
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def _one(ready: dict[str, Any] | None, own: Any) -> Any:
    if own is None:
        return ready
    if ready is None or not isinstance(own, dict) or "source" in own:
        return own
    sized = {part: {"size": own[part]} for part in PARTS if isinstance(own.get(part), int)}
    return merged(ready, own | sized)
