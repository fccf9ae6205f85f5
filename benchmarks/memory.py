"""How much memory reading and a whole analysis take at their peak, and whether it is bounded; and what a second analysis costs.

The bound for reading is a fixed part and so many bytes for each row (complete event), whatever the size of the file. Each line is a process of its
own, start-up and imports included; the peak is what the kernel counted.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

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
    table,
    unseen,
    verdict,
)

FIXED_MB, ROW_BYTES = 100, 40
AGAIN = 5.0
"""How many times less CPU a second analysis of the same files should take."""
_READ = "import sys; from pathlib import Path; from scaleprof.readers.kineto.kineto import read_columns; read_columns([Path(sys.argv[1])])"


@dataclass(frozen=True)
class Peaks:
    """The processes that were measured on one input."""

    given: Input
    read: Measured
    """File to columns."""
    first: Measured
    """The whole analysis, nothing kept from earlier."""
    second: Measured
    """The same once more, with whatever the first one kept."""

    @property
    def bound_mb(self) -> float:
        """What reading may take."""
        return FIXED_MB + ROW_BYTES * self.given.rows / 1e6


def peaks_of(given: Input) -> Peaks:
    """Everything measured on one input, from the compressed file."""
    (path,) = given.packed
    read = measured([sys.executable, "-c", _READ, path])
    with unseen(given.packed) as (traces, environment):
        first = analyze(traces, environment)
        second = analyze(traces, environment)
    return Peaks(given, read, first, second)


def as_table(found: Sequence[Peaks]) -> str:
    """Lines by input and process; bytes a row are those above the fixed part."""
    rows = []
    for peaks in found:
        for name, run in (("read", peaks.read), ("analyze", peaks.first), ("analyze again", peaks.second)):
            per_row = (run.peak_mb - FIXED_MB) * 1e6 / peaks.given.rows
            size = f"{peaks.given.mb:,.0f} MB, {name}"
            rows.append(
                [
                    size,
                    f"{peaks.given.rows:,}",
                    f"{run.cpu_s:.2f}",
                    number(run.peak_mb),
                    number(max(per_row, 0.0)),
                    number(peaks.bound_mb),
                ]
            )
    head = ["JSON text, process", "rows", "CPU s", "peak MB", f"bytes a row above {FIXED_MB} MB", "bound MB"]
    return table(head, rows)


def goals(found: Sequence[Peaks]) -> list[str]:
    """Whether the bounds are kept."""
    lines = []
    for peaks in found:
        size = f"{peaks.given.mb:,.0f} MB"
        lines.append(at_most(f"{size}: peak of reading", peaks.read.peak_mb, peaks.bound_mb, " MB"))
        lines.append(at_most(f"{size}: peak of the whole analysis", peaks.first.peak_mb, peaks.bound_mb, " MB"))
        lines.append(
            verdict(f"{size}: times less CPU the second time", peaks.first.cpu_s / peaks.second.cpu_s, AGAIN, "x")
        )
    if len(found) > 1:
        least, most = found[0], found[-1]
        rows = most.given.rows - least.given.rows
        for name in ("read", "first"):
            grown = (getattr(most, name).peak_mb - getattr(least, name).peak_mb) * 1e6 / rows
            what = {"read": "reading", "first": "the whole analysis"}[name]
            lines.append(
                f"- {what} grows by {number(grown)} bytes a row from {least.given.mb:,.0f} to {most.given.mb:,.0f} MB"
            )
    return lines


def main() -> None:
    """Print one table, and keep it in `build/bench/memory.md`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--megabytes", type=int, nargs="+", default=[50, 500], help="JSON text of the files; 2000 takes minutes to make"
    )
    given = parser.parse_args()
    compile_as_installed()
    title = f"# Peak memory\n\n{machine(('scaleprof', 'numpy', 'msgspec', 'isal'))}\n"
    print(title)
    found = [peaks_of(made(megabytes)) for megabytes in sorted(given.megabytes)]
    text = "\n".join([as_table(found), "", *goals(found), ""])
    print(text)
    (BUILD / "memory.md").write_text(f"{title}\n{text}")


if __name__ == "__main__":
    main()
