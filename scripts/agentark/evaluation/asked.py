"""The model that an evaluation asks, as its stage is told: what every row says of it."""

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="model or team in the config that this is, or was trained from")
    parser.add_argument("--variant", default="main", help="whose settings it was made with")
    parser.add_argument("--recipe", help="its trainings, one after another, joined by `-`; without it, it is untrained")
    parser.add_argument("--teacher", help="whose debates it was trained on")
    parser.add_argument("--train-set", help="dataset it was trained on")
    parser.add_argument("--seed", type=int, required=True, help="training seed")


def who(args: argparse.Namespace) -> dict[str, Any]:
    """Those of its fields that rows of all kinds have."""
    of_training = {name: getattr(args, name) for name in ("variant", "recipe", "teacher", "train_set", "seed")}
    return {"model": args.name, **of_training}
