"""Runs a command as a process of its own and says what it took, with all that it started; and the words that every table here needs.

Only the standard library is imported: the peak memory that the kernel reports of a process begins with that of its launcher.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

BUILD = Path(__file__).resolve().parent.parent / "build" / "bench"
"""Everything that benchmarks make: inputs, environments, tables."""
_LOOK_S = 0.05
_TICK_S = 0.005


@dataclass(frozen=True)
class Measured:
    """What one run of a command took."""

    cpu_s: float
    """User and system time of the process and of all its descendants that ended before it."""
    wall_s: float
    peak_mb: float
    """Of the largest single process, as the kernel counted it."""
    tree_mb: float
    """Of all its processes together, memory that they share counted once: looked at 20 times a second, so a short peak may be missed."""
    output: str
    """What it printed."""


def measured(words: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Measured:
    """Runs the command to its end. CalledProcessError where it fails, with what it said."""
    # Idle threads of OpenBLAS spin: without this the CPU time of any process that loads numpy, ours or a peer's, depends on the number of cores.
    environment = {**(environment or os.environ), "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        began = time.perf_counter()
        process = subprocess.Popen([str(word) for word in words], stdout=said, stderr=complained, env=environment)
        together_kb, looked = 0, began
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            if time.perf_counter() - looked >= _LOOK_S:
                together_kb, looked = max(together_kb, _together_kb(process.pid)), time.perf_counter()
            time.sleep(_TICK_S)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complained.seek(0)
        if process.returncode:
            sys.stderr.write(complained.read()[-4000:])
            raise subprocess.CalledProcessError(process.returncode, process.args)
        peak_mb = usage.ru_maxrss * 1024 / 1e6
        return Measured(
            usage.ru_utime + usage.ru_stime, wall_s, peak_mb, max(peak_mb, together_kb * 1024 / 1e6), said.read()
        )


def _together_kb(pid: int) -> int:
    """The memory of a process and its descendants, shared pages counted once; 0 for a process alone, which the kernel counts better."""
    tree = list(_descendants(pid))
    return sum(map(_share_kb, tree)) if len(tree) > 1 else 0


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        children = [Path(f"/proc/{pid}/task/{thread}/children").read_text().split() for thread in threads]
    except OSError:  # it has ended meanwhile
        return
    for child in (int(child) for of_thread in children for child in of_thread):
        yield from _descendants(child)


def _share_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def compile_as_installed() -> None:
    """Modules are compiled when a package is installed, and after each change of a checkout: not a part of what is measured."""
    package = BUILD.parent.parent / "scaleprof"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-m", "compileall", "-q", package], check=True, env=environment)


@contextmanager
def unseen(files: Sequence[Path]) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder with the files under a new path, and an environment with an empty cache: nothing that an earlier run kept can help."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="unseen-") as name:
        folder = Path(name) / "traces"
        folder.mkdir()
        for file in files:
            os.link(file, folder / file.name)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SCALEPROF_")}
        yield folder, {**environment, "XDG_CACHE_HOME": str(Path(name) / "cache")}


def analyze(traces: Path, environment: Mapping[str, str]) -> Measured:
    """`scaleprof analyze` of a folder, all analyses, the report as JSON beside it."""
    report = traces.parent / "report.json"
    command: list[str | Path] = [sys.executable, "-m", "scaleprof", "analyze", traces, "--json", report, "-q"]
    taken = measured(command, environment)
    if not report.stat().st_size:
        raise RuntimeError(f"{traces}: the report is empty")
    return taken


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * (width - 1) + ":") if place else "-" * width for place, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def number(value: float) -> str:
    """A number in three digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """The median, and the least and the most where there are several."""
    if len(values) == 1:
        return number(values[0])
    return f"{number(median(values))} ({number(min(values))}-{number(max(values))})"


def verdict(what: str, value: float, goal: float, unit: str = "") -> str:
    """One line that says whether a goal is reached; more is better."""
    return f"- {what}: {number(value)}{unit}, goal at least {number(goal)}{unit}: {'reached' if value >= goal else 'MISSED'}"


def at_most(what: str, value: float, goal: float, unit: str = "") -> str:
    """One line that says whether a bound is kept."""
    return (
        f"- {what}: {number(value)}{unit}, goal at most {number(goal)}{unit}: {'kept' if value <= goal else 'MISSED'}"
    )


def machine(packages: Sequence[str]) -> str:
    """What measured: processor, cores, Python and packages, and how busy it is now."""
    model = "unknown processor"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        model = platform.processor() or model
    versions = ", ".join(f"{package} {_version(package)}" for package in packages)
    return (
        f"{os.cpu_count()} cores, {model}, {platform.system()}; Python {platform.python_version()}, {versions}; "
        f"load {os.getloadavg()[0]:.1f} of {os.cpu_count()} in the last minute"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
