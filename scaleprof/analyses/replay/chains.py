"""What followed what on one rank: the host's work, the operations that it issued, where it waited; the raw material of a replay (`method` 7.1).

Rows are nodes, those of a lane in order. Lane 0 is the host, cut where it issues something, where a wait begins and ends, at the edges of steps, and
where another kind of work begins. A wait is a node of no length for each operation that it waited for, and one for the way back. The other lanes are
the threads that carry out operations, or the streams of a device.
"""

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.replay.chain_nodes import Window, table_of
from scaleprof.analyses.replay.device_chain import device_chains
from scaleprof.analyses.replay.host_chain import cells_of, host_of, waits_of
from scaleprof.analyses.replay.issued import awaited, issued_by, operations_of
from scaleprof.results import Table
from scaleprof.trace import Trace

MOST_NODES_IN_RUN = 1_500_000
"""Nodes of all ranks together: as many steps are kept as fit."""
MOST_STEPS = 8


def too_many(view: RunView) -> str:
    """Why no rank of a run on accelerators has chains though steps of it were seen whole: one sentence; empty where that is not so."""
    seen = [table for table in view.fact("idle").values() if len(table) and bool(np.asarray(table["has_device"]).any())]
    if not seen or any(len(table) for table in view.fact("chains").values()) or not view.steps["steady"].any():
        return ""
    return (
        f"the graph of a single step of {view.info.world_size:,} ranks would have more than {MOST_NODES_IN_RUN:,} nodes: there is no critical "
        "path, and no what-if is replayed"
    )


def chains(trace: Trace) -> Table:
    """One row a node: lane, step, kind (`Doing`), name, start_ns and dur_ns (unix time of this rank's clock), after (a row, or -1), after_lag_ns,
    operation (row in the fact on collectives, or -1), is_inferred, is_bound.

    Empty where no profiler saw a whole step, and on a host whose waits were not recorded: nothing then says what waited for what.
    """
    window = window_of(trace)
    if window is None:
        return table_of(trace, [])
    if trace.has_device:
        return table_of(trace, device_chains(trace, window))
    waits = waits_of(trace, window)
    if waits is None:
        return table_of(trace, [])
    operations = operations_of(trace, window, waits)
    cells = cells_of(trace, window, waits, trace.comm.issued_ns)
    host = host_of(trace, cells, waits, operations, awaited(trace, waits, operations))
    return table_of(trace, [host, issued_by(host, trace, operations)])


def window_of(trace: Trace, *, most: int = MOST_STEPS) -> Window | None:
    """The last steps in a row that a profiler saw whole, as many as fit; None without any."""
    steps = trace.steps
    whole = np.flatnonzero(steps.profiled & ~steps.perturbed & (steps.end_ns > steps.start_ns))
    if not len(whole) or not len(trace.events):
        return None
    first = len(whole) - 1
    while (
        first
        and whole[first - 1] == whole[first] - 1
        and steps.index[whole[first]] == steps.index[whole[first] - 1] + 1
    ):
        first -= 1
    rows = whole[first:]
    inside = int(np.isin(trace.events.step, rows).sum()) / len(rows)
    budget = MOST_NODES_IN_RUN / max(trace.info.world_size, 1)
    fit = int(budget // max(2 * inside, 1))
    if not fit:
        return None
    rows = rows[-min(fit, most) :]
    return Window(rows, int(steps.start_ns[rows[0]]), int(steps.end_ns[rows[-1]]))
