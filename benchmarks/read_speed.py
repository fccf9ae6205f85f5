"""How fast a file becomes columns, beside what the same machine can do with the same bytes at the same time.

Each measurement is a process of its own that imports what it needs, then counts its CPU seconds; the ways take turns, round after round. The rate
counts the JSON text, also for a compressed file. What the ways do:

    read        the bytes of the file, thrown away: what any reader of plain files pays
    inflate     the bytes of the compressed file, inflated and thrown away
    simdjson    the parser alone: whole events in pieces of 4 MB that lie in memory already, nothing taken out
    scaleprof   file to columns, `.json` and `.json.gz`
    msgspec     our own careful way, which decodes each event into a typed object, for files that cannot be scanned
    json        a dictionary for each event
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from inputs import RECORDED, Input, made
from measuring import BUILD, compile_as_installed, machine, measured, number, table, verdict

DIALECTS = ("native", "oneline2026", RECORDED)
THIRD, HALF, SHARE_OF_PLAIN = 1 / 3, 1 / 2, 0.8
_PIECE_BYTES = 1 << 22
_JSON_MOST_MB = 50
_RECORDED_MOST_MB = 50  # a recording is short: more copies of it say no more
_OPENING, _BETWEEN = b'"traceEvents": [', b"},\n  {"
"""How the list of events begins, and what stands between two of them, in the dialects that are measured."""


@dataclass(frozen=True)
class Contender:
    """A way, and which file of an input it is given."""

    way: str
    packed: bool = False
    most_mb: int = 1_000_000
    """Above this size it is left out."""

    @property
    def name(self) -> str:
        """What the tables call it."""
        return f"{self.way}, .json.gz" if self.packed else self.way


OURS, OURS_PACKED, PARSER = Contender("scaleprof"), Contender("scaleprof", packed=True), Contender("simdjson")
CONTENDERS = (
    Contender("read"),
    Contender("inflate", packed=True),
    PARSER,
    OURS,
    OURS_PACKED,
    Contender("msgspec"),
    Contender("json", most_mb=_JSON_MOST_MB),
)
GIVES_ROWS = ("scaleprof", "msgspec", "json")


@dataclass(frozen=True)
class Took:
    """One measurement of one contender."""

    cpu_s: float
    peak_mb: float


def compared(given: Input, megabytes: int, rounds: int) -> dict[Contender, list[Took]]:
    """What each contender took, round by round."""
    taken: dict[Contender, list[Took]] = {one: [] for one in CONTENDERS if megabytes <= one.most_mb}
    for _ in range(rounds):
        for one, so_far in taken.items():
            (path,) = given.packed if one.packed else given.plain
            run = measured([sys.executable, __file__, "--measure", one.way, path])
            cpu_s, rows = json.loads(run.output)
            if one.way in GIVES_ROWS and rows != given.rows:
                raise RuntimeError(f"{one.name} found {rows:,} rows in {path}, not {given.rows:,}")
            so_far.append(Took(cpu_s, run.peak_mb))
    return taken


def as_table(given: Input, taken: Mapping[Contender, Sequence[Took]]) -> str:
    """One line a contender: rates, memory, and its rate as a part of the parser's."""
    rows = []
    for one, runs in taken.items():
        seconds = [run.cpu_s for run in runs]
        best, middle = min(seconds), median(seconds)
        rows.append(
            [
                one.name,
                f"{middle:.3f}",
                number(given.mb / middle),
                number(given.mb / best),
                number(middle / given.events * 1e9),
                number(median(run.peak_mb for run in runs)),
                f"{_rate(taken, one, PARSER):.2f}",
            ]
        )
    return table(["way", "CPU s", "MB/s", "best MB/s", "ns an event", "peak MB", "x simdjson"], rows)


def _rate(taken: Mapping[Contender, Sequence[Took]], one: Contender, other: Contender) -> float:
    """The rate of one as a part of another's, within each round, the median of the rounds."""
    return median(second.cpu_s / first.cpu_s for first, second in zip(taken[one], taken[other], strict=True))


