"""What ranks must know of one another before any is written: from when to when each recording, step and operation lasts. These are facts."""

from collections.abc import Iterator

import numpy as np

from scaleprof.intervals import Ints
from scaleprof.results import Table
from scaleprof.trace import UNKNOWN, Trace


def extent(trace: Trace) -> Table:
    """One row: first_ns and last_ns of anything recorded, unix time of this rank's clock, and the number of events; no row where nothing was."""
    times = [one for one in _times(trace) if len(one)]
    if not times:
        return Table.of_rows(("first_ns", "last_ns", "events"), [])
    first, last = min(int(one.min()) for one in times), max(int(one.max()) for one in times)
    return Table.of_rows(("first_ns", "last_ns", "events"), [[first, last, len(trace.events)]])


def step_spans(trace: Trace) -> Table:
    """One row a step: its number, and since_ns and until_ns, from its first beginning to its last end, on the host or the device."""
    steps = trace.steps
    return Table(
        {
            "step": steps.index,
            "since_ns": np.minimum(steps.host_start_ns, steps.start_ns),
            "until_ns": np.maximum(steps.host_end_ns, steps.end_ns),
        }
    )


def carried(trace: Trace) -> Table:
    """One row per operation of the rank, in the order of issue: event, the row of what carried it out, and end_ns, the end of that; -1 without."""
    row = trace.comm.row.astype(np.int64)
    ran = row >= 0
    end = np.full(len(row), UNKNOWN, dtype=np.int64)
    end[ran] = (trace.events.start_ns + trace.events.dur_ns)[row[ran]]
    return Table({"event": row, "end_ns": end})


def _times(trace: Trace) -> Iterator[Ints]:
    yield trace.events.start_ns
    yield trace.events.start_ns + trace.events.dur_ns
    for column in (
        trace.steps.host_start_ns,
        trace.steps.start_ns,
        trace.steps.host_end_ns,
        trace.steps.end_ns,
        trace.comm.issued_ns,
        trace.tasks.start_ns,
        trace.tasks.end_ns,
    ):
        yield column[column != UNKNOWN]
    yield trace.samples.time_ns
    for spans in (trace.waits, trace.pauses.spans):
        yield from spans
    yield trace.blocked.start_ns
    yield np.asarray(trace.blocked.start_ns + trace.blocked.dur_ns)


NEEDS = {"extent": extent, "step_spans": step_spans, "carried": carried}
"""The facts of an export."""
