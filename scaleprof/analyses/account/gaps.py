"""Idle time of one rank by cause and by name, in integer ns (`method` 1.4 on accelerators, 1.6 on hosts).

A gap of a device ends with an activity. If that was launched before the gap began, the device kept it waiting; else the host was late, and what
the launching thread did between the beginning of the gap and the launch is the cause. A call that waits for the device lets it run dry: where the
thread was in one when the gap began, handing out work again belongs to it, too, and so does what nothing was recorded of: without that call the host
would be ahead of the device by then. A batch, a pause or a checkpoint that comes then keeps its own name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scaleprof.analyses.account.account import Activity, account, activities_of, lengths_of, pauses_of, windows_of
from scaleprof.analyses.account.host import FAR, NOBODY, Cause, Doing, Host, cause_of, overlay
from scaleprof.intervals import Ints, Spans, subtract, union
from scaleprof.results import Table
from scaleprof.trace import Kind, Trace

MOST_NAMES = 20
_BUSY = (Kind.COMPUTE, Kind.COLLECTIVE, Kind.P2P, Kind.COPY)
_ON_HOST = (Kind.OP, Kind.LAUNCH, Kind.SYNC)
"""Without any of these nothing is known of the host."""
_HANDING_OUT = (Cause.LAUNCH, Cause.DISPATCH, Cause.INTERPRETER)
_BEHIND_A_SYNC = (*_HANDING_OUT, Cause.UNTRACED)
_IN_A_LAUNCH = (Cause.ALLOC, Cause.COMPILE, Cause.GC)
_NOTHING_SAID = (*_HANDING_OUT, Cause.UNTRACED)


def idle(trace: Trace) -> Table:
    """One row per accounted step (those of `account`): its idle time and `<cause>_ns` by `Cause`, which sum to it; all in ns, mean over devices.

    `has_device`, `traced` (events of the host), `operators` (operators among them) say what could be seen.
    """
    parts, windows, rows = _idle_parts(trace, named=False)
    cells = np.zeros((len(rows), len(Cause)), dtype=np.int64)
    for part in parts:
        np.add.at(cells, (part.window, part.cause), part.ns)
    cells, idle_ns = _mean(trace, cells, len(parts))
    kinds, lengths = trace.names.kind, windows.end - windows.start
    if not trace.has_device:
        lengths = lengths_of(trace, activities_of(trace), windows, rows)
    seen = {
        "has_device": trace.has_device,
        "traced": bool(np.isin(kinds, _ON_HOST).any()),
        "operators": bool((kinds == Kind.OP).any()),
    }
    return Table(
        {
            "step": trace.steps.index[rows],
            "window_ns": lengths,
            "idle_ns": idle_ns,
            **{f"{cause.name.lower()}_ns": cells[:, cause] for cause in Cause},
            **{name: np.full(len(rows), value) for name, value in seen.items()},
        }
    )


def idle_names(trace: Trace) -> Table:
    """The names that cover most of the idle time, at most `MOST_NAMES`: cause (`Cause`), name and ns, one row per step in which they do.

    Mean over devices. A hole has the name of the innermost Python frame or phase around it, or none.
    """
    parts, _, rows = _idle_parts(trace, named=True)
    size = len(trace.names.text) + 1
    empty = np.zeros(0, dtype=np.int64)
    label = np.concatenate([empty, *(part.cause * size + part.name - NOBODY for part in parts)])
    window = np.concatenate([empty, *(part.window for part in parts)])
    ns = np.concatenate([empty, *(part.ns for part in parts)])
    labels, place = np.unique(label, return_inverse=True)
    total = np.zeros(len(labels), dtype=np.int64)
    np.add.at(total, place, ns)
    best = np.argsort(-total, kind="stable")[:MOST_NAMES]
    kept = np.isin(place, best)
    cells, cell = np.unique(window[kept] * len(labels) + place[kept], return_inverse=True)
    sums = np.zeros(len(cells), dtype=np.int64)
    np.add.at(sums, cell, ns[kept])
    sums //= max(len(parts), 1)
    texts = [*trace.names.text, ""]
    shown = labels[cells % len(labels)] if len(labels) else labels
    return Table(
        {
            "step": trace.steps.index[rows][cells // max(len(labels), 1)],
            "cause": shown // size,
            "name": [texts[name + NOBODY] for name in (shown % size).tolist()],
            "ns": sums,
        }
    )


@dataclass(frozen=True)
class _Parts:
    """Idle time of one device, in parts."""

    window: Ints
    """Row of the accounted step."""
    cause: Ints
    name: Ints
    ns: Ints


def _parts(window: Ints, cause: Ints | Cause, name: Ints | int, of: Spans) -> _Parts:
    count = len(window)
    causes, names = (np.full(count, one) if isinstance(one, int) else one for one in (cause, name))
    return _Parts(window, causes, names, of.end - of.start)


def _together(parts: Sequence[_Parts]) -> _Parts:
    window, cause, name, ns = (
        np.concatenate([np.zeros(0, dtype=np.int64), *(getattr(part, column) for part in parts)])
        for column in ("window", "cause", "name", "ns")
    )
    return _Parts(window, cause, name, ns)


def _idle_parts(trace: Trace, *, named: bool) -> tuple[list[_Parts], Spans, Ints]:
    """By device the idle time of the accounted steps in parts; the windows of these steps, and their rows in `Trace.steps`."""
    if not trace.has_device:
        activities = activities_of(trace)
        windows, rows = windows_of(trace, activities)
        return [_of_host(trace, activity, windows, rows, named=named) for activity in activities], windows, rows
    windows, rows = windows_of(trace, [])
    events = trace.events
    device = trace.lanes.device[events.lane]
    counted = (device >= 0) & (events.step >= 0)
    busy = (device >= 0) & np.isin(trace.names.kind, _BUSY)[events.name] & (events.dur_ns > 0)
    gaps = [_gaps(trace, windows, busy & (device == number)) for number in np.unique(device[counted])]
    host = Host(trace, events.link[busy & (events.link >= 0)].astype(np.int64))
    host.look_at(union(*(one.late for one in gaps)))
    return [_of_device(trace, host, one, named=named) for one in gaps], windows, rows


def _mean(trace: Trace, cells: Ints, devices: int) -> tuple[Ints, Ints]:
    """Mean over devices, in whole ns: what the account's own rounding leaves over goes to the largest cause."""
    if devices == 1:
        return cells, cells.sum(axis=1)
    idle_ns = np.asarray(account(trace)["idle_ns"])
    mean = cells // max(devices, 1)
    if len(mean):
        largest = mean.argmax(axis=1) if devices else np.full(len(mean), Cause.UNLINKED)
        mean[np.arange(len(mean)), largest] += idle_ns - mean.sum(axis=1)
    assert (mean >= 0).all(), "the causes must not exceed the idle time"
    return mean, idle_ns


