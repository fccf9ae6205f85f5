"""SLURM with one node, this machine, for tests that submit real jobs. Needs Debian's slurmctld, slurmd and munge, and root."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol")
_CONFIGURATION = """
ClusterName=here
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmctldPort=26817
SlurmdPort=26818
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SwitchType=switch/none
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE
"""
_PATIENCE_S = 30.0


def is_here() -> bool:
    """Whether such a cluster can be started."""
    return os.geteuid() == 0 and all(shutil.which(name) for name in PROGRAMS)


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """A running cluster, and the environment in which its commands find it. Everything that it started is ended."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    configuration = folder / "slurm.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, cores=os.cpu_count() or 1))
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    files = {
        "key-file": key,
        "socket": folder / "munge.sock",
        "pid-file": folder / "munged.pid",
        "log-file": folder / "munged.log",
    }
    munged = [
        "munged",
        "--force",
        *(f"--{name}={path}" for name, path in files.items()),
        f"--seed-file={folder / 'munge.seed'}",
    ]
    try:
        for words in (munged, ["slurmctld", "-c"], ["slurmd", "-N", "localhost"]):
            subprocess.run(words, env=environment, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        _wait_for_node(environment)
        yield environment
    finally:
        for name in ("slurmd", "slurmctld", "munged"):
            _end(folder / f"{name}.pid")


def _wait_for_node(environment: dict[str, str]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        asked = subprocess.run(
            ["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False
        )
        if asked.stdout.strip() == "idle":
            return
        time.sleep(0.2)
    raise AssertionError("SLURM's node did not come up")


def _end(pid_file: Path) -> None:
    if not pid_file.exists():
        return
    process = psutil.Process(int(pid_file.read_text()))
    process.send_signal(signal.SIGTERM)
    process.wait(_PATIENCE_S)
