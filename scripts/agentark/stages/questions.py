"""Questions of one dataset, as train, validation and test parts that share no question."""

import argparse
from pathlib import Path

from agentark.config.datasets import Dataset
from agentark.provenance import manifests
from agentark.questions import datasets
from agentark.records.files import write_rows
from agentark.records.quarantine import Quarantine
from agentark.running import stage
from agentark.running.progress import say


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--dataset", required=True, help="name of the dataset in the config")
    parser.add_argument("--logs", type=Path, nargs="*", default=[], help="debate logs, for `source: debate-logs`")
    parser.add_argument("--out", type=Path, required=True, help="folder of the three parts and their manifest")
    parser.add_argument("--rejected", type=Path, required=True, help="rows that are no questions, and why")
    return stage.run(work, parser.parse_args(argv), online=True)


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Dataset)
    rejected = Quarantine("rows", settings.rejected_share, f"datasets.{args.dataset}.rejected_share")
    parts = datasets.questions(args.dataset, settings, rejected, args.logs)
    rejected.judge(args.rejected)
    counts = {part: write_rows(args.out / f"{part}.jsonl", rows) for part, rows in parts.items()}
    manifests.write_manifest(
        args.out / "manifest.json",
        kind="questions",
        stage="questions",
        settings=settings.model_dump(mode="json"),
        parents=[],
        outputs=[args.out / f"{part}.jsonl" for part in parts],
        facts=counts | {"rejected": rejected.reasons()},
    )
    say(f"questions    {args.dataset}: " + ", ".join(f"{count} {part}" for part, count in counts.items()))
    if len(rejected):
        say(f"questions    {rejected}")


if __name__ == "__main__":
    raise SystemExit(main())
