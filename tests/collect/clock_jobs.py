"""Jobs whose ranks pretend to be on several hosts with clocks of their own: `python -m tests.collect.clock_jobs FOLDER` runs them all.

They are forked, and talk over loopback; the truth about their clocks is in their `truth.json`.
"""

import json
import os
import signal
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
import torch.distributed as dist

import scaleprof
from scaleprof.collect.machine import clocks
from scaleprof.launch.ranks import fork_ranks

AHEAD_NS = 5_000_000_000
DRIFT_PPM = 200
MONO_AHEAD_NS = 77_000_000_000
STEPS = 5


def be_on_host(host: int, epoch_ns: int) -> None:
    """Pretend to be on another machine: all but the first have a clock that is ahead, and drifts."""
    clocks.clock_id = lambda: f"clock-{host}"
    if host == 0:
        return
    real_ns, mono_ns = time.time_ns, time.perf_counter_ns

    def drifted_ns() -> int:
        return (mono_ns() - epoch_ns) * DRIFT_PPM // 1_000_000

    time.time_ns = lambda: real_ns() + AHEAD_NS + drifted_ns()
    time.perf_counter_ns = lambda: mono_ns() + MONO_AHEAD_NS + drifted_ns()


def train(folder: Path, *, steps: int = STEPS, step_s: float = 0.05, destroy: bool = True) -> None:
    """Some steps without any communication: what the ranks say to one another is the recorder's."""
    with scaleprof.profile(str(folder / "traces"), level="light", name="clocks", sample_hz=0):
        parameter = torch.nn.Parameter(torch.ones(4))
        optimizer = torch.optim.SGD([parameter], lr=0.1)
        for _ in range(steps):
            time.sleep(step_s)
            parameter.grad = torch.ones(4)
            optimizer.step()
        if destroy:
            dist.destroy_process_group()


def drifting(folder: Path, epoch_ns: int) -> None:
    be_on_host(dist.get_rank(), epoch_ns)
    train(folder, step_s=0.6)


def kept(folder: Path, epoch_ns: int) -> None:
    """The group is there when the recording ends."""
    be_on_host(dist.get_rank(), epoch_ns)
    train(folder, destroy=False)


def subgroup(folder: Path, epoch_ns: int) -> None:
    """A group that is destroyed on the way is not the end."""
    be_on_host(dist.get_rank(), epoch_ns)
    group = dist.new_group([0, 1])
    with scaleprof.profile(str(folder / "traces"), level="light", name="clocks", sample_hz=0):
        parameter = torch.nn.Parameter(torch.ones(4))
        optimizer = torch.optim.SGD([parameter], lr=0.1)
        for number in range(STEPS):
            if number == 2:
                dist.destroy_process_group(group)
            time.sleep(0.1)
            parameter.grad = torch.ones(4)
            optimizer.step()


def two_hosts(folder: Path, epoch_ns: int) -> None:
    """As torchrun describes two machines with two ranks each."""
    rank = dist.get_rank()
    local = {"LOCAL_RANK": rank % 2, "GROUP_RANK": rank // 2, "LOCAL_WORLD_SIZE": 2, "GROUP_WORLD_SIZE": 2}
    os.environ |= {name: str(value) for name, value in local.items()}
    be_on_host(rank // 2, epoch_ns)
    train(folder)


def untold(folder: Path, epoch_ns: int) -> None:
    """The same machines, and no launcher that says so: the ranks find out."""
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK"):
        del os.environ[name]
    be_on_host(dist.get_rank() // 2, epoch_ns)
    train(folder)


def late(folder: Path, epoch_ns: int) -> None:
    """Rank 1 comes when rank 0 has given up."""
    be_on_host(dist.get_rank(), epoch_ns)
    train(folder, step_s=2.0 if dist.get_rank() else 0.05, steps=2, destroy=False)
    time.sleep(0 if dist.get_rank() else 3.5)  # rank 0 has the store


def absent(folder: Path, epoch_ns: int) -> None:
    """Rank 1 does not record."""
    be_on_host(dist.get_rank(), epoch_ns)
    if dist.get_rank() == 0:
        train(folder, destroy=False)


def _die_in(function: str, folder: Path) -> None:
    original = getattr(clocks, function)
    calls = 0

    def dying(*arguments: object, **keywords: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 40:  # in the middle of the rounds
            (folder / "died").write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **keywords)

    setattr(clocks, function, dying)


def peer_killed(folder: Path, epoch_ns: int) -> None:
    be_on_host(dist.get_rank(), epoch_ns)
    if dist.get_rank() == 1:
        _die_in("_comes", folder)
    train(folder)


def first_killed(folder: Path, epoch_ns: int) -> None:
    be_on_host(dist.get_rank(), epoch_ns)
    if dist.get_rank() == 0:
        _die_in("_comes", folder)
    train(folder)


def one_host(folder: Path, epoch_ns: int) -> None:
    os.environ.pop(clocks.SWITCH)
    train(folder)


CASES = {
    "drifting": (drifting, 2),
    "kept": (kept, 2),
    "subgroup": (subgroup, 2),
    "two_hosts": (two_hosts, 4),
    "untold": (untold, 4),
    "late": (late, 2),
    "absent": (absent, 2),
    "peer_killed": (peer_killed, 2),
    "first_killed": (first_killed, 2),
    "one_host": (one_host, 2),
}


def _rank(case: str, folder: Path, epoch_ns: int) -> None:

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    CASES[case][0](folder, epoch_ns)


def main() -> None:
    import_module("torch._dynamo")  # optimizers need it: once, before the forks
    for case, (_, ranks) in CASES.items():
        sys.stderr.write(f"== {case}\n")
        sys.stderr.flush()
        folder = Path(sys.argv[1]) / case
        folder.mkdir()
        epoch_ns = time.perf_counter_ns()
        environment = {clocks.SWITCH: "always", "SCALEPROF_RUN_ID": "clocks", "OMP_NUM_THREADS": "1"}
        failures = fork_ranks(partial(_rank, case, folder, epoch_ns), ranks, environment=environment, timeout_s=30)
        truth = {"epoch_ns": epoch_ns, "failures": {failure.rank: failure.reason for failure in failures}}
        (folder / "truth.json").write_text(json.dumps(truth))


if __name__ == "__main__":
    main()
