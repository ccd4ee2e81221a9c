"""The pipeline on a real Slurm: where its jobs run, and what they survive.

Nothing here depends on how fast a machine trains: a training is held still while something is done to it.
"""

import contextlib
import copy
import csv
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import yaml
import zstandard

from agentark import cli
from agentark.provenance import lineage, manifests
from agentark.running import deadline, status
from tests import tiny_model
from tests.slurm import cluster, teacher

ROOT = Path(__file__).parents[2]
STUDENT = "rsft/teacher/chain_sum/tiny/0"
TARGET = f"results/slurm/students/{STUDENT}/manifest.json"
PATIENCE_S = 900
"""What takes longer hangs; nothing is right or wrong because of it."""
SECRETS = {"HF_TOKEN": "hf_planted0in0the0environment", "TEACHERS_KEY": "sk-planted-in-the-environment"}


class Run:
    """One run in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results" / "slurm"
        self.started: list[subprocess.Popen[bytes]] = []

    def configure(self, settings: dict[str, Any]) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(settings))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        partitions = ROOT / "profiles" / "ci-slurm" / "partitions.yaml"
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--workflow-profile", "ci-slurm", "--slurm-partition-config", str(partitions)]
        command += ["--configfile", str(self.folder / "config.yaml"), "--directory", str(self.folder), *arguments]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, env=os.environ | {"PATH": path} | SECRETS, stdout=log, stderr=log, start_new_session=True
            )
        self.started.append(process)
        return process

    def finish(self, *arguments: str) -> None:
        assert self.start(*arguments).wait(PATIENCE_S) == 0, self.log[-6000:]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def training_log(self) -> str:
        path = self.results / "logs" / "train_sft" / f"{STUDENT}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def job_logs(self) -> str:
        """What Slurm has kept of all trainings."""
        logs = (self.folder / ".snakemake" / "slurm_logs" / "rule_train_sft").rglob("*.log")
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in logs)

    def training(self, attempt: int) -> int | None:
        """The process of this attempt at the training, counted from 1, once it is ready for signals."""
        events = [json.loads(line) for line in attempts(self.results, "train_sft") if line]
        began = [event["process"] for event in events if event["event"] == "began"]
        ready = len(began) == attempt and signal.SIGUSR1 in caught(began[-1])
        return began[-1] if ready else None

    def hold(self, attempt: int = 1) -> int:
        """Stop a training where it is, so that it cannot be over too soon. Slurm wakes what it signals.

        Returns:
            The process, for SIGCONT.
        """
        process = until(f"attempt {attempt} to train", lambda: self.training(attempt))
        os.kill(process, signal.SIGSTOP)
        return process

    def ended(self, how: str) -> bool:
        """Whether an attempt at the training ended with these words."""
        return any(how in line for line in attempts(self.results, "train_sft"))

    def goes_on(self) -> bool:
        return "goes on from update" in self.training_log()


def jobs(*columns: str) -> list[dict[str, str]]:
    """What Slurm's accounting, which is as new as the cluster, knows of all jobs."""
    command = ["sacct", "--allocations", "--duplicates", "--noheader", "--parsable2", f"--format={','.join(columns)}"]
    lines = subprocess.run([*command, "--starttime=now-1days"], capture_output=True, text=True, check=True).stdout
    return [dict(zip(columns, line.split("|"), strict=True)) for line in lines.splitlines()]


def most_gpus_at_once() -> int:
    """GPUs that Slurm had given away at the same time."""
    changes: list[tuple[str, int]] = []
    for job in jobs("Start", "End", "AllocTRES"):
        n_gpus = int((re.search(r"gres/gpu=(\d+)", job["AllocTRES"]) or "00")[1])
        changes += [(job["Start"], n_gpus), (job["End"], -n_gpus)]
    # Within a second, what ends comes first.
    return max(itertools.accumulate(n_gpus for _, n_gpus in sorted(changes)))


