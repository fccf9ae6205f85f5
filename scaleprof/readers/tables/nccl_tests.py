"""Logs of nccl-tests (and rccl-tests): what a machine's links can do, to hold a job against.

A log may hold several tests one after the other, out of MPI or SLURM with their prefixes, of any version: the columns `redop` and `root` came late,
a test without an operation leaves `redop` empty, and newer versions add columns behind. So rows are read from their numbers, not by position.
Of the two measurements of a row, out of place and in place, the faster one counts. Bandwidths are worked out again from sizes and times: old
versions print the bus bandwidth as algorithm bandwidth. The printed one says how many ranks took part where nothing else does.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from scaleprof.errors import BrokenFile, InputError, NothingToRead
from scaleprof.remote import AnyPath
from scaleprof.results import Table

MOST_BYTES = 16 << 20
"""A log of every test at every size has some hundred kilobytes; the debug output of a large job some megabytes."""
_LONGEST_LINE = 4096
_TESTS = {
    "all_reduce": "all_reduce",
    "allreduce": "all_reduce",
    "all_gather": "all_gather",
    "allgather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "reducescatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "all_to_all": "all_to_all",
    "broadcast": "broadcast",
    "reduce": "reduce",
    "gather": "gather",
    "scatter": "scatter",
    "sendrecv": "send",
}
"""Names of the programs to the names of operations."""
_PROGRAM = re.compile(r"(?<![a-z_])([a-z_]{6,14})_perf(?![a-z])")
_PREFIX = re.compile(r"^\s*(\[\d+,\d+\]\s*<\w+>:?|\d+:)\s*")
_DEVICE = re.compile(r"#\s*Rank\s+(\d+)\s")
_REDUCTIONS = ("sum", "prod", "min", "max", "avg", "mulsum")
_ABSENT = "N/A"
_PRINTED_WELL = 1.0
"""GB/s: the log has two decimals, so smaller bandwidths tell little of the factor that is in them."""


@dataclass
class _Section:
    """One test: from its header, or from its first row, to the next."""

    op: str = ""
    devices: set[int] = field(default_factory=set)
    reduces: bool = False
    rows: list[tuple[int, float, float]] = field(default_factory=list)
    """Size in bytes, time in us and printed bus bandwidth in GB/s."""


def read_link_reference(path: AnyPath) -> Table:
    """What a log of nccl-tests measured, one row for each size of each test, sizes of no byte left out.

    test (its number), op, ranks (-1 where the log does not tell), bytes, time_us, factor (bus over algorithm bandwidth, as the log has it). Raises
    InputError in one sentence where the file is no such log, is too large or does not say what it measured.
    """
    sections = [section for section in _sections(_text(path)) if section.rows]
    if not sections:
        raise BrokenFile(
            path,
            "has no line of results as nccl-tests prints them: give the output of all_reduce_perf or of another of its programs",
        )
    named = {section.op for section in sections} - {""}
    of_file = _program_in(path.name)
    rows: list[list[object]] = []
    for number, section in enumerate(sections):
        factor = _factor(section)
        op = (
            section.op or (next(iter(named)) if len(named) == 1 else "") or of_file or _told_by_columns(section, factor)
        )
        if op and factor > 0:
            ranks = _ranks(op, factor, len(section.devices))
            rows += [[number, op, ranks, bytes, time, factor] for bytes, time, _ in section.rows]
    if not rows:
        raise BrokenFile(path, _why_not(sections))
    table = Table.of_rows(("test", "op", "ranks", "bytes", "time_us", "factor"), rows)
    return Table({name: column if name == "op" else np.array(column) for name, column in table.columns.items()})


def _text(path: AnyPath) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise NothingToRead(f"{path}: there is no such file; --link-reference takes a log of nccl-tests") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a log of nccl-tests ({error.strerror})") from error
    if len(content) > MOST_BYTES:
        raise BrokenFile(
            path,
            f"is larger than {MOST_BYTES >> 20} MB, which no log of nccl-tests is: give the log alone, without debug output",
        )
    return content.decode("utf-8", errors="replace")


def _why_not(sections: list[_Section]) -> str:
    if all(len(section.devices) == 1 for section in sections):
        return "is a log of nccl-tests on a single rank, which uses no link: give one with the ranks of a group"
    return "does not say which operation it measured: put the command, such as all_reduce_perf, into its first line or into its name"


def _sections(text: str) -> Iterator[_Section]:
    """The tests of a log, in order. A header, or the name of another program, ends the one before."""
    section, said = _Section(), ""
    for line in text.splitlines():
        line = _PREFIX.sub("", line[:_LONGEST_LINE]).strip()
        if line[:1].isdecimal():
            row = _row(line.split())
            if row:
                section.rows.append(row[:3])
                section.reduces |= row[3]
            continue
        device = _DEVICE.match(line)
        if device:
            section.devices.add(int(device[1][:9]))
            continue
        op = "" if "concluded" in line else _program_in(line)
        begins = line.startswith(("# nThread", "# Collective test starting"))
        if section.rows and (begins or (op and op != section.op)):
            yield section
            section = _Section()
        said = op or said
        if op or begins:
            section.op = op or said or section.op
        # A header uses up the name before it: another one without a name is another test.
        said = "" if begins and not op else said
    yield section


def _program_in(text: str) -> str:
    """The operation whose program is named last in a text."""
    known = [_TESTS[name] for name in _PROGRAM.findall(text) if name in _TESTS]
    return known[-1] if known else ""


def _row(words: list[str]) -> tuple[int, float, float, bool] | None:
    """Size, the shorter time and its bus bandwidth, and whether the row names a reduction; None for any other line."""
    if (
        len(words) < 7
        or not (words[0].isdecimal() and words[1].isdecimal())
        or words[2].isdecimal()
        or len(words[0]) > 18
    ):
        return None
    rest = words[3:]
    reduces = rest[0] in _REDUCTIONS
    rest = rest[1:] if _number(rest[0]) is None and rest[0] != _ABSENT else rest
    numbers: list[float | None] = []
    for word in rest:
        number = _number(word)
        if number is None and word != _ABSENT:
            break
        numbers.append(number)
    # A root makes it one more than a multiple of four: time, algorithm and bus bandwidth, errors, all twice or with statistics thrice.
    numbers = numbers[1:] if len(numbers) % 4 == 1 else numbers
    if len(numbers) not in (4, 8, 16):
        return None
    half = max(len(numbers) // 2, 4)
    measured = [
        (time, bandwidth)
        for time, bandwidth in ((numbers[at], numbers[at + 2]) for at in range(0, len(numbers), half))
        if time is not None and bandwidth is not None and time > 0 and bandwidth >= 0
    ]
    if not measured or int(words[0]) == 0:
        return None
    time, bandwidth = min(measured)
    return int(words[0]), time, bandwidth, reduces


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _factor(section: _Section) -> float:
    """Printed bus bandwidth over size and time: 2 (n-1) / n of an all-reduce, and so on; 0 where the log has none."""
    rows = [row for row in section.rows if row[2] >= _PRINTED_WELL] or section.rows
    return float(np.median([bandwidth * time * 1e3 / bytes for bytes, time, bandwidth in rows]))


def _told_by_columns(section: _Section, factor: float) -> str:
    """What alone has such columns: bytes cross the bus more than once in an all-reduce, less than once while they are reduced only when scattered."""
    if section.reduces and factor > 1.02:
        return "all_reduce"
    return "reduce_scatter" if section.reduces and 0 < factor < 0.98 else ""


def _ranks(op: str, factor: float, devices: int) -> int:
    """How many ranks took part: what the factor says, where it does, in its decimals the devices that are listed."""
    if op in ("broadcast", "reduce", "send"):
        return devices or -1
    outside = 1 - factor / (2 if op == "all_reduce" else 1)
    if devices > 1 and abs(outside - 1 / devices) < 0.02:
        return devices
    return round(1 / outside) if 0.02 < outside < 1 else -1
