"""Jobs that something goes wrong in, each a function that lives in a process of its own (`harm.py`)."""

import contextlib
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

import scaleprof
from scaleprof.launch.ranks import fork_ranks

NOBODY = 65534
Happens = Mapping[int, Callable[[], object]]


def say(*words: object) -> None:
    """The output of a job, at once: it may be killed."""
    sys.stdout.flush()
    os.write(sys.stdout.fileno(), (" ".join(map(str, words)) + "\n").encode())  # at once: two ranks share the pipe


def train(steps: int, happens: Happens, *, group: bool = False) -> None:
    """Small training that says its loss at every step; at some steps something happens between backward and optimizer."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for number in range(steps):
        optimizer.zero_grad()
        loss = model(torch.randn(4, 16)).square().mean()
        loss.backward()
        if number in happens:
            happens[number]()
        if group:
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad)
        optimizer.step()
        say(number, loss.item().hex())


def recorded(folder: Path, steps: int, happens: Happens | None = None) -> None:
    """The training, recorded with a window from step 3 on."""
    scaleprof.profile(folder, windows=scaleprof.Windows(skip=2), sample_hz=20)(train)(steps, happens or {})


def _full_disk(folder: Path, *, room_again: bool) -> None:
    """No file can grow beyond 6 kB from step 12 on; a full disk gives the same error to the same call."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    def limit(most: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))

    happens: dict[int, Callable[[], object]] = {12: partial(limit, 6_000)}
    if room_again:
        happens[60] = partial(limit, hard)
    recorded(folder, 70, happens)


def _no_space_left(folder: Path) -> None:
    """A file system of 200 kB, which something else fills at step 20."""

    def fill() -> None:
        with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        with contextlib.suppress(OSError), (folder / "filler").open("ab", buffering=0) as file:
            while file.write(b"x"):
                pass

    recorded(folder, 300, {20: fill})


def _below_a_file(folder: Path) -> None:
    (folder / "file").write_text("not a folder")
    recorded(folder / "file" / "below", 12)


def _read_only(folder: Path) -> None:
    (folder / "traces").mkdir(mode=0o555)
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    recorded(folder / "traces", 12)


def _removed(folder: Path) -> None:
    """Somebody cleans up while the job runs."""
    recorded(folder / "traces", 30, {12: lambda: shutil.rmtree(folder / "traces", ignore_errors=True)})


def _their_profiler(folder: Path, *, before: bool) -> None:
    events = []

    def start() -> None:
        theirs = torch.profiler.profile()
        theirs.start()
        events.append(theirs)

    def stop() -> None:
        (theirs,) = events
        theirs.stop()
        say("their events:", any(event.name == "Optimizer.step#SGD.step" for event in theirs.events()))

    if before:
        start()
    recorded(folder, 20, {10: stop} if before else {8: start, 12: stop})


def _raw_profiler(folder: Path) -> None:
    """A profiler started behind everybody's back in the middle of a window, as extensions do; saving what is lost would crash."""
    from torch._C._profiler import ProfilerConfig, ProfilerState, _ExperimentalConfig
    from torch.profiler import ProfilerActivity

    config = ProfilerConfig(ProfilerState.KINETO, False, False, False, False, False, _ExperimentalConfig())

    def start() -> None:
        with contextlib.suppress(RuntimeError):  # without ours there is nothing to stop
            torch._C._autograd._disable_profiler()
        torch._C._autograd._prepare_profiler(config, {ProfilerActivity.CPU})
        torch._C._autograd._enable_profiler(config, {ProfilerActivity.CPU})

    recorded(folder, 20, {8: start, 12: lambda: torch._C._autograd._disable_profiler()})


def _signalled(folder: Path, number: signal.Signals) -> None:
    recorded(folder, 20, {9: lambda: os.kill(os.getpid(), number)})


def _handled(folder: Path) -> None:
    def end(*_: object) -> None:
        sys.exit(143)

    signal.signal(signal.SIGTERM, end)
    _signalled(folder, signal.SIGTERM)


def _raises() -> None:
    raise ValueError("boom")


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def _raises_unspeakable() -> None:
    raise _Unspeakable


def _fork(folder: Path, *, exits: bool) -> None:
    """A child that trains on; it leaves by itself, or through everything that the parent has open."""
    children = []

    def fork() -> None:
        children.append(os.fork())
        if children[0] == 0:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  its output is not the job's
            if exits:
                train(3, {})
                os._exit(0)

    recorded(folder, 20, {8: fork})
    if children[0]:
        say("child ended with", os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]))


class _Data(torch.utils.data.Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 48

    def __getitem__(self, place: int) -> torch.Tensor:
        return torch.full((16,), float(place)) @ torch.eye(16)


def _workers(folder: Path) -> None:
    loader = torch.utils.data.DataLoader(_Data(), batch_size=4, num_workers=2)

    def load() -> None:
        say("batches:", sum(float(batch.sum()) for batch in loader))

    recorded(folder, 12, {8: load})


def _one_rank_group() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)


def _second_group(folder: Path) -> None:
    @scaleprof.profile(folder, sample_hz=0)
    def job() -> None:
        for size in (3, 5):
            _one_rank_group()
            dist.all_reduce(torch.ones(size))
            train(3, {}, group=True)
            dist.destroy_process_group()

    job()


def _group_twice(folder: Path) -> None:
    def again() -> None:
        _one_rank_group()
        _one_rank_group()

    recorded(folder, 12, {4: again})


def _peer_killed(folder: Path) -> None:
    """Rank 1 dies in the middle of step 9, in which rank 0 waits for it in an all-reduce."""

    def die() -> None:
        if dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    @scaleprof.profile(folder, windows=scaleprof.Windows(skip=2), sample_hz=0)
    def job() -> None:
        dist.init_process_group("gloo")
        train(20, {9: die}, group=True)

    settings = {"SCALEPROF_RUN_ID": "killed", "OMP_NUM_THREADS": "1"}
    for failure in fork_ranks(job, 2, environment=settings, timeout_s=30):
        say("rank", failure.rank, failure.reason)


CASES: dict[str, Callable[[Path], None]] = {
    "the disk is full from step 12 on": partial(_full_disk, room_again=False),
    "the disk is full and has room again": partial(_full_disk, room_again=True),
    "no space left on a small file system": _no_space_left,
    "the folder lies below a file": _below_a_file,
    "the folder is read-only": _read_only,
    "the folder is removed in mid-job": _removed,
    "a profiler of the user's runs before": partial(_their_profiler, before=True),
    "a profiler of the user's starts in a window": partial(_their_profiler, before=False),
    "a profiler starts behind everybody's back": _raw_profiler,
    "SIGTERM in a step": partial(_signalled, number=signal.SIGTERM),
    "SIGTERM with a handler that exits": _handled,
    "SIGKILL in a step": partial(_signalled, number=signal.SIGKILL),
    "os._exit(7) in a step": lambda folder: recorded(folder, 20, {9: lambda: os._exit(7)}),
    "sys.exit(3) in a step": lambda folder: recorded(folder, 20, {9: lambda: sys.exit(3)}),
    "an exception in a step": lambda folder: recorded(folder, 20, {9: _raises}),
    "an exception without words": lambda folder: recorded(folder, 20, {9: _raises_unspeakable}),
    "a forked child trains and exits": partial(_fork, exits=True),
    "a forked child goes through to the end": partial(_fork, exits=False),
    "workers of a DataLoader in a window": _workers,
    "a second process group": _second_group,
    "init_process_group twice": _group_twice,
    "a peer is killed in an all-reduce": _peer_killed,
}
NEEDS_MOUNT = {"no space left on a small file system"}