def attempts(results: Path, rule: str) -> list[str]:
    files = (results / "logs" / rule).rglob("*.attempts.jsonl")
    return [line for path in files for line in path.read_text().splitlines()]


def caught(process: int) -> set[signal.Signals]:
    """Signals that a process catches; none when it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        mask = int(re.search(r"^SigCgt:\s+(\w+)$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)[1], 16)
        return {number for number in signal.Signals if mask >> (number - 1) & 1}
    return set()


def until(what: str, condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.2)
    return found


def limit(job: str, minutes: int) -> None:
    """Leave a running job so many minutes, or up to one more."""
    minutes += 1 + clock(job, "%M") // 60
    subprocess.run(["scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}"], check=True)


def clock(job: str, column: str) -> int:
    """Seconds that a job has run (`%M`) or has left (`%L`)."""
    command = ["squeue", "--noheader", "--jobs", job, "--format", column]
    return deadline.parsed(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


def running() -> dict[str, str]:
    """Node of each running job."""
    command = ["squeue", "--noheader", "--states=RUNNING", "--format=%i %N"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split() for line in lines)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The smoke run with a teacher that costs nothing and a student of two layers, trained on two nodes."""
    if reason := cluster.why_not():
        pytest.skip(reason)
    cluster.start()
    with teacher.serving(SECRETS["TEACHERS_KEY"]) as url:
        content = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8"))
        folder = tiny_model.build(tmp_path_factory.mktemp("tiny") / "model")
        server = {"url": url, "model": "x", "key_env": "TEACHERS_KEY"}
        content["models"] = {"teacher": {"server": server}, "tiny": {"source": str(folder)}}
        content |= {
            "run": "slurm",
            "teachers": ["teacher"],
            "students": ["tiny"],
            "methods": ["rsft", "pad"],
            "engine": {"kind": "transformers"},
        }
        content["evaluation"]["max_tokens"] = 8
        content["hardware"] = {
            "gpus_per_node": 1,
            "sizes": [{"up_to": 1, "generate_gpus": 1, "train_gpus": 2, "zero": 0, "memory_gb": 4}],
        }
        yield content
    cluster.stop()


@pytest.fixture(scope="module")
def finished(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("finished"))
    run.configure(settings)
    run.finish()
    return run


def on_one_gpu(memory_gb: float) -> dict[str, Any]:
    return {"sizes": [{"up_to": 1, "generate_gpus": 1, "train_gpus": 1, "zero": 0, "memory_gb": memory_gb}]}


@pytest.fixture
def long_training(finished: Run, settings: dict[str, Any], tmp_path: Path) -> Iterator[Run]:
    """The finished run at another place, with an R-SFT student to be trained anew on one GPU, in 900 updates."""
    shutil.copytree(finished.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "results" / "slurm" / "logs" / "train_sft")
    content = copy.deepcopy(settings)
    content["sft"] |= {"epochs": 300, "micro_batch_size": 4}
    content["hardware"] = on_one_gpu(0.7)
    run = Run(tmp_path / "run")
    run.configure(content)
    yield run
    # After a failure a training would stand still for ever.
    for process in run.started:
        process.kill()
    for job in running():
        subprocess.run(["scancel", job])


def test_jobs_run_where_they_should(finished: Run) -> None:
    assert (finished.results / "tables" / "summary.csv").exists()
    done = jobs("Comment", "Partition", "NodeList", "State", "AllocTRES")
    assert {job["State"] for job in done} == {"COMPLETED"}
    with_gpu = ("train_", "evaluate_student", "evaluate_base_wildcards_slurm_tiny", "score_")
    for job in done:
        wants_gpu = any(name in job["Comment"] for name in with_gpu)
        assert (job["Partition"] == "gpu") == wants_gpu, job
        assert ("gres/gpu" in job["AllocTRES"]) == wants_gpu, job
    trained = [job["NodeList"] for job in done if "train_" in job["Comment"]]
    assert trained == ["gpu[1-2]"] * 3, "one process on each of two nodes"
    assert 2 <= most_gpus_at_once() <= 4
    # What a job sees is what it was given, and nothing where it was given nothing.
    for rule, n_gpus in (("train_sft", 2), ("train_grpo", 2), ("evaluate_student", 1), ("hold_debates", 0)):
        seen = [json.loads(line) for line in attempts(finished.results, rule) if line]
        assert {event["gpus"] for event in seen if event["event"] == "began"} == {n_gpus}, rule
    finished.finish("--dry-run")
    assert "Nothing to be done" in finished.log
    assert list(lineage.broken_links(finished.results)) == []