def _of_host(trace: Trace, activity: Activity, windows: Spans, rows: Ints, *, named: bool) -> _Parts:
    """Idle time of the host itself. By subtraction it is the input that the steps tell of, and pauses; else what the threads do while nothing
    computes."""
    if activity.method == "subtracted":
        return _of_steps(trace, activity, windows, rows)
    gaps = subtract(union(windows), union(activity.compute, activity.exposable))
    window, piece, pieces = overlay(windows, np.column_stack(gaps).ravel())
    inside = piece % 2 == 1
    host = Host(trace, _on_calling_threads(trace))
    host.look_at(gaps)
    count = int(inside.sum())
    late = _Late(window[inside], _chosen(pieces, inside), np.full(count, NOBODY), np.ones(count, bool))
    return _walked(host, host.main, late, host.doing(host.main), named=named)


def _of_steps(trace: Trace, activity: Activity, windows: Spans, rows: Ints) -> _Parts:
    """Pauses, as far as they are idle time, and input for the rest of it."""
    left = np.asarray(account(trace)["idle_ns"]).copy()
    pauses = pauses_of(trace, activity, windows)
    taken = np.zeros(len(pauses), dtype=np.int64)
    waited = np.minimum(np.maximum(trace.steps.input_ns[rows], 0), left)
    left -= waited
    for row, (window, _, ns) in enumerate(pauses.tolist()):  # two kinds at most
        taken[row] = min(ns, left[window])
        left[window] -= taken[row]
    causes = [int(cause_of(Kind(kind))) for kind in trace.names.kind[pauses[:, 1]].tolist()]
    told = np.arange(len(rows))
    return _Parts(
        np.concatenate((told, pauses[:, 0])),
        np.concatenate((np.full(len(rows), int(Cause.INPUT)), np.array(causes, dtype=np.int64))),
        np.concatenate((np.full(len(rows), NOBODY), pauses[:, 1])),
        np.concatenate((waited + left, taken)),
    )


def _on_calling_threads(trace: Trace) -> Ints:
    """Operators and the loading of input, but for those on the threads in which gloo runs: what these do takes no time of the step."""
    events = trace.events
    of_gloo = np.array([text.startswith("gloo:") for text in trace.names.text], dtype=bool)
    workers = np.isin(np.arange(len(trace.lanes.device)), events.lane[of_gloo[events.name]])
    return np.flatnonzero(np.isin(trace.kinds, (Kind.OP, Kind.INPUT)) & ~workers[events.lane] & ~trace.on_device)


@dataclass(frozen=True)
class _Gaps:
    """Stretches in which a device does nothing, cut at the windows, one row each."""

    window: Ints
    pieces: Spans
    start: Ints
    """When the whole gap began; before all times where nothing ran before it."""
    activity: Ints
    """Row of the activity that ends the whole gap, or -1."""
    launch: Ints
    """Row of the call that launched that, or -1."""
    begin: Ints
    """When that call began; after all times where it is not known."""
    end: Ints
    """When it ended."""
    queued: NDArray[np.bool_]
    """The call had ended when the gap began."""

    @property
    def until(self) -> Ints:
        """Up to where in the piece the host was late."""
        return np.clip(self.begin, self.pieces.start, self.pieces.end)

    @property
    def late(self) -> Spans:
        """What the host did then is asked for."""
        since = np.where(self.start > -FAR, self.start - 1, self.pieces.start)
        return _chosen(Spans(since, self.until), ~self.queued)


