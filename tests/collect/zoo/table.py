"""What the recordings of the zoo hold, beside what was worked out by hand."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scaleprof.readers.finding.directory import run_of_directory
from scaleprof.readers.recorded.recorded import read_recorded
from scaleprof.run import Run
from scaleprof.trace import Trace
from tests.collect.zoo.paper import Sent, paper

STEP = 7
"""A step inside the profiler's window, with everything warmed up."""


@dataclass(frozen=True)
class Recorded:
    """One recording, as the reader gives it."""

    job: str
    ranks: int
    run: Run
    trace: Trace
    """Of rank 0."""

    @property
    def sent(self) -> Sent:
        """How often and how many bytes in one step, by operation."""
        comm, steps = self.trace.comm, self.trace.steps
        inside = (comm.issued_ns >= steps.host_start_ns[STEP]) & (comm.issued_ns < steps.host_end_ns[STEP])
        found: Sent = {}
        for row in np.flatnonzero(inside).tolist():
            count, size = found.get(comm.op[row], (0, 0))
            found[comm.op[row]] = (count + 1, size + int(comm.bytes[row]))
        return found

    @property
    def joined(self) -> tuple[int, int]:
        """Spans of gloo, and how many of them were joined with what was issued: with its group and its number."""
        trace = self.trace
        spans = [
            row for row in range(len(trace.events)) if trace.names.text[trace.events.name[row]].startswith("gloo:")
        ]
        known = (trace.comm.row >= 0) & (trace.comm.seq >= 0) & (trace.comm.issued_ns >= 0)
        rows = set(trace.comm.row[known & np.array([bool(group) for group in trace.comm.group], dtype=bool)].tolist())
        return len(spans), len(rows & set(spans))

    @property
    def attributed(self) -> float | None:
        """Share of the blocked time in profiled steps whose operation is known; None without any."""
        blocked, steps = self.trace.blocked, self.trace.steps
        row = np.searchsorted(steps.host_start_ns, blocked.start_ns, side="right") - 1
        inside = (row >= 0) & steps.profiled[np.maximum(row, 0)]
        total = int(blocked.dur_ns[inside].sum())
        return int(blocked.dur_ns[inside & (blocked.comm >= 0)].sum()) / total if total else None


def recordings(folder: Path) -> dict[str, Recorded]:
    """Every recording in a folder of the zoo, by `job-ranks`."""
    found = {}
    for place in sorted(folder.iterdir()):
        job, _, ranks = place.name.rpartition("-")
        run = run_of_directory(next(place.glob(f"{job}-n*")))
        found[place.name] = Recorded(job, int(ranks), run, read_recorded(run.ranks[0]))
    return found


def table(folder: Path) -> str:
    """Markdown: one row for each job and number of ranks."""
    head = (
        "job", "ranks", "strategy recorded", "mesh", "groups of rank 0", "operations a step: bytes recorded (by hand)", "gloo spans joined",
        "blocked time attributed", "ran instead",
    )  # fmt: skip
    rows = [head, ("---",) * len(head)]
    for one in recordings(folder).values():
        expected, sent = paper(one.job, one.ranks), one.sent
        groups = [group for group in one.trace.info.process_groups if len(group.ranks) < one.ranks]
        operations = [
            f"{count} {op}: {size:,} ({expected.sent.get(op, (0, 0))[1]:,})"
            for op, (count, size) in sorted(sent.items())
        ]
        spans, joined = one.joined
        share = one.attributed
        rows.append(
            (
                one.job,
                str(one.ranks),
                str(one.run.info.strategy),
                " x ".join(f"{name} {size}" for name, size in (one.run.info.mesh or {}).items()) or "-",
                " ".join(str(list(group.ranks)) for group in groups) or "all",
                "; ".join(operations) or "none",
                f"{joined} of {spans}" if spans else "-",
                f"{share:.0%}" if share is not None else "-",
                expected.instead or "",
            )
        )
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)
