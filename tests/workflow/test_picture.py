"""What a person sees of a run: on a terminal one picture of it, elsewhere lines; else what Snakemake says itself."""

import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from agentark.running.picture import STAGES, Job, Picture
from tests.workflow.finished_run import ROOT, Checkout

# A job that tells how far it is, and ends when it is told to, or without a word; preparing a model has no memory.
WORK = """
args = sys.argv[1:]
if "--log" in args:
    import signal, time
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    log = pathlib.Path(args[args.index("--log") + 1])
    log.parent.mkdir(parents=True, exist_ok=True)
    if "agentark.stages.models" in args:
        log.write_text("Traceback\\nerror: no free memory; give the rule more\\nnoise\\n")
        sys.exit(1)
    log.write_text("noise\\nquestions       30/60 questions, \\x1b[2J4s left\\nnoise\\n")
    while not pathlib.Path("go").exists():
        time.sleep(0.05)
"""
NOISE = ("Select jobs to execute", "Execute 1 jobs", "RuleException", "Traceback", "noise")


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout whose settings are frozen."""
    checkout = Checkout(tmp_path_factory.mktemp("settled"))
    frozen = [f"results/demo/settings/{name}.json" for name in ("questions/chain_sum", "models/smollm2-135m")]
    result = checkout.snakemake(*frozen)
    assert result.returncode == 0, result.stderr
    checkout.replace("bin/python", "args = sys.argv[1:]\n", WORK.lstrip())
    return checkout


@pytest.fixture
def checkout(settled: Checkout) -> Iterator[Checkout]:
    yield settled
    (settled.folder / "go").unlink(missing_ok=True)
    for path in settled.folder.glob("results/demo/questions/*/*"):
        path.unlink()


class Terminal:
    """A terminal of 100 columns and 30 lines, in which a program runs."""

    def __init__(self, checkout: Checkout, *arguments: str) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
        self.settings = termios.tcgetattr(slave)
        command = [sys.executable, "-m", "snakemake", *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=checkout.folder,
            env=checkout.environment | {"TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        self._slave, self.shown = slave, ""
        os.set_blocking(self._master, False)

    def read(self) -> str:
        try:
            self.shown += os.read(self._master, 1_000_000).decode().replace("\r\n", "\n")
        except BlockingIOError:
            time.sleep(0.05)
        return self.shown

    def until(self, text: str) -> None:
        deadline = time.monotonic() + 120
        while text not in self.read():
            if time.monotonic() > deadline:
                os.killpg(self.process.pid, signal.SIGKILL)
            assert self.process.poll() is None or text in self.read(), self.shown

    def ends(self) -> int:
        while self.process.poll() is None:
            self.read()
        self.read()
        assert termios.tcgetattr(self._slave) == self.settings
        return self.process.returncode

    @property
    def screen(self) -> list[str]:
        """What stands there in the end."""
        lines: list[str] = []
        for part in re.split(r"(\x1b\[\d+F\x1b\[J)", re.sub(r"\x1b\[\d*m", "", self.shown)):
            if erased := re.fullmatch(r"\x1b\[(\d+)F\x1b\[J", part):
                del lines[-int(erased[1]) :]
            else:
                lines += part.split("\n")[:-1]
        return lines


def test_a_terminal_shows_one_picture(checkout: Checkout) -> None:
    terminal = Terminal(checkout, "--keep-going", "models", "questions")
    terminal.until("\nmake_questions chain_sum, ")
    terminal.until("\n    questions       30/60 questions, [2J4s left\n")
    terminal.until("failed  prepare_model")
    (checkout.folder / "go").touch()
    assert terminal.ends() == 1
    assert not [noise for noise in NOISE if noise in terminal.shown]
    screen = terminal.screen
    (top,) = (i for i, line in enumerate(screen) if line.startswith("stage "))
    assert [line.split() for line in screen[top : top + 3]] == [
        ["stage", "done", "running", "failed", "left"],
        ["models", "1"],
        ["questions", "1"],
    ]
    assert screen[top + 1].index("1") > screen[top + 2].index("1"), "one has failed, the other is done"
    assert re.fullmatch(r"1 of 2 jobs done, 1 failed, \d+s gone", screen[top + 3])
    assert re.fullmatch(
        r" +failed  prepare_model smollm2-135m, after \d+s: no free memory; give the rule more "
        r"\(results/demo/logs/prepare_model/smollm2-135m\.log\)",
        screen[top - 1],
    )
    assert any(line.startswith("A job failed: its log, named above") for line in screen[top + 4 :])


def test_ctrl_c_leaves_the_terminal_as_it_was(checkout: Checkout) -> None:
    terminal = Terminal(checkout, "questions")
    terminal.until("\n    questions       30/60 questions, [2J4s left\n")
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.ends() != 0
    (top,) = (i for i, line in enumerate(terminal.screen) if line.startswith("stage "))
    # Both have the signal, and Snakemake may hear of its job's end first.
    ends = ("Terminating processes", "At least one job did not complete successfully")
    assert any(end in "".join(terminal.screen[top:]) for end in ends)


def test_without_a_terminal_jobs_are_lines(checkout: Checkout) -> None:
    (checkout.folder / "go").touch()
    result = checkout.snakemake("--keep-going", "models", "questions")
    assert result.returncode == 1
    assert "\x1b" not in result.stderr
    assert not [noise for noise in NOISE if noise in result.stderr]
    lines = [line.strip() for line in result.stderr.splitlines()]
    assert lines.count("begins  prepare_model smollm2-135m") == lines.count("begins  make_questions chain_sum") == 1
    assert any(re.fullmatch(r"1/2  make_questions chain_sum, \d+s", line) for line in lines)
    assert any(
        re.fullmatch(r"failed  prepare_model .*: no free memory; give the rule more \(.*\.log\)", x) for x in lines
    )
    assert any(line.startswith("1 of 2 jobs done, 1 failed") for line in lines)


def test_after_the_last_job_there_is_no_more_to_say_of_jobs(checkout: Checkout) -> None:
    (checkout.folder / "go").touch()
    result = checkout.snakemake("questions")
    assert result.returncode == 0, result.stderr
    assert not [noise for noise in NOISE if noise in result.stderr]
    end = result.stderr.splitlines()[-3:]
    assert [line.split()[0] for line in end] == ["1", "Complete", "Elapsed"], end


@pytest.mark.parametrize("arguments", [["-n"], ["--summary"]])
def test_what_runs_no_jobs_says_the_same_as_without_a_logger(checkout: Checkout, arguments: list[str]) -> None:
    def said(*more: str) -> list[str]:
        result = checkout.snakemake("--workflow-profile", "none", "-c1", "models", "questions", *more, *arguments)
        assert result.returncode == 0, result.stderr
        changing = r"(Date|Workflow ID|Command):.*|\[\w{3} .*\]"
        return sorted(re.sub(changing, "", line) for line in f"{result.stdout}\n{result.stderr}".splitlines())

    assert said("--logger", "agentark") == said()


def test_a_quiet_run_has_no_picture(checkout: Checkout) -> None:
    (checkout.folder / "go").touch()
    quiet = checkout.snakemake("--quiet", "progress", "--", "questions")
    assert "localrule make_questions:" in quiet.stderr
    assert "begins" not in quiet.stderr


@pytest.mark.parametrize(
    ("others", "expected"), [(0, "about 2m00s left"), (1, "at least 2m00s left"), (3, "time left unknown")]
)
def test_time_left_comes_from_jobs_of_the_same_rule(
    others: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of four students took a minute each, one after the other; that tells nothing of another rule's jobs."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
    picture = Picture(os.fdopen(slave, "w"), {"train_sft": 4, "train_prm": others})
    now = 120.0
    for number in range(2):
        picture.begins(number, Job("train_sft", {}, None, datetime.now(UTC) - timedelta(seconds=60)))
        picture.ends(number)
    shown = ""
    while not (sums := re.findall(r"^2 of .*(?=\r)", shown, re.MULTILINE)):
        shown += os.read(master, 100_000).decode()
    picture.close()
    assert sums[0] == f"2 of {4 + others} jobs done, 2m00s gone, {expected}"


def test_every_rule_that_makes_something_counts_in_a_stage() -> None:
    rules = [
        name
        for path in sorted((ROOT / "workflow" / "rules").glob("*.smk"))
        for name, body in re.findall(
            r"^ *rule (\w+):\n(.*?)(?=^ *rule |\Z)", path.read_text(), re.MULTILINE | re.DOTALL
        )
        if re.search(r"^ +output:$", body, re.MULTILINE)
    ]
    assert sorted(rules) == sorted(rule for rules in STAGES.values() for rule in rules)


def test_a_job_is_called_by_its_rule_and_wildcards() -> None:
    wildcards = {"run": "r/variants/long", "before": "rsft-", "teacher": "t", "seed": "0"}
    now = datetime.now(UTC)
    assert Job("train_grpo", wildcards, None, now).name == "train_grpo rsft t seed 0 (long)"
    assert Job("train_sft", {"run": "r", "before": "", "sft_method": "da"}, None, now).name == "train_sft da"
