"""Every command that the pages show runs: Snakemake as a dry-run, make with -n, `agentark` for real on a small run."""

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agentark.provenance.manifests import write_manifest
from agentark.records.debates import Debate, Turn
from agentark.records.files import write_json, write_rows, write_text
from agentark.records.questions import Question
from agentark.running.attempts import Attempt
from tests.benchmarks.__main__ import TOPICS
from tests.workflow import pages
from tests.workflow.finished_run import Checkout

NOT_RUN = {
    r"\. \.venv/bin/activate": "belongs to the reader's shell",
    r"(pip|apt) install .*": "changes the machine",
    r"(podman|apptainer) .*": "needs containers",
    r"snakemake --sdm conda": "needs conda, also for a dry-run",
}
"""Commands that are shown and not run here, and why."""
OWN_FILES = {
    "my.yaml": None,  # the demo's
    "mine.yaml": "sft: {epochs: 3}",
    "my-cluster.yaml": "hardware: {gpus_per_node: 4}",
}
"""Config files that the pages ask a reader to write."""
VARIABLES = {"TOPIC": {*TOPICS, "all"}, "LOCK": {"worker-cpu", "worker-gpu"}}
"""What make can be told; it would take any other word without a complaint."""
QUESTION_ID = "0123abcd"
COMMANDS = pages.commands()


@dataclass(frozen=True)
class Reader:
    """Who types the commands: in a checkout with all files of a run, and in a folder of small runs with real ones."""

    checkout: Checkout
    folder: Path
    dry_runs: dict[tuple[str, ...], subprocess.CompletedProcess[str]] = field(default_factory=dict)
    """What was run already; with and without `-n` is the same here."""

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as far as a test can.

        In its words PATH stands for debate logs, QUESTION_ID for a question of the run, RUN for the run's name, and
        `...` for the folders in between.
        """
        program, *words = shlex.split(command)
        logs = self.folder / "logs.json"
        values = {"PATH": str(logs), "QUESTION_ID": QUESTION_ID, "RUN": "demo"}
        words = [re.sub(rf"\b({'|'.join(values)})\b", lambda found: values[found[0]], word) for word in words]
        if program == "snakemake":
            dry = tuple(word for word in words if word != "-n")
            if dry not in self.dry_runs:
                self.dry_runs[dry] = self.checkout.call(program, *dry, "-n")
            return self.dry_runs[dry]
        if program == "make":
            for name, _, value in (word.partition("=") for word in words if "=" in word):
                assert value in VARIABLES.get(name, ()), f"make takes {VARIABLES}: {command}"
            return self.checkout.call(program, "-n", *words)
        assert program == "agentark", f"a new kind of command: say here how it is run, or in NOT_RUN why not: {command}"
        for name in re.findall(r"results/([\w-]+)", " ".join(words)):
            if not (self.folder / "results" / name).exists():
                shutil.copytree(self.folder / "results" / "demo", self.folder / "results" / name)
        words = [self.only(word) if "/.../" in word else word for word in words]
        return self.checkout.call(program, *words, folder=self.folder)

    def only(self, word: str) -> str:
        (path,) = self.folder.glob(word.replace("...", "**"))
        return str(path)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    # In the place of a run: a report needs its files, though not what is in them.
    for line in checkout.snakemake("--summary").stdout.splitlines()[1:]:
        write_text(checkout.folder / line.split("\t")[0], "{}")
    checkout.call("agentark", "adopt", "results/demo")  # so that they have records
    demo = (checkout.folder / "config" / "demo.yaml").read_text(encoding="utf-8")
    for name, text in OWN_FILES.items():
        (checkout.folder / name).write_text(text or demo)
    folder = tmp_path_factory.mktemp("runs")
    (folder / "logs.json").write_text("[]")
    small_run(folder / "results" / "demo")
    return Reader(checkout, folder)


def small_run(root: Path) -> None:
    """One debate, a student, and a job that was done."""
    question = Question(
        question_id=QUESTION_ID, dataset="sums", split="test", question="What is 2 + 3?", gold="5", gold_type="number"
    )
    turn = Turn(agent=0, round=1, prompt=question.question, reply="The answer is 5.", answer="5")
    debates = root / "debates" / "t" / "sums"
    write_rows(debates / "0.jsonl.zst", [Debate(question=question, teacher="t", protocol="single", turns=[turn])])
    made = {"stage": "debates", "settings": {}}
    shards = [debates / "0.jsonl.zst"]
    write_manifest(debates / "0.manifest.json", kind="debates", parents=[], outputs=shards, **made)
    student = root / "students" / "rsft" / "t" / "sums" / "m" / "0"
    write_json(student / "model" / "config.json", {})
    write_manifest(student / "manifest.json", kind="student", parents=shards, folder=student / "model", seed=0, **made)
    (root / "settings").mkdir()
    Attempt(root / "logs" / "train_sft" / "0.log").ends("done")


def excused(command: str) -> bool:
    return any(re.fullmatch(pattern, command) for pattern in NOT_RUN)


@pytest.mark.parametrize("command", [command for command in COMMANDS if not excused(command)])
def test_it_runs(reader: Reader, command: str) -> None:
    result = reader.run(command)
    assert result.returncode == 0, f"{COMMANDS[command]}: {command}\n{(result.stdout + result.stderr)[-3000:]}"


@pytest.mark.parametrize(
    "command",
    [
        "snakemake --configfile my.yaml students",
        "snakemake student_of_nobody --configfile config/paper.yaml",
        "make no-such-target",
        "agentark show-debate results/demo --no-such-option",
        "agentark no-such-command --help",
    ],
)
def test_a_wrong_command_fails(reader: Reader, command: str) -> None:
    assert reader.run(command).returncode != 0


@pytest.mark.parametrize("command", ["make bench TOPIC=nothing", "curl example.org"])
def test_a_command_that_is_not_known_is_refused(reader: Reader, command: str) -> None:
    with pytest.raises(AssertionError):
        reader.run(command)


def test_nothing_is_excused_in_vain() -> None:
    for pattern in NOT_RUN:
        assert any(re.fullmatch(pattern, command) for command in COMMANDS), pattern


def test_commands_are_found_wherever_a_page_shows_one() -> None:
    page = """
`make demo`, then `agentark status`; `make_sets` and `--sdm conda` are none. A long one is `snakemake -n
--configfile my.yaml`.

| how | `sbatch --wrap "snakemake --workflow-profile slurm"` |

```
# not this
cd there && snakemake --rulegraph | dot -Tsvg > dag.svg    # nor this
agentark crate \\
  results/demo
```

```text
rule  done
```
"""
    assert list(pages.of_page(page)) == [
        "cd there",
        "snakemake --rulegraph",
        "agentark crate results/demo",
        "make demo",
        "agentark status --help",
        "snakemake -n --configfile my.yaml",
        "snakemake --workflow-profile slurm",
    ]
    head = (
        "# Ours. Run it with:  make demo     (or not)\n#   snakemake -c 'a b'    to\n# make a `make docs`\na: 1\n#   no"
    )
    assert list(pages.of_head(head)) == ["make demo", "snakemake -c 'a b'", "make docs"]
