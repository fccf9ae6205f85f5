"""Run one training script at several world sizes with torchrun, each recorded as a run of one series.

A size that fails costs that size: the others still run, and what happened is said. The script needs a `scaleprof.profile` somewhere; where
it records to is decided here, through the environment, whatever the script says.
"""

import importlib.util
import os
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaleprof.errors import BrokenFile, LaunchError, MissingPackage, OptionError
from scaleprof.launch.processes import run_command
from scaleprof.run import RUN_FILE, read_run_info

_SHOWN_LINES = 10


@dataclass(frozen=True)
class SizeFailure:
    """A world size that did not give a usable recording."""

    ranks: int
    reason: str
    """One sentence."""
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """What a sweep recorded: run folders in order of world size, and the sizes that are missing."""

    name: str
    runs: tuple[Path, ...]
    failures: tuple[SizeFailure, ...] = ()


def world_sizes(text: str) -> tuple[int, ...]:
    """The sizes in `1,2,4`, ascending."""
    try:
        sizes = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise OptionError(f"--ranks takes whole numbers with commas between, like 1,2,4, not {text!r}") from error
    if sizes[0] < 1:
        raise OptionError(f"--ranks takes numbers from 1, not {sizes[0]}")
    return sizes


def sweep(
    command: Sequence[str],
    sizes: Sequence[int],
    *,
    out: Path,
    name: str | None = None,
    on_line: Callable[[int, str], None] | None = None,
) -> Sweep:
    """Run `command` (a script and its arguments) once per world size; `on_line` gets the size and each line that the job writes."""
    _check(command)
    series = name or _series_of(command)
    runs: list[Path] = []
    failures: list[SizeFailure] = []
    for size in sizes:
        found, failure = _run_size(command, size, out=out, series=series, on_line=on_line)
        runs += found
        failures += [failure] if failure else []
    if not runs:
        raise LaunchError(_nothing_recorded(failures))
    return Sweep(series, tuple(runs), tuple(failures))


def _check(command: Sequence[str]) -> None:
    if not command:
        raise OptionError("sweep needs a training script after --, like: scaleprof sweep --ranks 1,2,4 -- train.py")
    if importlib.util.find_spec("torch") is None:
        raise MissingPackage("torch", "torch", "sweep")
    if command[0] != "-m" and not Path(command[0]).is_file():
        raise LaunchError(f"{command[0]}: there is no such training script")
    if command[0] == "-m" and len(command) < 2:
        raise OptionError("-m needs the name of a module after it")


def _series_of(command: Sequence[str]) -> str:
    text = command[1].rpartition(".")[2] if command[0] == "-m" else Path(command[0]).stem
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "sweep"


def _run_size(
    command: Sequence[str], size: int, *, out: Path, series: str, on_line: Callable[[int, str], None] | None
) -> tuple[list[Path], SizeFailure | None]:
    """The run folders that one size recorded, or why it recorded none that can be used."""
    run_id = f"{series}-{size}-{secrets.token_hex(4)}"
    settings = {
        **os.environ,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "PYTHONUNBUFFERED": "1",
        "SCALEPROF_DIR": str(out.absolute()),
        "SCALEPROF_SERIES": series,
        "SCALEPROF_NAME": series,
        "SCALEPROF_RUN_ID": run_id,
    }
    before = _run_folders(out)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    handler = (lambda line: on_line(size, line)) if on_line else None
    ended = run_command([*torchrun, *command], environment=settings, on_line=handler)
    recorded = sorted(folder for folder in _run_folders(out) - before if _is_of(folder, run_id))
    if ended.exit_code != 0:
        kept = f"; what it recorded stays in {recorded[0]}, outside the report" if recorded else ""
        reason = f"{_ranks(size)} ended with exit code {ended.exit_code}{kept}"
        return [], SizeFailure(size, reason, ended.last_lines[-_SHOWN_LINES:])
    if not recorded:
        return [], SizeFailure(size, f"{_ranks(size)} ended well but recorded nothing{_why_nothing()}")
    return recorded, None


def _run_folders(out: Path) -> set[Path]:
    return {file.parent for file in out.glob(f"*/{RUN_FILE}")}


def _is_of(folder: Path, run_id: str) -> bool:
    """Whether a folder belongs to the job just run: others may record into the same place at the same time."""
    try:
        recorded = read_run_info(folder / RUN_FILE).run_id or ""
    except BrokenFile:
        return False
    return run_id in recorded or run_id in folder.name


def _why_nothing() -> str:
    if os.environ.get("SCALEPROF") == "0":
        return ", because SCALEPROF=0 is set in the environment"
    return ": put scaleprof.profile around the training loop of the script"


def _nothing_recorded(failures: Sequence[SizeFailure]) -> str:
    first = failures[0]
    said = "".join(f"\n  {line}" for line in first.last_lines)
    rest = f" (and so at {len(failures) - 1} other sizes)" if len(failures) > 1 else ""
    return f"no size gave a recording: {first.reason}{rest}{said}"


def _ranks(size: int) -> str:
    return "1 rank" if size == 1 else f"{size} ranks"
