"""A Dask cluster of worker processes on this machine, for the tests that send ranks there; its scheduler lives in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
_SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",  # of workers for one item: each takes seconds to come back
    "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1h",  # else a LocalCluster gives up workers that are killed again and again
}


@dataclass(frozen=True)
class Cluster:
    """A cluster, and the process that holds it."""

    address: str
    process: "subprocess.Popen[str]"

    def pids(self) -> list[int]:
        """The processes of its workers."""
        with _client(self.address) as client:
            return [*client.run(os.getpid).values()]

    def asked_for(self) -> list[str]:
        """What somebody still wants from it."""
        with _client(self.address) as client:
            found: list[str] = client.run_on_scheduler(
                lambda dask_scheduler: [str(key) for key in dask_scheduler.tasks]
            )
            return found


def _client(address: str) -> Any:
    from distributed import Client

    return Client(address, set_as_default=False, timeout=30)  # type: ignore[no-untyped-call]


@contextmanager
def local_cluster(workers: int = 2) -> Iterator[Cluster]:
    """A `LocalCluster`, used once, so that threads which a client leaves behind are there before a test looks."""
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    command = [sys.executable, "-m", "tests.clusters", str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **_SETTINGS}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdin
        assert process.stdout
        cluster = Cluster(process.stdout.readline().strip(), process)
        if workers:
            assert len(cluster.pids()) == workers
        try:
            yield cluster
        finally:
            process.stdin.close()


if __name__ == "__main__":
    from distributed import LocalCluster

    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=int(sys.argv[1]), threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1"
    ) as made:
        sys.stdout.write(f"{made.scheduler_address}\n")
        sys.stdout.flush()
        sys.stdin.read()
