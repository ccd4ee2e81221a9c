"""How students were trained by R-SFT, DA and controls, and on how much: a line each, the curves of all, a figure."""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from agentark.evaluation.learning_curves import WHOSE, plotted, whose
from agentark.records.files import write_csv, write_svg

CURVES = ["loss", "nll_reasoning", "nll_answer", "learning_rate", "grad_norm", "tokens_read", "seconds"]
PANELS = {
    "nll_reasoning": "reasoning: negative log-likelihood, nats a token",
    "nll_answer": "answer: negative log-likelihood, nats a token",
    "learning_rate": "learning rate",
    "grad_norm": "norm of the gradient",
    "loss": "loss",
    "validation_accuracy": "validation: right answers, %",
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--students", type=Path, nargs="+", required=True, help="their manifests")
    parser.add_argument("--out", type=Path, required=True, help="CSV, a line a student")
    parser.add_argument("--curves", type=Path, required=True, help="CSV, a line an update")
    parser.add_argument("--figure", type=Path, required=True, help="SVG")
    work(parser.parse_args(argv))
    return 0


def work(args: argparse.Namespace) -> None:
    curves = pd.concat([curves_of(path) for path in args.students], ignore_index=True)
    write_csv(args.out, pd.DataFrame([line(path, curves) for path in args.students]))
    write_csv(args.curves, curves)
    write_svg(args.figure, plotted(curves, PANELS))


def curves_of(path: Path) -> pd.DataFrame:
    """A row for every update, with its validation; that before the first update is row 0."""
    rows = pd.read_csv(path.with_name("metrics.csv")).reindex(columns=["step", *CURVES])
    seen = pd.read_csv(path.with_name("validation.csv"))
    if len(seen):
        rows = rows.merge(seen, how="outer", on="step")
    return rows.assign(**whose(path))[[*WHOSE, *rows.columns]]


def line(path: Path, curves: pd.DataFrame) -> dict[str, Any]:
    about = whose(path)
    manifest = json.loads(path.read_text(encoding="utf-8"))
    facts = manifest["facts"]
    own = curves[(curves[WHOSE] == pd.Series(about)).all(axis=1)]
    validated = "validation_accuracy" in own and own["validation_accuracy"].notna().any()
    return {
        **about,
        # What it has in common with the students that it is compared with.
        "budget": next((key for key in ("examples", "loss_tokens") if manifest["settings"][key]), "passes"),
        "questions": facts["questions"],
        "rows": facts["used"],
        "rows_too_long": facts["too_long"],
        "updates": facts["updates"],
        "examples": facts["examples_trained"],
        "loss_tokens": facts["loss_tokens"],
        "loss_tokens_of_other_teachers": facts["loss_tokens_of_other_teachers"],
        "passes": facts["examples_trained"] / facts["used"],
        **{
            f"{name}_{when}": facts.get(name, {}).get(when)
            for name in ("nll_reasoning", "nll_answer")
            for when in ("first", "last")
        },
        "validation_first": own["validation_accuracy"].dropna().iloc[0] if validated else None,
        "validation_last": own["validation_accuracy"].dropna().iloc[-1] if validated else None,
        "tokens_per_s": own["tokens_read"].sum() / own["seconds"].sum(),
        "seconds": own["seconds"].sum(),
    }


if __name__ == "__main__":
    raise SystemExit(main())
