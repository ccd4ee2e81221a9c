"""Runs topics, prints a table as it grows and writes results/bench/<topic>.csv."""

import csv
import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent
TOPICS = sorted(path.stem for path in HERE.glob("[a-z]*.py"))
OUT = HERE.parents[1] / "results" / "bench"


def main(topic: str) -> int:
    if topic != "all" and topic not in TOPICS:
        print(f"error: no topic {topic}; TOPIC is one of {', '.join(TOPICS)}, or all", file=sys.stderr)
        return 1
    for name in TOPICS if topic == "all" else [topic]:
        run(name)
    return 0


def run(topic: str) -> None:
    module = importlib.import_module(f"tests.benchmarks.{topic}")
    print(f"{topic}: {(module.__doc__ or '').strip().splitlines()[0]}")
    print(f"{'name':<34} {'ours':>10} {'reference':>10} {'ratio':>7}  unit", flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / f"{topic}.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["name", "ours", "reference", "ratio", "unit", "note"])
        for row in module.rows():
            print(f"{row.name:<34} {row.ours:>10.2f} {row.reference:>10.2f} {row.ratio:>7.2f}  {row.unit}  {row.note}")
            writer.writerow(
                [row.name, f"{row.ours:.4g}", f"{row.reference:.4g}", f"{row.ratio:.4g}", row.unit, row.note]
            )
            handle.flush()
            sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2] or ["all"]))
