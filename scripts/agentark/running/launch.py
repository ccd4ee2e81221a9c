"""Start a stage on the devices of its job: `python -m agentark.running.launch --gpus N MODULE ARGUMENTS`.

A scheduler has given a job its devices already. On one machine nobody has: the job takes free ones and holds a lock
on each until it ends, however it ends. A training (`--nodes`) has one process a device, under torchrun, on every node
of its allocation; any other stage has one process that sees all of them. Without GPUs the stage runs on the CPU.
"""

import argparse
import fcntl
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agentark.running import output

LOCKS = Path(tempfile.gettempdir()) / f"agentark-gpus-{os.getuid()}"
POLL_S = 2.0
PORT = 29_400
"""Of torchrun's meeting place; jobs that share a node add their own number."""


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, required=True, help="devices to take where no scheduler gives them")
    parser.add_argument("--nodes", type=int, help="one process a device, on so many nodes of a Slurm allocation")
    parser.add_argument("--zero", type=int, default=0, help="DeepSpeed's ZeRO stage, for several processes")
    parser.add_argument("module", help="program to run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)

    if output.under_a_picture() and (log := output.log_of(args.arguments)):
        output.give_to_log(log)
    job = os.environ.get("SLURM_JOB_ID")
    if job is None and (devices := devices_here()):
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(take(min(args.gpus, len(devices)), devices))
    os.environ |= {"AGENTARK_ZERO": str(args.zero), "AGENTARK_GPUS": str(n_visible())}
    n_nodes = args.nodes if args.nodes and job else 1
    command = [sys.executable, "-m"]
    # `--`: torchrun takes abbreviations of its options, and would see one in a stage's `--log`.
    if n_nodes > 1:
        command = [*on_each_node(n_nodes), *torchrun(), *meeting(job, n_nodes), "-m", "--"]
    elif args.nodes and n_visible() > 1:
        command = [*torchrun(), "--standalone", "-m", "--"]
    command += [args.module, *args.arguments]
    os.execvp(command[0], command)  # noqa: S606 - an argument list, no shell


def n_visible() -> int:
    """Devices that this job sees."""
    return len([device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device.strip()])


def devices_here() -> list[str]:
    """Names of this machine's devices, those that the user allows."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [device.strip() for device in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if device.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(i) for i, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]


def take(n: int, devices: list[str]) -> list[str]:
    """Lock n free devices, waiting for others to let go of theirs; the locks live as long as this process does."""
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    told = False
    while True:
        held: dict[str, int] = {}
        for device in devices:
            if len(held) == n:
                break
            handle = os.open(LOCKS / device.replace("/", "_"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            os.set_inheritable(handle, True)
            held[device] = handle
        if len(held) == n:
            return list(held)
        # Two jobs that each hold half of what they need would wait for ever.
        for handle in held.values():
            os.close(handle)
        if not told:
            print(f"waiting      for {n} of the GPUs {', '.join(devices)}: other jobs have them", file=sys.stderr)
            told = True
        time.sleep(POLL_S)


def torchrun() -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(max(1, n_visible()))]


def on_each_node(n_nodes: int) -> list[str]:
    return ["srun", f"--nodes={n_nodes}", f"--ntasks={n_nodes}", "--ntasks-per-node=1"]


def meeting(job: str, n_nodes: int) -> list[str]:
    """Where the torchruns of a job find one another: on its first node."""
    # Asked for, since Snakemake's job step takes SLURM_JOB_NODELIST out of the environment.
    nodes = said_by("squeue", "--noheader", "--jobs", job, "--format", "%N").strip()
    first = said_by("scontrol", "show", "hostnames", nodes).split()[0]
    address = re.search(r"NodeAddr=(\S+)", said_by("scontrol", "show", "node", first, "--oneliner"))
    endpoint = f"{address[1] if address else first}:{PORT + int(job) % 10_000}"
    return ["--nnodes", str(n_nodes), "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint, "--rdzv-id", job]


def said_by(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
