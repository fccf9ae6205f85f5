"""What recording adds to a step: data-parallel training on two ranks over gloo, with and without the recorder, in blocks that take turns.

`.venv/bin/python -m benchmarks.overhead [--rounds 10]` prints a Markdown table. Every rank goes through the same blocks in the same order, so a
block is compared with the bare one of its own round. In each block the first steps are left out: profilers start there.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import scaleprof
from benchmarks.measuring import machine
from scaleprof.launch.ranks import fork_ranks

RANKS, STEPS, LEFT_OUT = 2, 60, 20
BARE = "nothing"
_WINDOWS = scaleprof.Windows(skip=2, steps=STEPS)


def _recorded(folder: Path, level: str) -> AbstractContextManager[object]:
    return scaleprof.profile(folder, level=level, windows=_WINDOWS, measure_cost=False)  # type: ignore[arg-type]


def _arms(folder: Path) -> dict[str, Callable[[], AbstractContextManager[object]]]:
    activities = [torch.profiler.ProfilerActivity.CPU]
    return {
        BARE: nullcontext,
        "light": partial(_recorded, folder, "light"),
        "timeline": partial(_recorded, folder, "timeline"),
        "full": partial(_recorded, folder, "full"),
        "torch.profiler, same options as full": partial(
            torch.profiler.profile, activities=activities, record_shapes=True
        ),
        "nothing, once more": nullcontext,
    }


def _job(width: int) -> Callable[[], None]:
    """One step of the training that everything here is measured on."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    layers = [layer for _ in range(6) for layer in (torch.nn.Linear(width, width), torch.nn.GELU())]
    model = DistributedDataParallel(torch.nn.Sequential(*layers), bucket_cap_mb=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    inputs = torch.randn(64, width)

    def step() -> None:
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()

    return step


def _train(folder: Path, rounds: int, width: int) -> None:
    train = _job(width)

    def step() -> tuple[float, float]:
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        train()
        return (time.perf_counter_ns() - wall) / 1e6, (time.thread_time_ns() - cpu) / 1e6

    arms = _arms(folder / "traces")
    names = list(arms)
    found: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in names}
    for number in range(-1, rounds):
        for place in range(len(names)):
            name = names[(place + number) % len(names)]
            with arms[name]():
                times = [step() for _ in range(STEPS)]
            if number >= 0:  # the first round warms up
                found[name].append(times[LEFT_OUT:])
        dist.barrier()
        if dist.get_rank() == 0:
            shutil.rmtree(folder / "traces", ignore_errors=True)
        dist.barrier()
    (folder / f"{dist.get_rank()}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def _gaps(folder: Path, name: str, part: int) -> Iterator[float]:
    """Of each round: the mean over steps and ranks, against that of the bare block, minus one. `part` is 0 for wall, 1 for CPU time."""
    ranks = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(RANKS)]
    for blocks in zip(*(rank[kind] for rank in ranks for kind in (name, BARE)), strict=True):
        mine, bare = blocks[0::2], blocks[1::2]
        yield _mean(mine, part) / _mean(bare, part) - 1


def _mean(blocks: tuple[list[list[float]], ...], part: int) -> float:
    return statistics.fmean(step[part] for block in blocks for step in block)


