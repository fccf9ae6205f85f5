"""Records the samples of Horovod: `make samples-horovod`, in the environment of `make test-horovod`."""

import shutil
import sys
from pathlib import Path

from tests.horovod.running import train

JOBS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("horovod-strong", 1, ()),
    ("horovod-strong", 2, ()),
    ("horovod-strong", 4, ()),
    ("horovod-fp16", 2, ("--fp16",)),
    ("horovod-late", 4, ("--late-rank", "2", "--late-ms", "150")),
)
"""Name, ranks, and what else is asked of the job. 800 ms of compute a step in all, shared by the ranks."""
SHAPE = ("--steps", "12", "--ms-per-sample", "200")


def main(folder: Path) -> None:
    for old in folder.glob("horovod-*"):
        shutil.rmtree(old)
    for name, ranks, arguments in JOBS:
        train(folder, ranks, "--name", name, *SHAPE, *arguments, "--shut-down")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
