"""The `agentark` command: print a run's table, and make the config's schema and documentation."""

import argparse
import json
import sys
from pathlib import Path

from agentark import config
from agentark.records import write_text

GENERATED = "<!-- made by `make docs` from the typed config; do not edit below -->\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="agentark", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("summary", help="print the table of a run")
    show.add_argument("results", type=Path, help="folder of the run, for example results/demo")
    docs = commands.add_parser("docs", help="write the config's schema and the key tables in config/README.md")
    docs.add_argument("--root", type=Path, default=Path(), help="the checkout")
    args = parser.parse_args(argv)

    if args.command == "summary":
        table = args.results / "tables" / "summary.txt"
        if not table.is_file():
            print(f"error: {table}: not there; run the pipeline first, it is one of its last files", file=sys.stderr)
            return 1
        print(table.read_text(encoding="utf-8"), end="")
    else:
        write_text(args.root / "workflow" / "schemas" / "config.schema.json", schema())
        readme = args.root / "config" / "README.md"
        by_hand = readme.read_text(encoding="utf-8").partition(GENERATED)[0]
        write_text(readme, by_hand + GENERATED + key_tables())
    return 0


def schema() -> str:
    """JSON schema of the config, for editors."""
    return json.dumps(config.Config.model_json_schema(), indent=2) + "\n"


def key_tables() -> str:
    """One Markdown table a section: key, default, meaning."""
    sections: list[tuple[str, type[config.Section]]] = [
        ("top level", config.Config),
        ("models.NAME", config.Model),
        ("datasets.NAME", config.Dataset),
        ("datasets.NAME.train, validation, test", config.SplitSource),
        ("engine", config.Engine),
        ("debates", config.Debates),
        ("sets", config.Sets),
        ("sft", config.Sft),
        ("prm", config.Prm),
        ("prm.stage1, prm.stage2", config.PrmStage),
        ("grpo", config.Grpo),
        ("evaluation", config.Evaluation),
    ]
    return "".join(_table(title, section) for title, section in sections)


def _table(title: str, section: type[config.Section]) -> str:
    lines = [f"\n### {title}\n", "| key | default | meaning |", "|---|---|---|"]
    for key, field in section.model_fields.items():
        if field.is_required():
            default = "**required**"
        else:
            value = field.get_default(call_default_factory=True)
            default = "see below" if isinstance(value, config.Section) else f"`{json.dumps(value)}`"
        meaning = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{key}` | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