def _interval(gaps: list[float]) -> tuple[float, float, float]:
    """Median with the 95 % interval of a bootstrap over rounds."""
    values = np.array(gaps)
    draws = np.random.default_rng(0).choice(values, (4000, len(values)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return float(np.median(values)), float(low), float(high)


def _train_long(folder: Path, level: str, width: int) -> None:
    """A training that is long enough to measure its own cost."""
    step = _job(width)
    with scaleprof.profile(folder, level=level):  # type: ignore[arg-type]
        for _ in range(160):
            step()
    dist.destroy_process_group()


def _own_words(folder: Path, level: str, trainings: int, width: int) -> str:
    """What recordings say of themselves: their blocks of steps with and without hooks lie side by side, agreed by number on both ranks."""
    found: dict[str, list[float]] = {"step_share": [], "step_ms": [], "cpu_ms": []}
    for number in range(trainings):
        place = folder / f"own-{level}-{number}"
        settings = {"SCALEPROF_RUN_ID": f"{level}-{number}"}
        fork_ranks(partial(_train_long, place, level, width), RANKS, environment=settings, timeout_s=300)
        said = [json.loads(file.read_text())["overhead"] for file in place.glob("*/rank-*/rank.json")]
        for name, values in found.items():
            values.append(statistics.fmean(one[name] for one in said))
    share, low, high = _interval(found["step_share"])
    cells = [f"{share:+.1%}", f"{low:+.1%} to {high:+.1%}"]
    for name in ("step_ms", "cpu_ms"):
        middle, low, high = _interval(found[name])
        cells += [f"{middle:+.2f} ms", f"{low:+.2f} to {high:+.2f}"]
    return f"| {level} | {' | '.join(cells)} |"


def _additive_us(folder: Path, level: str) -> tuple[float, float]:
    """CPU time that one boundary of a step takes, and what a backward pass takes more, in us: what the recorder costs, whatever the step.

    At level `timeline` with what its windows cost when they are opened and saved.
    """
    weight = torch.ones(1, requires_grad=True)

    def backward_us(times: int) -> float:
        began = time.thread_time()
        for _ in range(times):
            (weight * 2).sum().backward()
        return (time.thread_time() - began) / times * 1e6

    backward_us(500)
    bare = backward_us(3000)
    with scaleprof.profile(folder, level=level, windows=_WINDOWS, measure_cost=False, sample_hz=0):  # type: ignore[arg-type]
        for _ in range(20):
            scaleprof.step()
        began = time.thread_time()
        for _ in range(3000):
            scaleprof.step()
        boundary = (time.thread_time() - began) / 3000 * 1e6
        recorded = backward_us(3000)
    return boundary, recorded - bare


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--width", type=int, default=512, help="of the layers; 512 makes steps of some 30 ms on one core"
    )
    parser.add_argument("--trainings", type=int, default=10, help="that measure their own cost, at each level")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="overhead-"))
    sys.stdout.write(f"{machine(('torch',))}\n\n")
    train = partial(_train, folder, options.rounds, options.width)
    failures = fork_ranks(train, RANKS, environment={"SCALEPROF_RUN_ID": "overhead"}, timeout_s=1800)
    if failures:
        sys.exit("; ".join(f"rank {failure.rank} {failure.reason}" for failure in failures))
    names = list(json.loads((folder / "0.json").read_text()))
    bare = [step[0] for block in json.loads((folder / "0.json").read_text())[BARE] for step in block]
    rows = [f"bare step: {statistics.median(bare):.1f} ms (median), {RANKS} ranks, {options.rounds} rounds", ""]
    rows += ["| recorded | wall time a step | 95 % | CPU time of the training thread | 95 % |", "|---|---|---|---|---|"]
    for name in names[1:]:
        cells = []
        for part in (0, 1):
            middle, low, high = _interval(list(_gaps(folder, name, part)))
            cells += [f"{middle:+.1%}", f"{low:+.1%} to {high:+.1%}"]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    rows += [
        "",
        "| by itself | share of a bare step | 95 % | wall time | 95 % | CPU time | 95 % |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [_own_words(folder, level, options.trainings, options.width) for level in ("light", "timeline")]
    rows += ["", "| alone, us of CPU time | boundary of a step | more for a backward pass |", "|---|---|---|"]
    for level in ("light", "timeline"):
        boundary, more = _additive_us(folder / "alone", level)
        rows.append(f"| {level} | {boundary:.0f} | {more:.0f} |")
    sys.stdout.write("\n".join(rows) + "\n")
    shutil.rmtree(folder)


if __name__ == "__main__":
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    main()
