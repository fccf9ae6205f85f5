"""Record a small honest study: one job at several world sizes, strong and weak, compute emulated and communication real.

`python -m scaleprof.launch.study --out FOLDER` is a process of its own, because it forks its ranks after importing torch once. It writes one
line for each run it has recorded, and ends with exit code 1 if a run failed. With `--link` the ranks talk over a slow network of
namespaces; where that cannot be made it says why and uses the machine's loopback.
"""

import argparse
import dataclasses
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from scaleprof.errors import ScaleprofError
from scaleprof.launch.network import Network, refusal, slow_network
from scaleprof.launch.ranks import Failure, fork_ranks

if TYPE_CHECKING:
    from scaleprof.launch.demo_job import Job

_TERMINATED = 143


@dataclass(frozen=True)
class Study:
    """What a study records; the defaults are those of `sample_traces/`."""

    out: Path
    name: str = "emulated-ddp"
    ranks: tuple[int, ...] = (1, 2, 4)
    steps: int = 15
    step_ms: float = 400.0
    """The compute of a step at the largest world size, and of every weak step."""
    gradient_mb: float = 6.4
    link: str = ""
    """The rate of the network between ranks, e.g. `200mbit`; empty for the machine's loopback."""
    redact: bool = False

    def jobs(self) -> Iterator[tuple["Job", int]]:
        """Every run: the job and its world size."""
        from scaleprof.launch.demo_job import Job

        largest = max(self.ranks)
        weak = Job(
            mode="weak",
            batch=4,
            steps=self.steps,
            ms_per_sample=self.step_ms / 4,
            gradient_mb=self.gradient_mb,
            folder=str(self.out),
            redact=self.redact,
        )
        strong = dataclasses.replace(weak, mode="strong", batch=weak.batch * largest)
        for job in (strong, weak):
            for size in self.ranks:
                yield dataclasses.replace(job, name=f"{self.name}-{job.mode}"), size


def record(study: Study) -> bool:
    """Record every run of a study; False if one failed. Progress goes to standard output, one line a run."""
    # DistributedDataParallel imports this when it is made: two seconds, once before the forks instead of in every rank.
    import_module("torch._dynamo")
    with network_of(study.link, max(study.ranks)) as network:
        outcomes = [_record_run(job, size, network) for job, size in study.jobs()]
    return all(outcomes)


@contextmanager
def network_of(link: str, ranks: int) -> Iterator[Network | None]:
    """A network of namespaces with this rate between so many ranks; None, with the reason said, where there is none."""
    reason = refusal() if link else ""
    if reason:
        say(f"no slow network: {reason}; the ranks talk over the loopback interface")
    if not link or reason:
        yield None
        return
    with slow_network(ranks, rate=link) as network:
        yield network


def _record_run(job: "Job", size: int, network: Network | None) -> bool:
    from scaleprof.launch.demo_job import train

    return record_run(
        partial(train, job), size, network, label=job.mode, name=job.name, series=job.name, steps=job.steps
    )


def record_run(
    train: Callable[[], None],
    size: int,
    network: Network | None,
    *,
    label: str,
    name: str,
    series: str,
    steps: int,
    timeout_s: float = 120.0,
) -> bool:
    """Record one run on so many forked ranks; False if one failed. What became of it is said."""
    began = time.monotonic()
    settings = {
        "OMP_NUM_THREADS": "1",
        "SCALEPROF_RUN_ID": f"{name}-{size}-{uuid.uuid4().hex[:8]}",
        "SCALEPROF_SERIES": series,
    }
    failures = fork_ranks(train, size, environment=settings, network=network, timeout_s=timeout_s)
    took_s = time.monotonic() - began
    say(f"{label:6s} {size} {'rank ' if size == 1 else 'ranks'}  {_outcome(failures, steps, took_s)}")
    return not failures


def _outcome(failures: Sequence[Failure], steps: int, took_s: float) -> str:
    if failures:
        return "failed: " + ", ".join(f"rank {failure.rank} {failure.reason}" for failure in failures)
    return f"{steps} steps in {took_s:.1f} s"


def say(line: str) -> None:
    """A line for whoever started the study."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _study(arguments: Sequence[str] | None = None) -> Study:
    parser = argparse.ArgumentParser(description="Record a data-parallel study whose compute is emulated.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default=Study.name)
    parser.add_argument("--ranks", type=lambda text: tuple(int(size) for size in text.split(",")), default=Study.ranks)
    parser.add_argument("--steps", type=int, default=Study.steps)
    parser.add_argument("--step-ms", type=float, default=Study.step_ms)
    parser.add_argument("--gradient-mb", type=float, default=Study.gradient_mb)
    parser.add_argument("--link", default=Study.link)
    parser.add_argument("--redact", action="store_true")
    return Study(**vars(parser.parse_args(arguments)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Record the study that the arguments describe; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # so that ranks and namespaces are cleared away
    # Set before torch is imported: in a namespace addresses have no names, and torch would warn of each.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    for variable in ("SCALEPROF", "SCALEPROF_DIR", "SCALEPROF_NAME"):
        os.environ.pop(variable, None)  # a study records what it says, wherever its caller records
    try:
        return 0 if record(_study(arguments)) else 1
    except ScaleprofError as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
