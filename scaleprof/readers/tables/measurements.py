"""Plain tables of measurements: a CSV file with a column of ranks and one of throughput or step time, one row for each measurement.

Columns are known by their names (`NAMES`), or by what the caller says of them. More rows of one size are repeats. Batches, nodes and classes of time
may stand beside them; what names a curve is a series. The delimiter is a comma, a semicolon or a tab, lines that begin with # say nothing, and every
complaint names file and line.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scaleprof.errors import BrokenFile, InputError, OptionError
from scaleprof.remote import AnyPath

MOST_BYTES = 64_000_000
NAMES: Mapping[str, tuple[str, ...]] = {
    "ranks": ("ranks", "n", "gpus", "num_gpus", "n_gpus", "ngpus", "world_size", "num_replicas", "replicas", "workers", "processes", "devices"),
    "throughput": ("throughput", "x", "samples_per_second", "samples_per_s", "samples_per_sec", "images_per_second", "images_per_s", "images_per_sec",
                   "tokens_per_second", "tokens_per_s", "tokens_per_sec", "samples/s", "images/s", "tokens/s", "rate"),
    "step": ("step", "step_time", "step_ms", "step_s", "step_us", "step_time_ms", "step_time_s", "step_time_us", "time", "time_ms", "time_s",
             "iteration_time", "iteration_ms", "iter_time", "iter_ms", "iter_s", "seconds"),
    "nodes": ("nodes", "num_nodes", "n_nodes", "hosts"),
    "local_batch": ("local_batch", "local_bsz", "local_batch_size", "batch_per_rank", "batch_per_gpu", "per_gpu_batch"),
    "global_batch": ("global_batch", "global_bsz", "global_batch_size", "batch", "batch_size"),
    "compute": ("compute", "compute_ms", "compute_s", "compute_us", "compute_time"),
    "transfer": ("transfer", "transfer_ms", "transfer_s", "transfer_us", "exposed_transfer_ms"),
    "wait": ("wait", "wait_ms", "wait_s", "wait_us", "exposed_wait_ms"),
    "untold": ("sync_time", "sync_ms", "sync_s", "communication", "communication_ms", "communication_s", "comm_time", "comm_ms", "comm_s"),
    "bubble": ("bubble", "bubble_ms", "bubble_s"),
    "memory": ("memory", "memory_ms", "memory_s", "copies_ms"),
    "idle": ("idle", "idle_ms", "idle_s"),
}  # fmt: skip
"""What a column may be, with the names by which it is known, in lower case."""
SERIES = ("series", "curve", "model", "job", "study", "strategy", "precision")
"""Columns that name a curve, all that there are together."""
PARTS = ("compute", "transfer", "wait", "untold", "bubble", "memory", "idle")
"""Classes of time, in the unit of their name, else of the step's."""
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_MUST: Mapping[str, Callable[[float], bool]] = {
    "a number above 0": lambda value: math.isfinite(value) and value > 0,
    "a number from 0 on": lambda value: math.isfinite(value) and value >= 0,
    "a whole number from 1 on": lambda value: math.isfinite(value) and value >= 1 and value == int(value),
}


@dataclass(frozen=True)
class Measurement:
    """One row, checked: what is counted is at least 1, what is timed above 0."""

    line: int
    series: str
    """Empty where no column names the curve."""
    ranks: int
    throughput: float | None
    """Of all ranks, in whatever per second; None where only the step time is known."""
    step_s: float | None
    nodes: int
    """0 where nobody says."""
    local_batch: float | None
    global_batch: float | None
    parts_s: Mapping[str, float]
    """Classes of time that have a column, seconds of a step."""


@dataclass(frozen=True)
class Measurements:
    """A table: its rows, and what had to be assumed of it in a sentence each."""

    path: AnyPath
    rows: tuple[Measurement, ...]
    caveats: tuple[str, ...] = ()


def read_measurements(path: AnyPath, columns: Sequence[tuple[str, str]] = ()) -> Measurements:
    """The rows of a CSV file; `columns` says what some are: (`ranks`, `N`), (`series`, `model+gpu`), (`step_ms`, `t`).

    OptionError for a column that there is not, InputError and BrokenFile for a file that holds no such table, with what to do.
    """
    lines = _lines(path)
    head, *body = lines
    stated = _stated(path, head[1], columns)
    found = _known(head[1], stated)
    missing = [role for role in ("ranks",) if role not in found]
    missing += [] if {"throughput", "step"} & found.keys() else ["throughput or step time"]
    if missing:
        names = ", ".join(head[1])
        raise BrokenFile(
            path, f"line {head[0]}: no column of {' and none of '.join(missing)} among {names}; name it: --columns ranks=...,throughput=..."
        )  # fmt: skip
    if not body:
        raise BrokenFile(path, "holds the names of columns and no measurement; add one line for each")
    series = [name for name in (stated.get("series") or "").split("+") if name] or [
        name for name in head[1] if name.lower() in SERIES
    ]
    units, caveats = _units(found, stated)
    places = {role: head[1].index(name) for role, name in found.items()}
    groups = [head[1].index(name) for name in series]
    rows = [_row(path, head[1], line, cells, places, groups, units) for line, cells in body]
    return Measurements(path, tuple(rows), tuple(caveats))


