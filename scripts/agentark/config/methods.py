"""`methods` and `recipes`: how a student is trained, by one training or by several after another."""

from typing import Literal, get_args

Control = Literal["answer_only", "single_cot", "rejection", "majority"]
Method = Literal["rsft", "da", "pad", "answer_only", "single_cot", "rejection", "majority"]
CONTROLS: tuple[str, ...] = get_args(Control)
METHODS: tuple[str, ...] = get_args(Method)
SUPERVISED = tuple(method for method in METHODS if method != "pad")
"""Trained on a set of their own name; PAD is trained on rollouts, against a process reward model."""


def joined(recipe: list[str]) -> str:
    """A recipe as it stands in paths and rows: `rsft-pad`; recipes with the same beginning share its folder."""
    return "-".join(recipe)
