"""The `agentark` command: watch a run, print its tables and debates, check its files, write the config's pages."""

import argparse
import inspect
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic.fields import FieldInfo

from agentark.config import study
from agentark.config.datasets import Dataset, SplitSource
from agentark.config.debates import Debates
from agentark.config.engine import Engine
from agentark.config.evaluation import Evaluation
from agentark.config.experiments import Experiment
from agentark.config.grpo import Grpo, Guards
from agentark.config.hardware import Hardware, Size
from agentark.config.lm_eval import LmEval
from agentark.config.models import Member, Model, Server, Taught
from agentark.config.prm import Prm, PrmStage
from agentark.config.section import Section
from agentark.config.sets import Sets
from agentark.config.sft import Sft
from agentark.config.traces import Traces
from agentark.config.variants import FOLDER, Variant
from agentark.debates import protocols
from agentark.errors import UserError
from agentark.provenance import crate, lineage, snakemake_records
from agentark.records.debates import Debate
from agentark.records.files import read_rows, write_text
from agentark.running import status
from agentark.traces.transcripts import as_text, one_line

GENERATED = "<!-- made by `make docs` from the typed config; do not edit below -->\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agentark", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    tables = commands.add_parser("summary", help="print the tables of a run")
    tables.add_argument("results", type=Path, help="folder of the run, for example results/demo")
    show = commands.add_parser("show-debate", help="print one debate")
    show.add_argument("results", type=Path, help="folder of the run, for example results/demo")
    show.add_argument("question_id", nargs="?", help="its id, or how it begins; none = list the debates")
    show.add_argument("--prompts", action="store_true", help="show what each agent read as well")
    watch = commands.add_parser("status", help="print what runs, waits and failed, and the hours of each stage")
    watch.add_argument("results", type=Path, help="folder of the run, for example results/demo")
    verify = commands.add_parser("verify", help="hash all files of a run again, and name what is not as it was made")
    verify.add_argument("results", type=Path, help="folder of the run, for example results/demo")
    adopt = commands.add_parser("adopt", help="have files without Snakemake's record planned again, or accepted")
    adopt.add_argument("results", type=Path, help="folder of the run, as Snakemake sees it: results/demo")
    line = commands.add_parser("lineage", help="print what a file was made from, down to the questions")
    line.add_argument("artefact", type=Path, help="a manifest, or a file that one names")
    export = commands.add_parser("crate", help="describe a run as an RO-Crate: write its ro-crate-metadata.json")
    export.add_argument("results", type=Path, help="folder of the run, for example results/demo")
    export.add_argument("--licence", help="of the whole run; without it those of its questions are named")
    docs = commands.add_parser("docs", help="write the config's schema, and the pages of its keys and of the tables")
    docs.add_argument("--root", type=Path, default=Path(), help="the checkout")
    args = parser.parse_args(argv)

    try:
        if args.command == "summary":
            print_tables(args.results)
        elif args.command == "show-debate":
            show_debates(args.results, args.question_id, args.prompts)
        elif args.command == "status":
            print(*status.report(args.results), sep="\n")
        elif args.command == "verify":
            return verify_run(args.results)
        elif args.command == "adopt":
            return adopt_run(args.results)
        elif args.command == "lineage":
            print("\n".join(lineage.chain(args.artefact)))
        elif args.command == "crate":
            print(crate.write(args.results, args.licence))
        else:
            write_docs(args.root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader, `head` for example, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def print_tables(results: Path) -> None:
    table = results / "tables" / "summary.txt"
    if not table.is_file():
        raise UserError(f"{table}: not there; run the pipeline first, it is one of its last files")
    for path in (results / "tables" / "debates.txt", table):
        if path.is_file():
            print(path.read_text(encoding="utf-8"))


def show_debates(results: Path, question_id: str | None, prompts: bool) -> None:
    """Print every debate about a question, or one line for each debate of the run."""
    held = ("debates/*/*/*.jsonl.zst", "evaluations/base/*/*.debates.jsonl.zst")
    folders = (results, *sorted(results.glob(f"{FOLDER}/*")))
    files = [path for folder in folders for pattern in held for path in sorted(folder.glob(pattern))]
    if not files:
        raise UserError(f"{results}: no debates there; give the folder of a run that has held some")
    n_found = 0
    for path in files:
        for debate in read_rows(path, Debate):
            if question_id is None:
                print(one_line(debate))
            elif debate.question.question_id.startswith(question_id):
                n_found += 1
                print(as_text(debate, colour=sys.stdout.isatty(), prompts=prompts))
    if question_id is not None and not n_found:
        raise UserError(f"{question_id}: no debate about this question in {results}; without an id all are listed")


def verify_run(results: Path) -> int:
    """Print every broken link, the first one to mend on top; 1 if there is any."""
    broken = list(lineage.broken_links(results))
    for sentence in broken:
        print(sentence)
    n_artefacts = len(lineage.artefacts(results))
    print(f"{n_artefacts} artefacts, " + (f"{len(broken)} broken links" if broken else "all files as they were made"))
    return int(bool(broken))


def adopt_run(results: Path) -> int:
    """Let Snakemake plan a run's files without records again, and say whether they may be accepted instead."""
    if not results.is_dir() or results.resolve() != (snakemake_records.RESULTS / results.name).resolve():
        raise UserError(f"{results}: no run of this folder; give results/RUN, where you call snakemake")
    snakemake_records.keep_with_results()
    files = snakemake_records.unknown(results.name)
    snakemake_records.distrust(files)
    print(f"{len(files)} files had no record of what they were made from; snakemake now plans all of them again")
    broken = verify_run(results)
    if files and not broken:
        print("if this config and code made them, `snakemake --touch` accepts all that `snakemake -n` lists now")
    return broken


def write_docs(root: Path) -> None:
    """The files that are made from the code: the config's schema, and the tables of keys."""
    write_text(root / "workflow" / "schemas" / "config.schema.json", schema())
    made = {"config/README.md": key_tables(), "docs/protocols.md": protocol_tables(), "docs/tables.md": column_tables()}
    for name, tables in made.items():
        by_hand = (root / name).read_text(encoding="utf-8").partition(GENERATED)[0]
        write_text(root / name, by_hand + GENERATED + tables)


def schema() -> str:
    """JSON schema of the config, for editors."""
    return json.dumps(study.Config.model_json_schema(), indent=2) + "\n"


def key_tables() -> str:
    """One Markdown table a section: key, default, meaning."""
    tables: list[tuple[str, type[Section]]] = [
        ("top level", study.Config),
        ("models.NAME", Model),
        ("models.NAME.server", Server),
        ("models.NAME.student", Taught),
        ("teams.NAME, a list of", Member),
        ("datasets.NAME", Dataset),
        ("datasets.NAME.train, validation, test", SplitSource),
        ("engine", Engine),
        ("debates", Debates),
        ("traces", Traces),
        ("sets", Sets),
        ("sft", Sft),
        ("prm", Prm),
        ("prm.stage1, prm.stage2", PrmStage),
        ("grpo", Grpo),
        ("grpo.guards", Guards),
        ("evaluation", Evaluation),
        ("lm_eval", LmEval),
        ("variants.NAME", Variant),
        ("experiments.NAME", Experiment),
        ("hardware", Hardware),
        ("hardware.sizes, a list of", Size),
    ]
    return "".join(_table(title, section) for title, section in tables)


def protocol_tables() -> str:
    """One section a protocol: where it comes from, and its settings."""
    parts = []
    for name in protocols.NAMES:
        module = inspect.getmodule(protocols.find(name))
        parts.append(f"\n### {name}\n\n{inspect.getdoc(module)}\n")
        if fields := protocols.settings_of(name).model_fields:
            parts.append("\n" + _rows(fields))
    return "".join(parts)


def column_tables() -> str:
    """One Markdown table for each table of a study: column, meaning."""
    # Here, since they take a second to import.
    from agentark.evaluation import comparisons, cost, reasoning_quality, robustness, summary

    parts = []
    for module in (summary, comparisons, cost, reasoning_quality, robustness):
        name = module.__name__.rpartition(".")[2]
        lines = [
            "| column | meaning |",
            "|---|---|",
            *(f"| `{key}` | {text} |" for key, text in module.COLUMNS.items()),
        ]
        parts.append(f"\n## {name}.csv\n\n" + "\n".join(lines) + "\n")
    return "".join(parts)


def _table(title: str, section: type[Section]) -> str:
    return f"\n### {title}\n\n{_rows(section.model_fields)}"


def _holds_sections(values: list[object]) -> bool:
    return any(isinstance(value, Section) for value in values)


def _rows(fields: Mapping[str, FieldInfo]) -> str:
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for key, field in fields.items():
        if field.is_required():
            default = "**required**"
        else:
            value = field.get_default(call_default_factory=True)
            is_section = isinstance(value, Section) or (isinstance(value, list) and _holds_sections(value))
            default = "see below" if is_section else f"`{json.dumps(value)}`"
        meaning = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{key}` | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
