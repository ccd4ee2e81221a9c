"""A real Slurm on one machine, for tests: a CPU node and two GPU nodes with fake GPUs, accounting included.

Needs root and Debian's packages; `make slurm-up` installs them, starts it and leaves it running, `make slurm-down`
ends it. The fake GPUs are device files that nothing opens: Slurm counts them and sets CUDA_VISIBLE_DEVICES, jobs run on
the CPU.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PACKAGES = ["slurm-wlm", "slurmdbd", "munge", "mariadb-server"]
ETC = Path("/etc/slurm")
"""Slurm's own place for its configuration: Snakemake's jobs lose SLURM_CONF, so it can be nowhere else."""
MARK = "# AgentArk's test cluster\n"
HOME = Path("/tmp/agentark-slurm")  # noqa: S108 - one cluster a machine, since its configuration has one place
GPU_NODES = ("gpu1", "gpu2")
GPUS_PER_NODE = 2
START_S = 60.0

SLURM_CONF = """{mark}ClusterName=agentark
SlurmctldHost=localhost
SlurmUser=root
AuthType=auth/munge
StateSaveLocation={home}/state
SlurmctldPidFile={home}/slurmctld.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdSpoolDir={home}/spool-%n
SlurmdPidFile={home}/slurmd-%n.pid
SlurmdLogFile={home}/slurmd-%n.log
# Invented numbers of CPUs, several nodes on one machine.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
# No cgroups: memory is watched by sampling.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoreFlags=job_comment
AccountingStorageTRES=gres/gpu
MinJobAge=3600
KillWait=20
InactiveLimit=0
SlurmctldTimeout=30
SlurmdTimeout=20
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
NodeName=cpu1 NodeAddr=127.0.0.1 Port=17001 CPUs=8 RealMemory=8000
NodeName=gpu1 NodeAddr=127.0.0.1 Port=17002 CPUs=16 RealMemory=12000 Gres=gpu:fake:2
NodeName=gpu2 NodeAddr=127.0.0.1 Port=17003 CPUs=16 RealMemory=12000 Gres=gpu:fake:2
PartitionName=cpu Nodes=cpu1 MaxTime=2-0 Default=YES
PartitionName=gpu Nodes=gpu1,gpu2 MaxTime=2-0 PriorityTier=1 PreemptMode=REQUEUE
# Takes the GPU nodes away from the partition above.
PartitionName=urgent Nodes=gpu1,gpu2 MaxTime=2-0 PriorityTier=2 PreemptMode=OFF
"""
GRES_CONF = """{mark}NodeName=gpu1 Name=gpu Type=fake File={home}/gpu1-[0-1]
NodeName=gpu2 Name=gpu Type=fake File={home}/gpu2-[0-1]
"""
SLURMDBD_CONF = """{mark}AuthType=auth/munge
DbdHost=localhost
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=agentark_slurm
LogFile={home}/slurmdbd.log
PidFile={home}/slurmdbd.pid
"""


def why_not() -> str | None:
    """What stands in the way of a cluster on this machine; None when nothing does. Installs what it needs."""
    if os.geteuid() != 0:
        return "a Slurm of one's own needs root"
    conf = ETC / "slurm.conf"
    if conf.exists() and not conf.read_text().startswith(MARK):
        return f"{conf} is another cluster's"
    if installed():
        return None
    if not shutil.which("apt-get"):
        return f"no Debian, so no packages {' '.join(PACKAGES)}"
    return None if install() else f"Debian's packages {' '.join(PACKAGES)} cannot be installed"


def installed() -> bool:
    return all(shutil.which(name) for name in ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd"))


def install() -> bool:
    """Debian's packages, without starting any service; whether it worked."""
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        subprocess.run(["apt-get", "--quiet", *command], env=quiet, capture_output=True, timeout=600)
    return installed()


def start() -> None:
    """Start all daemons and wait until every node is idle.

    Raises:
        RuntimeError: a daemon did not come up; names its log.
    """
    if reason := why_not():
        raise RuntimeError(reason)
    stop()
    (HOME / "state").mkdir(parents=True)
    for node in GPU_NODES:
        for number in range(GPUS_PER_NODE):
            os.mknod(HOME / f"{node}-{number}", 0o020600, os.makedev(195, number + 10 * GPU_NODES.index(node)))
    ETC.mkdir(exist_ok=True)
    for name, text in (("slurm", SLURM_CONF), ("gres", GRES_CONF), ("slurmdbd", SLURMDBD_CONF)):
        path = ETC / f"{name}.conf"
        path.write_text(text.format(mark=MARK, home=HOME))
        path.chmod(0o600 if name == "slurmdbd" else 0o644)
    munge()
    database()
    daemon("slurmdbd", "-D")
    until("slurmdbd", ["sacctmgr", "--noheader", "list", "cluster"])
    subprocess.run(["sacctmgr", "--immediate", "add", "cluster", "agentark"], stdout=subprocess.DEVNULL)
    subprocess.run(["sacctmgr", "--immediate", "add", "account", "test"], stdout=subprocess.DEVNULL)
    subprocess.run(["sacctmgr", "--immediate", "add", "user", "root", "account=test"], stdout=subprocess.DEVNULL)
    controller()
    for node in ("cpu1", *GPU_NODES):
        slurmd(node)
    until("slurmctld", ["sh", "-c", "test $(sinfo --noheader --Node --states=idle | sort -u | wc -l) -ge 3"])


