"""Fork the ranks of a small job from a process that has imported torch once: four ranks start in a tenth of a second, not in four.

The forking process must not have used torch yet (imports are fine): threads do not survive a fork. That is why studies run in a process of
their own (`study.py`), which does nothing else.
"""

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from scaleprof.launch.network import Network

_PATIENCE_S = 5.0
"""How long the others may go on after one rank failed: long enough to write down what they had."""


@dataclass(frozen=True)
class Failure:
    """A rank that did not end well."""

    rank: int
    reason: str


def fork_ranks(
    train: Callable[[], None],
    world_size: int,
    *,
    environment: Mapping[str, str],
    network: Network | None = None,
    timeout_s: float = 120.0,
) -> tuple[Failure, ...]:
    """Run `train` in one process per rank, with the environment that torchrun would set; the ranks that failed, none if all is well."""
    port = _free_port()
    sys.stdout.flush()
    sys.stderr.flush()
    running: dict[int, int] = {}
    try:
        for rank in range(world_size):
            settings = {**environment, **_torchrun_environment(rank, world_size, port)}
            process = os.fork()
            if process == 0:
                _be_rank(train, rank, settings, network)
            running[process] = rank
        return _wait(running, timeout_s)
    finally:
        for process in running:
            _kill(process)


def _torchrun_environment(rank: int, world_size: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(world_size),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _be_rank(train: Callable[[], None], rank: int, settings: Mapping[str, str], network: Network | None) -> None:
    """The life of a forked rank; never returns, so that nothing of the parent's runs twice."""
    code = 1
    try:
        signal.signal(
            signal.SIGTERM, signal.SIG_DFL
        )  # the parent's handler cleans up after everyone, which is not a rank's to do
        os.environ.update(settings)
        if network is not None:
            network.join(rank)
            os.environ.update(network.environment(rank))
        train()
        code = 0
    finally:
        with suppress(OSError, ValueError):
            if code != 0:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _wait(running: dict[int, int], timeout_s: float) -> tuple[Failure, ...]:
    """Wait for every rank, and take each that ended out of `running`; when one fails, the others get a few seconds."""
    failures: list[Failure] = []
    deadline = time.monotonic() + timeout_s
    reason = f"was still running after {timeout_s:.0f} s"
    while running:
        for process in list(running):
            ended, status = os.waitpid(process, os.WNOHANG)
            if not ended:
                continue
            rank, code = running.pop(process), os.waitstatus_to_exitcode(status)
            if code != 0:
                failures.append(Failure(rank, f"ended with {_meaning(code)}"))
                deadline = min(deadline, time.monotonic() + _PATIENCE_S)
                reason = "was ended, because another rank failed"
        if running and time.monotonic() > deadline:
            for process in list(running):
                failures.append(Failure(running[process], reason))
                _kill(process)
                del running[process]
        time.sleep(0.01)
    return tuple(sorted(failures, key=lambda failure: failure.rank))


def _meaning(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _kill(process: int) -> None:
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
