"""How the policies were trained: a line each, the curves of all, a figure, and what they said over time, on a page."""

import argparse
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment

from agentark.evaluation.learning_curves import WHOSE, plotted, title, whose
from agentark.records.files import write_csv, write_svg, write_text

CURVES = {
    "reward": "reward",
    "rewards/process/mean": "process_reward",
    "rewards/verifiable/mean": "right_rollouts",
    "rewards/format/mean": "format_reward",
    "rewards/overlong/mean": "overlong_reward",
    "kl": "kl",
    "entropy": "entropy",
    "completions/mean_length": "tokens",
    "groups/without_variance": "zero_variance",
    "groups/replaced": "replaced_groups",
    "clip_ratio/region_mean": "clipped",
    "seconds/generation": "generation_s",
    "seconds/scoring": "scoring_s",
    "step_time": "update_s",
}
"""What TRL logs, and what it is called in `pad_curves.csv`."""
PANELS = {
    "validation_accuracy": "validation: right answers, %",
    "right_rollouts": "rollouts: right answers, %",
    "process_reward": "process reward",
    "kl": "KL to the start policy, nats a token",
    "entropy": "entropy, nats a token",
    "tokens": "tokens of a completion",
}
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>What policies said over time</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
h2 { margin-top: 2.5rem }
table { border-collapse: collapse; width: 100% }
td { border-top: 1px solid #ddd; padding: .3rem .6rem; vertical-align: top }
td { white-space: pre-wrap; overflow-wrap: anywhere }
.step { color: #666; width: 6rem } .right { border-left: 3px solid #2ca02c } .wrong { border-left: 3px solid #d62728 }
</style>
<h1>What policies said over time</h1>
<p>The same validation questions at every validation; a green line marks a right answer, a red one a wrong one.</p>
{% for title, questions in policies %}<h2>{{ title }}</h2>
{% for question, samples in questions %}<h3>{{ question }}</h3>
<table>{% for sample in samples %}
<tr><td class="step">update {{ sample.step }}</td>
<td class="{{ 'right' if sample.correct else 'wrong' }}">{{ sample.text }}</td></tr>{% endfor %}
</table>
{% endfor %}{% endfor %}
</html>
"""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--students", type=Path, nargs="+", required=True, help="manifests of policies")
    parser.add_argument("--out", type=Path, required=True, help="CSV, a line a policy")
    parser.add_argument("--curves", type=Path, required=True, help="CSV, a line an update")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--figure", type=Path, required=True, help="SVG")
    parser.add_argument("--samples", type=Path, required=True, help="HTML")
    work(parser.parse_args(argv))
    return 0


def work(args: argparse.Namespace) -> None:
    curves = pd.concat([curves_of(path) for path in args.students], ignore_index=True)
    table = pd.DataFrame([line(path, curves) for path in args.students])
    write_csv(args.out, table)
    write_csv(args.curves, curves)
    write_text(args.text, as_text(table))
    write_svg(args.figure, plotted(curves, PANELS))
    page = Environment(autoescape=True).from_string(PAGE)
    write_text(args.samples, page.render(policies=[(title(whose(path)), questions(path)) for path in args.students]))


def curves_of(path: Path) -> pd.DataFrame:
    """A row for every update of a policy, with its validations; that before the first update is row 0."""
    rows = pd.DataFrame({"step": pd.Series(dtype=int)})
    logged = pd.read_csv(path.with_name("metrics.csv")).rename(columns=CURVES)
    rows = rows.merge(logged[["step", *(name for name in CURVES.values() if name in logged)]], how="outer", on="step")
    if path.with_name("validation.csv").exists():
        seen = pd.read_csv(path.with_name("validation.csv"))
        seen = seen.rename(columns={"correct": "validation_accuracy", "process": "validation_process_reward"})
        rows = rows.merge(seen[["step", "validation_accuracy", "validation_process_reward"]], how="outer", on="step")
    return rows.assign(**whose(path))[[*WHOSE, *rows.columns]]


def line(path: Path, curves: pd.DataFrame) -> dict[str, Any]:
    about = whose(path)
    manifest = json.loads(path.read_text(encoding="utf-8"))
    facts, settings = manifest["facts"], manifest["settings"]
    own = curves[(curves[WHOSE] == pd.Series(about)).all(axis=1)]
    spent = own[["update_s", "generation_s", "scoring_s"]].sum()
    n_rollouts = settings["prompts_per_step"] * settings["group_size"]
    validated = facts.get("validation_accuracy", {})
    return {
        **about,
        "algorithm": settings["algorithm"],
        "updates": facts["updates"],
        "stopped": facts.get("stopped"),
        "policy_of_update": facts.get("policy_of_update", facts["updates"]),
        "validation_first": validated.get("first"),
        "validation_last": validated.get("last"),
        "validation_kept": validated.get("kept"),
        **{
            f"{name}_{when}": facts.get(name, {}).get(when)
            for name in ("process_reward", "correct_rate", "kl", "completion_tokens", "zero_variance_rate")
            for when in ("first", "last")
        },
        "tokens_per_s": n_rollouts * own["tokens"].sum() / spent["update_s"],
        "generation_share": spent["generation_s"] / spent["update_s"],
        "scoring_share": spent["scoring_s"] / spent["update_s"],
    }


def as_text(table: pd.DataFrame) -> str:
    """For the terminal: what a policy was and became, and where its time went."""
    lines = [
        f"{'policy':<70} {'updates':>7} {'validation':>15} {'process reward':>16} {'right':>13} {'KL':>7}  "
        "generation, scoring, update"
    ]
    for row in table.to_dict("records"):
        rest = 1 - row["generation_share"] - row["scoring_share"]
        kl = "-" if pd.isna(row["kl_last"]) else f"{row['kl_last']:.4f}"
        lines.append(
            f"{title(row):<70} {row['updates']:>7} {arrow(row, 'validation_first', 'validation_kept', '.1%'):>15} "
            f"{arrow(row, 'process_reward_first', 'process_reward_last', '.2f'):>16} "
            f"{arrow(row, 'correct_rate_first', 'correct_rate_last', '.0%'):>13} {kl:>7}  "
            f"{row['generation_share']:.0%}, {row['scoring_share']:.0%}, {rest:.0%}"
        )
        if not pd.isna(row["stopped"]):
            lines.append(f"  stopped, and back to update {row['policy_of_update']}: {row['stopped']}")
    return "\n".join([*lines, "first > last; validation: what the student has"]) + "\n"


def arrow(row: dict[str, Any], first: str, last: str, form: str) -> str:
    return "-" if pd.isna(row[first]) else f"{row[first]:{form}} > {row[last]:{form}}"


def questions(path: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each sampled question with its completions, in the order of the updates."""
    samples = path.with_name("samples.json")
    if not samples.exists():
        return
    rows = sorted(json.loads(samples.read_text(encoding="utf-8")), key=lambda row: (row["question_id"], row["step"]))
    for _, group in groupby(rows, key=lambda row: row["question_id"]):
        samples = list(group)
        yield samples[0]["question"], samples


if __name__ == "__main__":
    raise SystemExit(main())