def test_status_counts_jobs_and_gpu_hours(finished: Run) -> None:
    told = {line.split()[0]: line.split()[1:] for line in status.report(finished.results) if line}
    assert told["train_sft"][:3] == ["1", "0", "0"]
    assert told["all"][1:3] == ["0", "0"]
    # Tables are made where Snakemake runs.
    tables = ("summarise", "summarise_cost", "summarise_reasoning")
    by_slurm = int(told["all"][0]) - sum(int(told[rule][0]) for rule in tables)
    assert by_slurm == len(jobs("JobID")), "every job of Slurm has left its lines"
    trained = [job for job in jobs("Comment", "ElapsedRaw") if "train_sft" in job["Comment"]]
    hours, gpu_hours = map(float, told["train_sft"][3:])
    assert 0 < hours <= int(trained[0]["ElapsedRaw"]) / 3600 + 0.0005
    assert gpu_hours == pytest.approx(2 * hours, abs=0.002)


def test_secrets_are_in_no_file(finished: Run) -> None:
    n_read = 0
    for path in finished.folder.rglob("*"):
        if path.is_file():
            with zstandard.open(path) if path.suffix == ".zst" else path.open("rb") as handle:
                content = handle.read()
            if path.suffix == ".parquet":
                content = str(pyarrow.parquet.read_table(path).to_pylist()).encode()
            for name, secret in SECRETS.items():
                assert secret.encode() not in content, f"{name} stands in {path}"
            n_read += 1
    assert n_read > 100


@pytest.mark.long
def test_what_a_training_survives(long_training: Run) -> None:
    run = long_training

    # Killed for memory, it comes back with more.
    snakemake = run.start(TARGET, "--retries", "4")
    until("a job killed for memory", lambda: "exceeded memory limit" in run.job_logs())
    run.hold(2)
    told = "\n".join(status.report(run.results))
    assert re.search(rf"train_sft {STUDENT} on \S+, Slurm job \d+ with [-:0-9]+ left: no progress yet", told), told

    # The controller goes and comes back.
    cluster.kill(cluster.HOME / "slurmctld.pid", signal.SIGKILL)
    time.sleep(3)
    cluster.controller()
    until("the controller", lambda: subprocess.run(["scontrol", "ping"], capture_output=True).returncode == 0)
    (job, node), *_ = until("the job", lambda: list(running().items()))

    # Its node dies: it goes on the other one.
    cluster.lose(node)
    until("the job's end", lambda: job not in running())
    until("its place in the queue", lambda: f"Slurm job {job}, rule_train_sft" in "\n".join(status.report(run.results)))
    run.hold(3)
    assert set(running().values()) == {"gpu1", "gpu2"} - {node}
    cluster.recover(node)

    # Snakemake is killed and started again, while its job runs on; that one is cancelled, and nothing is lost.
    (forgotten,) = running()
    snakemake.kill()
    snakemake.wait()
    run.finish("--unlock")
    snakemake = run.start(TARGET, "--set-resources", "train_sft:mem_mb=3000")
    until("the job that waits", lambda: "another job still works in" in run.job_logs())
    (new,) = set(running()) - {forgotten}
    limit(new, minutes=1)
    subprocess.run(["scancel", forgotten], check=True)
    until("the new job", run.goes_on)

    # Its time limit comes first: it stops before, and the next attempt goes on.
    process = run.hold(4)
    until("the time to stop", lambda: clock(new, "%L") < deadline.MARGIN[1])
    os.kill(process, signal.SIGCONT)
    until("its end", lambda: run.ended("stopped by time limit"))
    assert snakemake.wait(PATIENCE_S) == 0, run.log[-6000:]
    with (run.results / "students" / STUDENT / "metrics.csv").open() as handle:
        steps = [int(row["step"]) for row in csv.DictReader(handle)]
    assert steps == list(range(1, steps[-1] + 1)), "each update once"
    states = [job["State"].partition(" ")[0] for job in jobs("State")]
    assert {"FAILED", "NODE_FAIL", "CANCELLED", "COMPLETED"} <= set(states), states