def stop() -> None:
    """End every daemon of the cluster, running jobs included, and take its files away."""
    for path in [
        *HOME.glob("slurmd-*.pid"),
        *(HOME / f"{n}.pid" for n in ("slurmctld", "slurmdbd", "mariadbd", "munged")),
    ]:
        kill(path)
    subprocess.run(["pkill", "-9", "slurmstepd"])
    shutil.rmtree(HOME, ignore_errors=True)
    for name in ("slurm", "gres", "slurmdbd"):
        path = ETC / f"{name}.conf"
        if path.exists() and path.read_text().startswith(MARK):
            path.unlink()


def munge() -> None:
    key = Path("/etc/munge/munge.key")
    if not key.exists():
        key.parent.mkdir(exist_ok=True)
        key.write_bytes(os.urandom(1024))
    shutil.chown(key, "munge", "munge")
    key.chmod(0o400)
    if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
        return  # one is running already, and it is not ours to end
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    Path("/run/munge").chmod(0o755)
    subprocess.run(["runuser", "-u", "munge", "--", "munged"], check=True)
    until("munged", ["munge", "-n"])


def database() -> None:
    data = HOME / "database"
    data.mkdir()
    shutil.chown(data, "mysql", "mysql")
    HOME.chmod(0o755)
    make = ["mariadb-install-db", "--user=mysql", f"--datadir={data}", "--auth-root-authentication-method=socket"]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    Path("/run/mysqld").mkdir(exist_ok=True)
    shutil.chown("/run/mysqld", "mysql", "mysql")
    daemon("mariadbd", "--user=mysql", f"--datadir={data}", "--skip-networking")
    until("mariadbd", ["mariadb-admin", "ping"])


def controller() -> None:
    daemon("slurmctld", "-D")


def slurmd(node: str) -> None:
    daemon("slurmd", "-D", "-N", node, name=f"slurmd-{node}")


def lose(node: str) -> None:
    """A node fails with all that runs on it."""
    (HOME / f"slurmd-{node}.pid").rename(HOME / f"lost-{node}.pid")
    kill(HOME / f"lost-{node}.pid", signal.SIGKILL)
    here = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"SLURMD_NODENAME={node}\0".encode() in path.read_bytes():
                here.append(int(path.parent.name))
    # Slurm's own processes first: who dies with them cannot be reported as a failed job.
    for pid in [*{parent for pid in here if (parent := _stepd_of(pid))}, *here]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    subprocess.run(["scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test"], check=True)


def _stepd_of(pid: int) -> int | None:
    """The slurmstepd that a process descends from."""
    while pid > 1:
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition(" (")[2].rpartition(") ")
        except OSError:
            return None
        if name == "slurmstepd":
            return pid
        pid = int(rest.split()[1])
    return None


def recover(node: str) -> None:
    slurmd(node)
    subprocess.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"])


def daemon(program: str, *arguments: str, name: str | None = None) -> None:
    """Start a program that goes on when we end; it is ended by its process id."""
    name = name or program
    log = (HOME / f"{name}.out").open("ab")
    process = subprocess.Popen(
        [shutil.which(program) or program, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    (HOME / f"{name}.pid").write_text(str(process.pid))


def kill(path: Path, number: int = signal.SIGTERM) -> None:
    """End the daemon of a process-id file, and wait for it."""
    try:
        pid = int(path.read_text())
        os.kill(pid, number)
        for _ in range(100):
            os.kill(pid, 0)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return


def until(what: str, command: list[str]) -> None:
    """Wait for a command to succeed."""
    deadline = time.monotonic() + START_S
    while subprocess.run(command, capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start within {START_S:.0f} s; see {HOME}/{what}.log and {what}.out")
        time.sleep(0.5)


def main(action: str) -> int:
    if action == "up":
        try:
            start()
        except RuntimeError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        print("Slurm is up: sinfo, squeue, sacct; snakemake --workflow-profile ci-slurm")
    else:
        stop()
        print("Slurm is down")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
