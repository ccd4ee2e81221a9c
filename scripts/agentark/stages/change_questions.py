"""Another dataset's held-out questions, changed where it does not matter."""

import argparse
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from agentark.config.datasets import Dataset
from agentark.errors import UserError
from agentark.provenance import manifests
from agentark.questions.perturbing import perturbed
from agentark.records.files import read_rows, write_rows
from agentark.records.questions import Question
from agentark.running import stage
from agentark.running.progress import say

PARTS = ("test", "validation")


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--dataset", required=True, help="name of the dataset in the config")
    parser.add_argument("--clean", type=Path, required=True, help="folder of the questions as they are")
    parser.add_argument("--out", type=Path, required=True, help="folder of the changed ones and their manifest")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, Dataset)
    counts = {"train": write_rows(args.out / "train.jsonl", ())}
    left_out: dict[str, int] = {}
    for part in PARTS:
        wanted = getattr(settings, part)
        rows = list(islice(read_rows(args.clean / f"{part}.jsonl", Question), wanted.size)) if wanted else []
        if wanted and len(rows) < (wanted.size or 1):
            raise UserError(
                f"datasets.{args.dataset}.{part}: {wanted.size or 'some'} questions asked for, and `{settings.of}` has "
                f"{len(rows)}; ask for fewer"
            )
        changed = [replace(row, dataset=args.dataset) for row in perturbed(rows, settings.perturb)]
        if rows and not changed:
            raise UserError(f"datasets.{args.dataset}.perturb: no question can be changed by `{settings.perturb}`")
        counts[part] = write_rows(args.out / f"{part}.jsonl", changed)
        left_out[part] = len(rows) - len(changed)
    manifests.write_manifest(
        args.out / "manifest.json",
        kind="questions",
        stage="change_questions",
        settings=settings.model_dump(mode="json", include={"of", "perturb", *PARTS}),
        parents=[args.clean / "manifest.json", *(args.clean / f"{part}.jsonl" for part in PARTS)],
        outputs=[args.out / f"{part}.jsonl" for part in counts],
        facts=counts | {"left_out": left_out},
    )
    told = (f"{counts[part]} {part} ({left_out[part]} cannot be changed so)" for part in PARTS)
    say(f"questions    {args.dataset}: {', '.join(told)}")


if __name__ == "__main__":
    raise SystemExit(main())
