"""All evaluation rows of a run as one table: tables/summary.csv, and a text of it for the terminal."""

import argparse
from pathlib import Path

from agentark.evaluation.summary import as_text, summary
from agentark.records.evaluations import EvaluationRow
from agentark.records.files import atomic_path, read_rows, write_text


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    args = parser.parse_args(argv)

    table = summary(row for path in args.evaluations for row in read_rows(path, EvaluationRow))
    with atomic_path(args.out) as partial:
        table.to_csv(partial, index=False, float_format="%.6g")
    write_text(args.text, as_text(table))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