@dataclass(frozen=True)
class _Late:
    """Parts of gaps in which the host was late."""

    window: Ints
    spans: Spans
    sync: Ints
    """The name of the call that waited for the device when the gap began; NOBODY where the launching thread was in none."""
    linked: NDArray[np.bool_]
    """It is known what launched the activity that ends the gap."""


def _gaps(trace: Trace, windows: Spans, busy: NDArray[np.bool_]) -> _Gaps:
    """What ends a gap is what starts there; of several activities the one launched first."""
    events = trace.events
    rows = np.flatnonzero(busy & (events.step >= 0))
    active = union(events.spans(rows))
    window, piece, pieces = overlay(windows, np.column_stack(active).ravel())
    between = piece % 2 == 0
    gap = piece[between] // 2
    launched = np.where(events.link[rows] >= 0, events.start_ns[events.link[rows]], FAR)
    rows = rows[np.lexsort((launched, events.start_ns[rows]))]
    starts = np.concatenate(([-FAR], active.end))
    later = np.flatnonzero(
        busy & (events.step < 0) & (events.start_ns >= starts[-1])
    )  # of a step that is not accounted
    last = later[:1] if len(later) else np.full(1, NOBODY)
    activity = np.concatenate((rows[np.searchsorted(events.start_ns[rows], active.start)], last))[gap]
    launch = np.where(activity >= 0, events.link[activity], NOBODY).astype(np.int64)
    begin, end = (np.where(launch >= 0, times[launch], FAR) for times in events.spans())
    return _Gaps(
        window[between], _chosen(pieces, between), starts[gap], activity, launch, begin, end, queued=end <= starts[gap]
    )


def _of_device(trace: Trace, host: Host, gaps: _Gaps, *, named: bool) -> _Parts:
    events, pieces, queued = trace.events, gaps.pieces, gaps.queued
    kernels = events.name[gaps.activity[queued]].astype(np.int64)
    parts = [_parts(gaps.window[queued], Cause.SCHED, kernels, _chosen(pieces, queued))]
    linked = gaps.launch >= 0
    lane = np.where(linked, events.lane[gaps.launch], host.main)
    for number in np.unique(lane[~queued]).tolist():  # a few threads
        here = ~queued & (lane == number)
        doing, window, until = host.doing(number), gaps.window[here], gaps.until[here]
        late = _Late(window, Spans(pieces.start[here], until), _sync_at(doing, gaps.start[here]), linked[here])
        parts.append(_walked(host, number, late, doing, named=named))
        launching = replace(late, spans=Spans(until, pieces.end[here]))
        parts.append(_launching(launching, doing, gaps.begin[here], gaps.end[here]))
    return _together(parts)


def _sync_at(doing: Doing, times: Ints) -> Ints:
    """The name of the call that waits for the device at a time or right before it, `NOBODY` where there is none."""
    names = np.full(len(times), NOBODY, dtype=np.int64)
    for sooner in (1, 0):
        piece = doing.at(times - sooner)
        waits = doing.cause[piece] == Cause.SYNC
        names[waits] = doing.name[piece[waits]]
    return names


def _walked(host: Host, lane: int, late: _Late, doing: Doing, *, named: bool) -> _Parts:
    """Parts in which the host was late, by what its threads did meanwhile."""
    if named:
        doing = host.named(doing, lane)
    which, piece, pieces = overlay(late.spans, doing.edges)
    cause, sync = doing.cause[piece], late.sync[which]
    behind = (sync != NOBODY) & np.isin(cause, _BEHIND_A_SYNC)
    name = np.where(behind, sync, doing.name[piece])
    cause = np.where(behind, int(Cause.AFTER_SYNC), cause)
    cause = np.where(~late.linked[which] & np.isin(cause, _NOTHING_SAID), int(Cause.UNLINKED), cause)
    return _parts(late.window[which], cause, name, pieces)


def _launching(late: _Late, doing: Doing, begin: Ints, end: Ints) -> _Parts:
    """From the begin of a launch to that of what it launches, under the name of the launch; what the call itself loads or allocates is told apart."""
    which, piece, pieces = overlay(late.spans, doing.edges)
    cause, name, drained = doing.cause[piece], doing.name[piece], late.sync != NOBODY
    told = np.isin(cause, _IN_A_LAUNCH) & (pieces.start < end[which])
    cause = np.where(told, cause, np.where(drained, int(Cause.AFTER_SYNC), int(Cause.LAUNCH))[which])
    launch = np.where(drained, late.sync, doing.name[doing.at(begin)])[which]
    return _parts(late.window[which], cause, np.where(told, name, launch), pieces)


def _chosen(of: Spans, rows: NDArray[np.bool_]) -> Spans:
    return Spans(of.start[rows], of.end[rows])
