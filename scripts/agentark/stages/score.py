"""Score held-out steps by a reward model: a teacher's debates on the benchmarks, errors planted in them, and step
benchmarks."""

import argparse
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from agentark.config.prm_evaluation import PrmEvaluation
from agentark.evaluation import held_out
from agentark.provenance import manifests
from agentark.records.files import read_rows, write_rows
from agentark.records.row import content_id
from agentark.records.rowlog import RowLog
from agentark.records.scores import ScoredTrace, StepLikelihoods
from agentark.running import stage
from agentark.running.progress import say
from agentark.training.encoding import encode
from agentark.training.prm import load_prm
from agentark.training.prm_scoring import score_encoded, windows
from agentark.training.rewards import AGGREGATES, aggregate


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--prm", type=Path, required=True, help="manifest of the reward model")
    parser.add_argument("--likelihoods", type=Path, required=True, help="of the same steps under the untrained model")
    parser.add_argument("--debates", nargs="*", default=[], help="BENCHMARK=PATH of the teacher's debates")
    parser.add_argument("--steps", nargs="*", default=[], help="BENCHMARK=PATH of step benchmarks")
    parser.add_argument("--variant", default="main", help="whose settings it was made with")
    parser.add_argument("--teacher", required=True, help="whose debates it was trained on")
    parser.add_argument("--train-set", required=True, help="dataset it was trained on")
    parser.add_argument("--backbone", required=True, help="name of the model that it started from")
    parser.add_argument("--seed", type=int, required=True, help="training seed")
    parser.add_argument("--shard", default="0/1", help="I/N: every Nth question, from the Ith on")
    parser.add_argument("--work", type=Path, required=True, help="where scores are kept until all are there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    return stage.run(work, parser.parse_args(argv))


def work(args: argparse.Namespace) -> None:
    settings = stage.settings(args.config, PrmEvaluation)
    debates, steps = held_out.places(args.debates), held_out.places(args.steps)
    parents = [args.prm, args.likelihoods, *(path for _, path in [*debates, *steps])]
    max_length = manifests.read_manifest(args.prm)["settings"]["max_length"]
    model, tokenizer = load_prm(manifests.model_folder(args.prm))
    likelihoods = {(row.benchmark, row.trace_id): row for row in read_rows(args.likelihoods, StepLikelihoods)}
    who = {"variant": args.variant, "teacher": args.teacher, "train_set": args.train_set}
    who |= {"model": args.backbone, "seed": args.seed}
    identity = content_id(manifests.code_digest("score"), settings.model_dump(mode="json"), args.shard)
    identity = content_id(identity, who, *map(manifests.file_sha256, parents))
    log = RowLog(args.work / f"{identity}.jsonl", ScoredTrace)

    def score(items: list[held_out.Item]) -> Iterator[ScoredTrace]:
        encoded = [encode(tokenizer, item.asked, item.text, item.steps) for item in items]
        scores = score_encoded(model, encoded, max_length)
        for item, trace, of_steps in zip(items, encoded, scores, strict=True):
            written = likelihoods[item.benchmark, item.asked.trace_id].log_probabilities
            yield ScoredTrace(
                **who,
                benchmark=item.benchmark,
                source=item.source,
                trace_id=item.asked.trace_id,
                question_id=item.asked.question_id,
                planted=item.planted,
                answer=item.answer,
                correct=item.correct,
                right=[label == 1 for label in item.labels],
                lengths=[end - start for start, end in item.steps],
                scores=of_steps,
                log_probabilities=written if item.planted is None else [],
                rewards={how: aggregate(of_steps, how) for how in AGGREGATES},
                n_windows=len(windows(trace, max_length)),
            )

    held_out.score_each(lambda: held_out.questions(debates, steps, settings, args.shard), score, log)
    facts = Counter(traces=0, steps=0, traces_in_windows=0, traces_without_steps=0)

    def counted() -> Iterator[ScoredTrace]:
        for row in log.rows():
            facts["traces"] += 1
            facts["steps"] += len(row.scores)
            facts["traces_in_windows"] += row.n_windows > 1
            facts["traces_without_steps"] += not row.scores
            yield row

    write_rows(args.out, counted())
    log.close()
    manifests.write_manifest(
        args.manifest,
        kind="scores",
        stage="score",
        settings=settings.model_dump(mode="json"),
        parents=parents,
        outputs=[args.out],
        seed=args.seed,
        facts=dict(facts),
    )
    shutil.rmtree(args.work, ignore_errors=True)
    say(f"scoring      {facts['steps']} steps of {facts['traces']} traces, {facts['traces_in_windows']} in windows")


if __name__ == "__main__":
    raise SystemExit(main())
