"""How likely held-out steps are under an untrained model, one of the judges that reward models are measured against."""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from agentark.config.prm_evaluation import PrmEvaluation
from agentark.engines import local_models
from agentark.evaluation import held_out
from agentark.provenance import manifests
from agentark.records.files import write_rows
from agentark.records.row import content_id
from agentark.records.rowlog import RowLog
from agentark.records.scores import StepLikelihoods
from agentark.running import stage
from agentark.running.progress import say
from agentark.training import packing
from agentark.training.encoding import encode
from agentark.training.prm_scoring import log_probabilities


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="manifest of the untrained model")
    parser.add_argument("--debates", nargs="*", default=[], help="BENCHMARK=PATH of a teacher's debates")
    parser.add_argument("--steps", nargs="*", default=[], help="BENCHMARK=PATH of step benchmarks")
    parser.add_argument("--shard", default="0/1", help="I/N: every Nth question, from the Ith on")
    parser.add_argument("--work", type=Path, required=True, help="where rows are kept until all are there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, PrmEvaluation)
    debates, steps = held_out.places(args.debates), held_out.places(args.steps)
    parents = [args.model, *(path for _, path in [*debates, *steps])]
    folder = manifests.model_folder(args.model)
    tokenizer = local_models.open_tokenizer(folder)
    model = local_models.open_model(folder, local_models.faster_dtype()).to(local_models.device())
    packing.prepare(model)
    identity = content_id(manifests.code_digest("score_untrained"), settings.model_dump(mode="json"), args.shard)
    identity = content_id(identity, *map(manifests.file_sha256, parents))
    log = RowLog(args.work / f"{identity}.jsonl", StepLikelihoods)

    def questions() -> Iterator[list[held_out.Item]]:
        for items in held_out.questions(debates, steps, settings, args.shard):
            # Of planted errors nobody asks how likely they are.
            yield [item for item in items if item.planted is None]

    def score(items: list[held_out.Item]) -> Iterator[StepLikelihoods]:
        encoded = [encode(tokenizer, item.asked, item.text, item.steps) for item in items]
        found = log_probabilities(model, encoded)
        for item, values in zip(items, found, strict=True):
            yield StepLikelihoods(benchmark=item.benchmark, trace_id=item.asked.trace_id, log_probabilities=values)

    held_out.score_each(questions, score, log)
    n_traces = write_rows(args.out, log.rows())
    log.close()
    manifests.write_manifest(
        args.manifest,
        kind="likelihoods",
        stage="score_untrained",
        settings=settings.model_dump(mode="json"),
        parents=parents,
        outputs=[args.out],
        facts={"traces": n_traces},
    )
    shutil.rmtree(args.work, ignore_errors=True)
    say(f"scoring      {n_traces} traces by the untrained model")


if __name__ == "__main__":
    raise SystemExit(main())