def _content(path: AnyPath) -> bytes:
    try:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file; `scaleprof predict` takes one CSV file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(content) > MOST_BYTES:
        raise InputError(
            f"{path}: has more than {MOST_BYTES // 1_000_000} MB, too much for a table of measurements; keep one line for each"
        )
    return content


def _lines(path: AnyPath) -> list[tuple[int, list[str]]]:
    """Line numbers with their cells, the head first; empty lines and remarks left out."""
    content = _content(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BrokenFile(
            path, f"line {line}: byte {error.start + 1} is no UTF-8; save the table as UTF-8 text"
        ) from error
    kept = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not kept:
        raise BrokenFile(
            path, "is empty; a table has a line with the names of its columns and one for each measurement"
        )
    delimiter = max(",;\t", key=kept[0].count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True, skipinitialspace=True)
    found: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and not cells[0].lstrip().startswith("#"):
                found.append((reader.line_num, [_printable(cell) for cell in cells]))
    except csv.Error as error:
        raise BrokenFile(path, f"line {reader.line_num}: {error}; write the table as plain CSV") from error
    width = len(found[0][1])
    for line, cells in found:
        if len(cells) != width:
            raise BrokenFile(
                path,
                f"line {line}: has {len(cells)} cells where the first line names {width} columns; fill or remove it",
            )
    doubled = {name for name in found[0][1] if found[0][1].count(name) > 1}
    if doubled:
        raise BrokenFile(path, f"line {found[0][0]}: names the column {min(doubled)!r} more than once; rename one")
    return found


def _printable(cell: str) -> str:
    """Text that neither a terminal nor a page acts on."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in cell.strip())


def _stated(path: AnyPath, names: Sequence[str], columns: Sequence[tuple[str, str]]) -> dict[str, str]:
    """What the caller said, `step_ms` and its kind as they are; OptionError where that cannot be."""
    allowed = (*NAMES, *(f"step_{unit}" for unit in UNITS), "series")
    stated = {}
    for role, name in columns:
        if role not in allowed:
            raise OptionError(f"--columns knows no {role!r}; it knows: {', '.join(allowed)}")
        for one in name.split("+") if role == "series" else [name]:
            if one not in names:
                raise OptionError(f"--columns {role}={name}: {path} has no column {one!r}; it has: {', '.join(names)}")
        stated[role] = name
    return stated


def _known(names: Sequence[str], stated: Mapping[str, str]) -> dict[str, str]:
    """Role to column: what was stated, and what has a name by which it is known and is nothing else."""
    found = {"step" if role.startswith("step_") else role: name for role, name in stated.items() if role != "series"}
    taken = set(found.values())
    for role, known in NAMES.items():
        fits = [name for name in names if name.lower() in known and name not in taken]
        if (
            role in found
            or not fits
            or (role == "step" and "throughput" in stated)
            or (role == "throughput" and "step" in found)
        ):
            continue
        found[role] = min(fits, key=lambda name: known.index(name.lower()))
        taken.add(found[role])
    return found


def _units(found: Mapping[str, str], stated: Mapping[str, str]) -> tuple[dict[str, float], list[str]]:
    """Seconds of the unit of each column of times, and what was assumed."""
    caveats = []
    of_step = next((role.removeprefix("step_") for role in stated if role.startswith("step_")), None)
    if "step" in found and of_step is None:
        of_step = _unit_in(found["step"])
        if of_step is None:
            of_step = "s"
            caveats.append(
                f"the column {found['step']} is taken to be in seconds: nothing says so (--columns step_ms={found['step']} says otherwise)"
            )
    units = {"step": UNITS[of_step or "s"]}
    for part in PARTS:
        if part in found:
            units[part] = UNITS[_unit_in(found[part]) or of_step or "s"]
    return units, caveats


def _unit_in(name: str) -> str | None:
    ending = re.search(r"(?:^|[_ (\[])(us|ms|s|seconds)[)\]]?$", name.lower())
    return None if ending is None else "s" if ending[1] == "seconds" else ending[1]


def _row(
    path: AnyPath,
    names: Sequence[str],
    line: int,
    cells: Sequence[str],
    places: Mapping[str, int],
    groups: Sequence[int],
    units: Mapping[str, float],
) -> Measurement:
    def number(role: str, must: str = "a number above 0") -> float | None:
        if role not in places:
            return None
        name, text = names[places[role]], cells[places[role]]
        try:
            value = float(text)
        except ValueError:
            said = f"{text!r} is" if text else "an empty cell is"
            raise BrokenFile(
                path, f"line {line}: {said} no number for the column {name}; correct it or remove the line"
            ) from None
        if not _MUST[must](value):
            raise BrokenFile(
                path, f"line {line}: {text} in the column {name} must be {must}; correct it or remove the line"
            )
        return value

    parts = {part: number(part, "a number from 0 on") for part in PARTS}
    step = number("step")
    return Measurement(
        line=line,
        series=" ".join(cells[place] for place in groups),
        ranks=int(number("ranks", "a whole number from 1 on") or 0),
        throughput=number("throughput"),
        step_s=step * units["step"] if step is not None else None,
        nodes=int(number("nodes", "a whole number from 1 on") or 0),
        local_batch=number("local_batch"),
        global_batch=number("global_batch"),
        parts_s={part: value * units[part] for part, value in parts.items() if value is not None},
    )
