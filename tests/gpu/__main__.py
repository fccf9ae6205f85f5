"""Record the jobs of `jobs.py` on this machine's GPU: `python -m tests.gpu FOLDER [NAME ...]`."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from scaleprof.launch.study import record_run, say
from tests.gpu.jobs import CAUSES, DISTRIBUTED_STEPS, STEPS, cause, compiled, distributed, sweep

TIMEOUT_S = 40.0

_LEVELS = {
    "late": ("timeline", "full"),
    "ddp": ("light", "timeline"),
    "fp16": ("timeline",),
    "work": ("full",),
    "fsdp2": ("full",),
}


def jobs(folder: str) -> dict[str, tuple[Callable[[], None], int]]:
    """What can be recorded, by name, and on how many ranks."""
    found: dict[str, tuple[Callable[[], None], int]] = {
        f"gpu-{name}": (partial(cause, name, folder), 1) for name in CAUSES
    }
    found["gpu-compile"] = (partial(compiled, folder), 1)
    found["nccl-sweep"] = (partial(sweep, folder), 2)
    for name, levels in _LEVELS.items():
        for level in levels:
            found[f"nccl-{name}-{level}"] = (partial(distributed, name, level, folder), 2)
    return found


def main() -> int:
    """Record the jobs that are named, or all."""
    folder, *names = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    ended = True
    for name, (train, ranks) in jobs(folder).items():
        if not names or name in names:
            ended &= record_run(
                train,
                ranks,
                None,
                label=name,
                name=name,
                series=name,
                steps=DISTRIBUTED_STEPS if ranks > 1 else STEPS,
                timeout_s=TIMEOUT_S,
            )
    say("all ended" if ended else "some failed")
    return 0 if ended else 1


if __name__ == "__main__":
    sys.exit(main())
