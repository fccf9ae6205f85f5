"""What recording adds to a step on a GPU: one rank, with and without the recorder, in blocks that take turns.

`python -m benchmarks.overhead_gpu [--rounds 8]` prints a Markdown table. Each block is timed as a whole, from one synchronisation with the device
to the next, and compared with the bare block of its own round. In each block the first steps are left out: profilers start there.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import torch

import scaleprof
from benchmarks.measuring import machine

LEFT_OUT = 20
BARE = "nothing"
JOBS = {"device-bound": (32768, 2048), "launch-bound": (64, 128)}
"""Rows and width of the layers."""


def _arms(folder: Path, steps: int) -> dict[str, Callable[[], AbstractContextManager[object]]]:
    def recorded(level: str) -> AbstractContextManager[object]:
        windows = scaleprof.Windows(skip=2, steps=steps)
        return scaleprof.profile(folder, level=level, windows=windows, measure_cost=False)  # type: ignore[arg-type]

    return {
        BARE: nullcontext,
        "light": partial(recorded, "light"),
        "timeline": partial(recorded, "timeline"),
        "full": partial(recorded, "full"),
        "nothing, once more": nullcontext,
    }


def _job(rows: int, width: int) -> Callable[[], None]:
    layers = [layer for _ in range(8) for layer in (torch.nn.Linear(width, width), torch.nn.GELU())]
    model = torch.nn.Sequential(*layers).to("cuda", torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    inputs = torch.randn(rows, width, device="cuda", dtype=torch.bfloat16)

    def step() -> None:
        optimizer.zero_grad()
        model(inputs).float().square().mean().backward()
        optimizer.step()

    return step


def _block_ms(step: Callable[[], None], steps: int, arm: Callable[[], AbstractContextManager[object]]) -> float:
    """Mean time of a step, in ms."""
    with arm():
        for _ in range(LEFT_OUT):
            step()
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(steps - LEFT_OUT):
            step()
        torch.cuda.synchronize()
        return (time.perf_counter() - began) / (steps - LEFT_OUT) * 1e3


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=60, help="in a block")
    parser.add_argument("--only", nargs="*", default=(), help="of light, timeline, full")
    options = parser.parse_args()
    sys.stdout.write(f"{machine(('torch',))}, {torch.cuda.get_device_name()}\n\n")
    sys.stdout.write(
        "| job | bare step, ms | recorded | added to a step: median over rounds | least to most |\n|---|---|---|---|---|\n"
    )
    folder = Path(tempfile.mkdtemp(prefix="overhead-"))
    for job, (rows, width) in JOBS.items():
        step = _job(rows, width)
        arms = _arms(folder, options.steps)
        names = [name for name in arms if name == BARE or not options.only or name in options.only]
        found: dict[str, list[float]] = {name: [] for name in names}
        for number in range(-1, options.rounds):
            for place in range(len(names)):
                name = names[(place + number) % len(names)]
                ms = _block_ms(step, options.steps, arms[name])
                if number >= 0:  # the first round warms up
                    found[name].append(ms)
            shutil.rmtree(folder, ignore_errors=True)
        for name in names[1:]:
            gaps = [mine / bare - 1 for mine, bare in zip(found[name], found[BARE], strict=True)]
            cells = f"{statistics.median(gaps):+.1%} | {min(gaps):+.1%} to {max(gaps):+.1%}"
            sys.stdout.write(f"| {job} | {statistics.median(found[BARE]):.2f} | {name} | {cells} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    main()