@pytest.mark.long
def test_a_full_disk(long_training: Run, settings: dict[str, Any]) -> None:
    run = long_training
    students = run.results / "students"
    shutil.rmtree(students)
    students.mkdir()
    run.configure(settings | {"hardware": on_one_gpu(3)})
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", students], check=True)
    try:
        filler = students / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as handle:
            while True:
                handle.write(bytes(1 << 12))
        snakemake = run.start(TARGET, "--retries", "5")
        until("the full disk", lambda: run.ended("the disk is full; free some space"))
        assert not (run.folder / TARGET).exists()
        filler.unlink()
        assert snakemake.wait(PATIENCE_S) == 0, run.log[-6000:]
        assert manifests.model_folder(run.folder / TARGET).is_dir()
    finally:
        subprocess.run(["umount", "--lazy", students], check=True)


@pytest.mark.long
def test_preemption(long_training: Run) -> None:
    """A partition of higher priority takes the nodes; the training saves, and goes on when they are free again."""
    run = long_training
    snakemake = run.start(TARGET, "--set-resources", "train_sft:mem_mb=3000")
    run.hold()
    urgent = ["sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--mem=0", "--output=/dev/null"]
    subprocess.run([*urgent, "--wrap", "sleep 5"], check=True)
    until("its end", lambda: run.ended("stopped by SIGTERM"))
    # Slurm lets two minutes pass before it starts a job again.
    until("the next start", run.goes_on)
    assert snakemake.wait(PATIENCE_S) == 0, run.log[-6000:]
    assert {"PREEMPTED", "COMPLETED"} <= {
        job["State"] for job in jobs("State", "Comment") if "train_sft" in job["Comment"]
    }


@pytest.mark.long
def test_a_signal_before_the_time_limit(long_training: Run) -> None:
    run = long_training
    asked = ["train_sft:mem_mb=3000", "train_sft:runtime=60", "train_sft:slurm_extra='--signal=USR1@600'"]
    snakemake = run.start(TARGET, "--set-resources", *asked)
    run.hold()
    (job,) = running()
    limit(job, minutes=9)
    until("its end", lambda: run.ended("stopped by SIGUSR1"))
    until("the next start", run.goes_on)
    assert snakemake.wait(PATIENCE_S) == 0, run.log[-6000:]


@pytest.mark.long
def test_a_truncated_shard(finished: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(finished.folder, tmp_path / "run")
    run = Run(tmp_path / "run")
    shard = run.results / "traces" / "teacher" / "chain_sum" / "0.jsonl.zst"
    shard.write_bytes(shard.read_bytes()[:-20])
    assert cli.main(["verify", str(run.results)]) == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("traces/teacher/chain_sum/0.jsonl.zst is not what it was")
    forced = re.search(r"snakemake --force (\S+),", first)[1]
    before = len(jobs("JobID"))
    run.finish("--force", str(Path(forced).relative_to(run.folder)))
    run.finish()
    assert cli.main(["verify", str(run.results)]) == 0
    rebuilt = [job["Comment"] for job in jobs("Comment")[before:]]
    assert any("extract_traces" in comment for comment in rebuilt)
    kept = ("prepare_model", "make_questions", "hold_debates", "evaluate_base")
    assert not any(name in comment for comment in rebuilt for name in kept)
