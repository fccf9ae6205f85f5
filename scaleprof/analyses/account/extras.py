"""What a job computes only because it is distributed: encoding and decoding of gradients, and the passes of SyncBatchNorm (`method` 3.6)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.account.account import activities_of
from scaleprof.analyses.account.time import leaves_of
from scaleprof.intervals import EMPTY, Ints, Spans, covered, intersect, subtract, union
from scaleprof.results import Table
from scaleprof.trace import Kind, Trace

SPANS = {
    "encode": re.compile(r"^scaleprof::encode\b"),
    "decode": re.compile(r"^scaleprof::decode\b"),
    "optimizer": re.compile(r"^Optimizer\.step#"),
    "syncbn": re.compile(r"^scaleprof::sync_batch_norm\b|^(torch::autograd::function::)?SyncBatchNorm(Backward)?$"),
}


def extras(trace: Trace) -> Table:
    """One row per profiled step: how long each of `SPANS` lasted (with a device: the kernels launched within them), how many passes of SyncBatchNorm
    there were, and how much exposed communication lay in those, all in ns; `optimizer_kernels` were launched by the optimizer."""
    events, steps = trace.events, trace.steps
    rows = np.flatnonzero(steps.profiled & (steps.end_ns > steps.start_ns))
    windows = Spans(steps.start_ns[rows], steps.end_ns[rows])
    activities = activities_of(trace)
    exposed = subtract(activities[0].exposable, activities[0].compute) if activities else EMPTY
    columns = {"step": steps.index[rows]}
    for name, pattern in SPANS.items():
        fits = np.array([pattern.search(text) is not None for text in trace.names.text], dtype=np.bool_)
        named = fits[events.name] & ~trace.on_device if len(fits) else np.zeros(len(events), dtype=np.bool_)
        spans = union(events.spans(named))
        columns[f"{name}_ns"] = covered(_work_in(trace, spans), windows)
        if name == "optimizer":
            kernels = _rows_launched_in(trace, spans, (Kind.COMPUTE,))
            step = np.searchsorted(windows.start, events.start_ns[kernels], side="right") - 1
            columns["optimizer_kernels"] = np.bincount(step[step >= 0], minlength=len(rows))
        if name == "syncbn":
            first = np.searchsorted(windows.start, events.start_ns[named], side="right") - 1
            columns["syncbn_passes"] = np.bincount(first[first >= 0], minlength=len(rows))
            columns["syncbn_exposed_ns"] = covered(intersect(_exposed_in(trace, spans, exposed), exposed), windows)
    return Table(columns)


def _work_in(trace: Trace, spans: Spans) -> Spans:
    """The spans themselves on a host; on a device the kernels that were launched within them."""
    return _launched_in(trace, spans, (Kind.COMPUTE,)) if trace.has_device else spans


def _exposed_in(trace: Trace, spans: Spans, exposed: Spans) -> Spans:
    return _launched_in(trace, spans, (Kind.COLLECTIVE, Kind.P2P)) if trace.has_device else intersect(exposed, spans)


def _launched_in(trace: Trace, spans: Spans, kinds: Sequence[Kind]) -> Spans:
    return union(trace.events.spans(_rows_launched_in(trace, spans, kinds)))


def _rows_launched_in(trace: Trace, spans: Spans, kinds: Sequence[Kind]) -> Ints:
    """Activities of these kinds on a device whose launch lies in one of the spans."""
    events = trace.events
    rows = np.flatnonzero(np.isin(trace.kinds, kinds) & trace.on_device & (events.link >= 0))
    if not len(rows) or not len(spans.start):
        return np.zeros(0, dtype=np.int64)
    at = events.start_ns[events.link[rows]]
    place = np.searchsorted(spans.start, at, side="right") - 1
    inside = (place >= 0) & (at < spans.end[np.maximum(place, 0)])
    return rows[inside]


@dataclass(frozen=True)
class Extras:
    """Means over the accounted steps of all ranks, in ms a step and rank."""

    encode_ms: float
    decode_ms: float
    syncbn_ms: float
    syncbn_exposed_ms: float
    syncbn_passes: float


def extras_of(view: RunView) -> Extras | None:
    """What was spent on them; None without an account."""
    leaves = leaves_of(view)
    if leaves is None:
        return None
    wanted = np.unique(leaves.rows["step"])
    sums = dict.fromkeys(("encode_ns", "decode_ns", "syncbn_ns", "syncbn_exposed_ns", "syncbn_passes"), 0)
    count = 0
    for table in view.fact("extras").values():
        keep = np.isin(table["step"], wanted)
        count += int(keep.sum())
        for name in sums:
            sums[name] += int(np.asarray(table[name])[keep].sum())
    if not count:
        return None
    ms = {name: total / count / 1e6 for name, total in sums.items()}
    passes = sums["syncbn_passes"] / count
    return Extras(ms["encode_ns"], ms["decode_ns"], ms["syncbn_ns"], ms["syncbn_exposed_ns"], passes)
