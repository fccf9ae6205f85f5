"""Record the study of strategies: one model, trained with each of torch's strategies at several world sizes, compute emulated, communication real.

`python -m scaleprof.launch.strategies --out FOLDER --link 200mbit`, a process of its own like `study.py`: it forks its ranks. The jobs themselves
stand in `strategy_jobs.py`.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from scaleprof.launch.study import network_of, record_run, say

SERIES = "strategies"
SIZES: dict[str, tuple[int, ...]] = {
    "single": (1,),
    "ddp": (2, 4),
    "ddp-fp16": (2, 4),
    "ddp-powersgd": (2, 4),
    "ddp-syncbn": (2, 4),
    "fsdp2": (2, 4),
    "tp": (2, 4),
    "fsdp2-tp": (4,),
    "pp-gpipe": (2, 4),
    "pp-1f1b": (2, 4),
    "tasks": (1, 2, 4),
}
"""Strategies and the numbers of ranks that each is recorded on; `single` is the one rank that all of them begin with."""
PREFIX = "emulated"
"""The names of the runs begin with it, and go on with the strategy."""
STEPS = 12
_IMPORTED_ONCE = (
    "torch._dynamo", "torch.distributed.fsdp", "torch.distributed.tensor.parallel", "torch.distributed.pipelining", "torch.distributed.device_mesh",
    "torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook",
)  # fmt: skip


def record(
    out: Path,
    wanted: Sequence[str],
    *,
    link: str,
    steps: int,
    ms_per_sample: float,
    redact: bool,
    series: str = SERIES,
    prefix: str = PREFIX,
    ranks: Sequence[int] = (),
) -> bool:
    """Record the wanted strategies at all their sizes, or those among `ranks`; False if a run failed."""
    for module in _IMPORTED_ONCE:
        import_module(module)
    from scaleprof.launch.strategy_jobs import Setting, train

    setting = Setting(folder=str(out), steps=steps, ms_per_sample=ms_per_sample, redact=redact, prefix=prefix)
    ends = []
    with network_of(link, max(max(SIZES[strategy]) for strategy in wanted)) as network:
        for strategy in wanted:
            for size in (size for size in SIZES[strategy] if not ranks or size in ranks):
                name = f"{prefix}-{strategy}"
                named = f"{series}-tasks" if strategy == "tasks" else series
                run = partial(train, strategy, setting)
                ends.append(record_run(run, size, network, label=strategy, name=name, series=named, steps=steps))
    return all(ends)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def main(arguments: Sequence[str] | None = None) -> int:
    """Record the study that the arguments describe; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that ranks and namespaces are cleared away
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    for variable in ("SCALEPROF", "SCALEPROF_DIR", "SCALEPROF_NAME"):
        os.environ.pop(variable, None)
    parser = argparse.ArgumentParser(description="Record one model with each strategy, compute emulated.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--link", default="")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--ms-per-sample", type=float, default=100.0)
    parser.add_argument("--redact", action="store_true")
    parser.add_argument("--series", default=SERIES, help="the name under which the runs are compared")
    parser.add_argument("--prefix", default=PREFIX, help="what the names of the runs begin with")
    parser.add_argument("--ranks", type=_numbers, default=(), help="record on these numbers of ranks alone: 2,4")
    parser.add_argument("strategies", nargs="*", default=list(SIZES), help=f"of {', '.join(SIZES)}; all without any")
    options = parser.parse_args(arguments)
    unknown = set(options.strategies) - set(SIZES)
    if unknown:
        say(f"no strategy is called {', '.join(sorted(unknown))}: there are {', '.join(SIZES)}")
        return 2
    ended = record(
        options.out,
        options.strategies,
        link=options.link,
        steps=options.steps,
        ms_per_sample=options.ms_per_sample,
        redact=options.redact,
        series=options.series,
        prefix=options.prefix,
        ranks=options.ranks,
    )
    return 0 if ended else 1


if __name__ == "__main__":
    sys.exit(main())
