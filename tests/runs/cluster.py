"""A SLURM cluster of one node on this machine: munged, slurmctld and slurmd on loopback."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

CONF = Path("/etc/slurm/slurm.conf")  # slurmd and the commands read no other place by themselves
PROGRAMS = ("munged", "slurmctld", "slurmd", "squeue", "sbatch", "scancel")


def why_not() -> str | None:
    """Say why the cluster cannot be started here, if so."""
    if os.environ.get("CELLCOUNT_TEST_SLURM") != "1":
        return "it writes /etc/slurm/slurm.conf: set CELLCOUNT_TEST_SLURM=1 on a machine to spare"
    if os.geteuid() != 0:
        return "SLURM's daemons need root"
    missing = [p for p in PROGRAMS if shutil.which(p, path=_path()) is None]
    if missing:
        return f"{', '.join(missing)} missing: install slurm-wlm and munge"
    return None


def _path() -> str:
    return os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"


def configuration(folder: Path) -> str:
    host = socket.gethostname()
    return f"""\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SchedulerParameters=sched_min_interval=200000,sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Start the daemons, wait until the node is idle, and end what was started."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    CONF.parent.mkdir(exist_ok=True)
    before = CONF.read_text() if CONF.exists() else None
    CONF.write_text(configuration(folder))
    started: list[subprocess.Popen] = []

    def start(*command: str) -> None:
        log = (folder / f"{Path(command[0]).name}.out").open("w")
        environment = os.environ | {"PATH": _path()}
        started.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))

    try:
        _munge()
        start(
            "/usr/sbin/runuser", "-u", "munge", "--", "/usr/sbin/munged", "--foreground", "--force"
        )
        _wait(lambda: Path("/run/munge/munge.socket.2").exists(), "munged", folder)
        start("/usr/sbin/slurmctld", "-D", "-c")
        start("/usr/sbin/slurmd", "-D")
        _wait(lambda: "idle" in _said("sinfo", "-h", "-o", "%T"), "an idle node", folder)
        yield
    finally:
        subprocess.run(["scancel", "--user=root"], capture_output=True, env=os.environ)
        for process in reversed(started):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
        if before is None:
            CONF.unlink()
        else:
            CONF.write_text(before)


def _munge() -> None:
    """Make munge's key and folders, as its package's service would."""
    key = Path("/etc/munge/munge.key")
    if not key.exists():
        key.write_bytes(os.urandom(1024))
    for place in ("/run/munge", "/var/lib/munge", "/var/log/munge", "/etc/munge", str(key)):
        Path(place).mkdir(parents=True, exist_ok=True) if place != str(key) else None
        shutil.chown(place, "munge", "munge")
    key.chmod(0o400)
    Path("/run/munge").chmod(0o755)


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout


def _wait(ready, what: str, folder: Path, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            logs = "\n".join(f"{p.name}:\n{p.read_text()[-2000:]}" for p in folder.glob("*.out"))
            logs += "\n".join(f"{p.name}:\n{p.read_text()[-2000:]}" for p in folder.glob("*.log"))
            raise RuntimeError(f"no {what} after {seconds} s\n{logs}")
        time.sleep(0.2)