def goals(taken: Mapping[Contender, Sequence[Took]]) -> list[str]:
    """Whether what was wanted is reached."""
    share = _rate(taken, OURS, PARSER)
    return [
        verdict("part of simdjson's rate", share, THIRD),
        verdict("the same, what is aimed at", share, HALF),
        verdict("rate from .json.gz as a part of that from .json", _rate(taken, OURS_PACKED, OURS), SHARE_OF_PLAIN),
    ]


# ---- in the measured process: each way prepares, and returns what is to be timed, which returns how many rows or events it found


def _read(path: Path) -> Callable[[], int]:
    def run() -> int:
        piece = memoryview(bytearray(_PIECE_BYTES))
        with path.open("rb", buffering=0) as file:
            while file.readinto(piece):
                pass
        return 0

    return run


def _inflate(path: Path) -> Callable[[], int]:
    from isal import igzip

    opened: Any = igzip.open  # it has no types

    def run() -> int:
        piece = memoryview(bytearray(_PIECE_BYTES))
        with opened(path, "rb") as file:
            while file.readinto(piece):
                pass
        return 0

    return run


def _simdjson(path: Path) -> Callable[[], int]:
    import simdjson

    parser = simdjson.Parser()
    pieces = list(_pieces(path))

    def run() -> int:
        for piece in pieces:
            parser.parse(piece)
        return 0

    return run


def _pieces(path: Path) -> Iterator[bytes]:
    """The events of a file in JSON lists of about 4 MB."""
    text = path.read_bytes()
    # No list follows that of the events in the files that are made here.
    start, end = text.index(_OPENING) + len(_OPENING), text.rindex(b"]")
    while start < end:
        last = end - start <= _PIECE_BYTES
        cut = end if last else text.rindex(_BETWEEN, start, start + _PIECE_BYTES) + 1
        yield b"[" + text[start:cut] + b"]"
        start = cut + 1  # behind the comma


def _scaleprof(path: Path) -> Callable[[], int]:
    from scaleprof.readers.kineto.kineto import read_columns

    return lambda: len(read_columns([path]).start_ns)


def _msgspec(path: Path) -> Callable[[], int]:
    from scaleprof.readers.json_text.text import pieces
    from scaleprof.readers.kineto.gather import Gathered
    from scaleprof.readers.schema import MANY, ONE

    def run() -> int:
        gathered = Gathered()
        for piece in pieces(path, MANY, ONE):
            gathered.add_decoded(piece.events)
        return len(gathered.columns().start_ns)

    return run


def _json(path: Path) -> Callable[[], int]:
    def run() -> int:
        with path.open("rb") as file:
            events = json.load(file)["traceEvents"]
        return sum(1 for event in events if event["ph"] == "X")

    return run


WAYS = {
    "read": _read,
    "inflate": _inflate,
    "simdjson": _simdjson,
    "scaleprof": _scaleprof,
    "msgspec": _msgspec,
    "json": _json,
}


def measure_here(way: str, path: Path) -> None:
    """Print the CPU seconds of one way and the rows it found."""
    run = WAYS[way](path)
    began = time.process_time()
    rows = run()
    print(json.dumps([time.process_time() - began, rows]))


def main() -> None:
    """Print a table for each size and dialect, and keep them in `build/bench/read_speed.md`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[50, 500], help="JSON text of the files")
    parser.add_argument("--dialects", nargs="+", default=DIALECTS, help="how the text is laid out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure_here(given.measure[0], Path(given.measure[1]))
        return
    compile_as_installed()
    packages = ("numpy", "msgspec", "isal", "pysimdjson")
    parts = [f"# From file to columns\n\n{machine(packages)}\n"]
    print(parts[0])
    for megabytes in given.megabytes:
        for dialect in given.dialects:
            if dialect == RECORDED and megabytes > _RECORDED_MOST_MB:
                continue
            trace = made(megabytes, dialect=dialect)
            taken = compared(trace, megabytes, given.rounds)
            title = f"## {dialect}, {megabytes} MB\n\n{trace}; rounds: {given.rounds}, medians\n"
            parts.append("\n".join([title, as_table(trace, taken), "", *goals(taken), ""]))
            print(parts[-1], flush=True)
    (BUILD / "read_speed.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
