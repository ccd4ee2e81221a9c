"""Learning curves of students: whose they are, by their paths, and a figure of several measures by update."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import pandas as pd

from agentark.config.variants import MAIN, variant_of

WHOSE = ["variant", "recipe", "teacher", "train_set", "student", "seed"]


def whose(path: Path) -> dict[str, Any]:
    """The path says it: `[variants/NAME/]students/RECIPE/TEACHER/TRAIN_SET/STUDENT/SEED/manifest.json`."""
    return dict(zip(WHOSE, [variant_of(path), *path.parts[-6:-1]], strict=True))


def title(about: dict[str, Any]) -> str:
    variant = "" if about["variant"] == MAIN else f"{about['variant']}/"
    arm = f"{variant}{about['recipe']} {about['student']}, {about['teacher']} on {about['train_set']}"
    return f"{arm}, seed {about['seed']}" if "seed" in about else arm


def plotted(curves: pd.DataFrame, panels: dict[str, str]) -> plt.Figure:
    """A panel a measure; students of one arm in one colour, a line a seed.

    Args:
        curves: a row an update of a student: `WHOSE`, `step` and the measures.
        panels: measures and what they are called, an even number; those called `... %` are shares.
    """
    figure, axes = plt.subplots(2, len(panels) // 2, figsize=(2 * len(panels), 5.6), layout="constrained")
    arms = list(curves.groupby(WHOSE[:-1], sort=False))
    for axis, (name, label) in zip(axes.flat, panels.items(), strict=True):
        axis.set_title(label, size=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
        if name not in curves:
            axis.set_axis_off()
            axis.text(0, 0.9, "not measured", size=8, color="#8c8c8c")
            continue
        for number, (about, arm) in enumerate(arms):
            for place, (_, one) in enumerate(arm.groupby("seed")):
                seen = one[["step", name]].dropna()
                scale = 100 if label.endswith("%") else 1
                shown = title(dict(zip(WHOSE, about, strict=False))) if place == 0 else None
                axis.plot(seen["step"], scale * seen[name], color=f"C{number % 10}", lw=1.2, label=shown)
    for axis in axes[-1]:
        axis.set_xlabel("updates", size=8)
    drawn = next(axis for axis in axes.flat if axis.lines)
    drawn.legend(fontsize=7, frameon=False)
    return figure
