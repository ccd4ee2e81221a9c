"""One table of how far verifier and rules agree, a row for each teacher and dataset: its shards together."""

import argparse
import json
from collections import Counter
from pathlib import Path

import pandas as pd

from agentark.config.variants import variant_of
from agentark.grading.verifier import Agreement
from agentark.records.files import write_csv


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--verdicts", type=Path, nargs="+", required=True, help="the counts of every shard")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)

    found: dict[tuple[str, str, str], Counter[str]] = {}
    for path in args.verdicts:
        # [variants/NAME/]verdicts/TEACHER/DATASET/SHARD.counts.json
        whose = variant_of(path), *path.parts[-3:-1]
        found.setdefault(whose, Counter()).update(json.loads(path.read_text(encoding="utf-8")))
    write_csv(args.out, pd.DataFrame([row(*who, counts) for who, counts in found.items()]))
    return 0


def row(variant: str, teacher: str, dataset: str, n: Counter[str]) -> dict[str, str | float | None]:
    agreement = Agreement(n["audited"], n["both_right"], n["both_wrong"], n["false_accepts"], n["false_rejects"])
    return {
        "variant": variant,
        "teacher": teacher,
        "dataset": dataset,
        **n,
        "undecided_share": n["undecided_by_both"] / n["answers"] if n["answers"] else None,
        "kappa": agreement.kappa,
    }


if __name__ == "__main__":
    raise SystemExit(main())
