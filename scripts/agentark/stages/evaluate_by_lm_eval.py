"""Score one model by tasks of lm-evaluation-harness: its prompts, its metrics; one row a question and task."""

import argparse
from pathlib import Path

from agentark.config.engine import Engine
from agentark.config.lm_eval import LmEval
from agentark.engines import local_models
from agentark.errors import UserError
from agentark.evaluation import asked
from agentark.evaluation.harness import rows_of_task
from agentark.evaluation.scoring import method_of
from agentark.provenance import manifests
from agentark.records.files import write_rows
from agentark.running import stage
from agentark.running.progress import say


def main(argv: list[str] | None = None) -> int:
    parser = stage.parser(__doc__)
    parser.add_argument("--engine", type=Path, required=True, help="frozen engine settings, JSON")
    parser.add_argument("--model", type=Path, required=True, help="manifest of the model")
    asked.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="written last")
    # Tasks read their questions from the Hub.
    return stage.run(work, parser.parse_args(argv), online=True)


def work(args: argparse.Namespace) -> None:
    # Here: they take seconds to import, and register hundreds of tasks.
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    settings, engine = stage.settings(args.config, LmEval), stage.settings(args.engine, Engine)
    known = TaskManager(include_path=settings.folder)
    if unknown := [name for name in settings.tasks if name not in known.all_tasks]:
        raise UserError(
            f"lm_eval.tasks: `{unknown[0]}` is none of lm-evaluation-harness, nor in lm_eval.folder; `lm_eval ls "
            "tasks` lists them"
        )
    folder = manifests.model_folder(args.model)
    model = local_models.open_model(folder, local_models.faster_dtype()).to(local_models.device())
    harness = HFLM(
        pretrained=model,
        tokenizer=local_models.open_tokenizer(folder),
        batch_size=settings.batch_size,
        max_length=min(engine.max_model_len, model.config.get_text_config().max_position_embeddings),
    )
    found = simple_evaluate(
        harness,
        tasks=settings.tasks,
        task_manager=known,
        limit=settings.limit,
        num_fewshot=settings.shots,
        apply_chat_template=settings.chat_template,
        bootstrap_iters=0,
    )
    who = asked.who(args) | {"method": method_of(args.recipe)}
    rows = [row for task, samples in found["samples"].items() for row in rows_of_task(task, samples, **who)]
    write_rows(args.out, rows)
    manifests.write_manifest(
        args.manifest,
        kind="evaluation",
        stage="evaluate_by_lm_eval",
        settings={"lm_eval": settings.model_dump(mode="json"), "engine": engine.model_dump(mode="json")},
        parents=[args.model],
        outputs=[args.out],
        seed=args.seed,
        facts={"versions": found["versions"], "results": _plain(found["results"])},
    )
    say(f"evaluation   {args.recipe or 'base'} {args.name}: {len(rows)} questions of {', '.join(found['samples'])}")


def _plain(results: dict[str, dict[str, object]]) -> dict[str, dict[str, float]]:
    """The harness's own figures of all questions together, by task and `metric,filter`."""
    return {
        task: {name: value for name, value in of_task.items() if isinstance(value, (int, float))}
        for task, of_task in results.items()
    }


if __name__ == "__main__":
    raise SystemExit(main())
