"""Runs the job under `horovodrun`, and reads what it recorded."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from scaleprof.pipeline import Options, analyze
from scaleprof.readers import find_runs, read_rank
from scaleprof.results import Report
from scaleprof.run import Run
from scaleprof.trace import Trace

ROOT = Path(__file__).parents[2]
PATIENCE_S = 100


def train(
    folder: Path, ranks: int, *arguments: str, environment: Mapping[str, str] | None = None, check: bool = True
) -> str:
    """Run the job on so many ranks of this host; what it wrote to its output."""
    command = ("-m", "tests.horovod.job", str(folder), *arguments)
    return horovodrun(ranks, *command, environment=environment, check=check)


def horovodrun(
    ranks: int, *arguments: str, folder: Path = ROOT, environment: Mapping[str, str] | None = None, check: bool = True
) -> str:
    """Run a script of this Python on so many ranks of this host."""
    bin = Path(sys.executable).parent
    settings = {name: value for name, value in os.environ.items() if not name.startswith("SCALEPROF")}
    settings |= {"PATH": f"{bin}{os.pathsep}{settings['PATH']}", "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})}
    command = [str(bin / "horovodrun"), "-np", str(ranks), "-H", f"localhost:{ranks}"]
    command += ["python", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=settings, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    output = done.stdout + done.stderr
    assert not check or done.returncode == 0, output[-4000:]
    return output


def recorded(folder: Path) -> tuple[Run, list[Trace]]:
    """The only run in a folder, and the traces of its ranks."""
    (run,) = find_runs([folder])
    return run, [read_rank(run.ranks[rank]) for rank in sorted(run.ranks)]


def report_on(folder: Path) -> Report:
    """What an analysis makes of it."""
    return analyze([folder], options=Options(engine="serial", use_cache=False))


def bytes_by_step(trace: Trace) -> list[int]:
    """What this rank sent in each step; broadcasts, which come before the first one's gradients, left out."""
    step = np.searchsorted(trace.steps.start_ns, trace.comm.issued_ns, side="right") - 1
    reduced = np.array([op == "all_reduce" for op in trace.comm.op])
    return [int(trace.comm.bytes[(step == number) & reduced].sum()) for number in range(len(trace.steps))]
