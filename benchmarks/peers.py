"""A whole analysis as a process, ours and Holistic Trace Analysis (HTA), in turn: CPU seconds and peak memory from start-up to the last result.

HTA does what its users do for a first answer: load, temporal breakdown, overlap of communication and compute, idle time. `scaleprof analyze --json`
does all analyses that there are, without anything kept from an earlier run. HTA lives in an environment of its own, which is made first.
"""

import argparse
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from inputs import Input, made
from measuring import (
    BUILD,
    Measured,
    analyze,
    at_most,
    compile_as_installed,
    machine,
    measured,
    number,
    spread,
    table,
    unseen,
    verdict,
)

ENVIRONMENT = BUILD / "hta-venv"
REQUIRED = ("HolisticTraceAnalysis==0.5.0", "pandas<3")
"""HTA 0.5.0 does not know pandas 3, in which its critical path fails."""
MEMORY_PART = 0.1
_READY = "installed"
_HTA = """
import sys
from hta.trace_analysis import TraceAnalysis
files = dict(enumerate(sys.argv[1:]))
trace = TraceAnalysis(trace_files=files, trace_dir="/")
results = [
    trace.get_temporal_breakdown(visualize=False),
    trace.get_comm_comp_overlap(visualize=False),
    trace.get_idle_time_breakdown(visualize=False),
]
assert len(results[0]) == len(files), results[0]
"""
_VERSIONS = "from importlib.metadata import version as v; print(', '.join(f'{p} {v(p)}' for p in ('HolisticTraceAnalysis', 'pandas', 'numpy')))"


@dataclass(frozen=True)
class Case:
    """One size, how often it is measured, and how much less CPU we want to need."""

    megabytes: int
    ranks: int
    rounds: int
    goal: float
    is_long: bool = False
    """Takes minutes: measured where it is asked for."""


CASES = (Case(50, 1, 3, 6.0), Case(50, 8, 2, 12.0), Case(500, 1, 1, 30.0, is_long=True))


def peer_python() -> Path:
    """The Python that has HTA; its environment is made where it is not there yet."""
    python, ready = ENVIRONMENT / "bin" / "python", ENVIRONMENT / _READY
    wanted = "\n".join(REQUIRED)
    if not ready.exists() or ready.read_text() != wanted:
        print(f"making {ENVIRONMENT} ...", file=sys.stderr, flush=True)
        if not python.exists():
            venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIRED], check=True
        )
        ready.write_text(wanted)
    return python


def compared(given: Input, rounds: int) -> tuple[list[Measured], list[Measured]]:
    """What we took and what HTA took, round by round."""
    python = peer_python()
    ours, theirs = [], []
    for _ in range(rounds):
        with unseen(given.packed) as (traces, environment):
            ours.append(analyze(traces, environment))
        theirs.append(measured([python, "-c", _HTA, *given.packed]))
    return ours, theirs


def as_table(ours: Sequence[Measured], theirs: Sequence[Measured]) -> str:
    """A line each: medians, with the least and the most."""
    rows = [
        [
            name,
            spread([run.cpu_s for run in runs]),
            spread([run.wall_s for run in runs]),
            number(median(run.peak_mb for run in runs)),
            number(median(run.tree_mb for run in runs)),
        ]
        for name, runs in (("scaleprof analyze --json", ours), ("HTA load + 3 analyses", theirs))
    ]
    return table(["whole process", "CPU s", "wall s", "peak MB, largest process", "peak MB, all processes"], rows)


def goals(case: Case, ours: Sequence[Measured], theirs: Sequence[Measured]) -> list[str]:
    """Whether what was wanted is reached; ratios are those of each round, the median of them."""
    pairs = list(zip(ours, theirs, strict=True))
    lines = [verdict("times less CPU than HTA", median(b.cpu_s / a.cpu_s for a, b in pairs), case.goal, "x")]
    memory = median(a.tree_mb / b.tree_mb for a, b in pairs)
    if case.is_long:
        return [*lines, at_most("part of HTA's peak memory", memory, MEMORY_PART)]
    return [*lines, f"- part of HTA's peak memory: {number(memory)}"]


def main() -> None:
    """Print a table for each case, and keep them in `build/bench/peers.md`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="also 500 MB, which takes HTA minutes and 3 GB of memory")
    parser.add_argument("--rounds", type=int, help="of each size, instead of the usual number")
    given = parser.parse_args()
    compile_as_installed()
    versions = subprocess.run(
        [peer_python(), "-c", _VERSIONS], check=True, capture_output=True, text=True
    ).stdout.strip()
    parts = [f"# Beside HTA\n\n{machine(('scaleprof', 'numpy', 'msgspec', 'isal'))}\nHTA's environment: {versions}\n"]
    print(parts[0])
    for case in CASES:
        if case.is_long and not given.large:
            continue
        job, rounds = made(case.megabytes, ranks=case.ranks), given.rounds or case.rounds
        ours, theirs = compared(job, rounds)
        title = f"## {case.ranks} x {case.megabytes} MB, .json.gz"
        lines = [title, "", f"{job}; rounds: {rounds}", "", as_table(ours, theirs), "", *goals(case, ours, theirs), ""]
        parts.append("\n".join(lines))
        print(parts[-1], flush=True)
    (BUILD / "peers.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
