"""Step windows of traces that other tools recorded (`method` 1.1), and to which step each event belongs.

On a device, work lags the host: a step ends where the last kernel of the main compute stream that it launched ends, so that the windows tile
the time exactly. A step that stands alone has no neighbour to tile with: it is the span of the device activities launched in it. Between two
files of one rank the profiler was off: each is a stretch of its own.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import EMPTY, Ints, Spans, union
from scaleprof.readers.assemble import Draft
from scaleprof.readers.base import Columns
from scaleprof.readers.rules import Place, place_of
from scaleprof.trace import UNKNOWN, Events, Ids, Kind, Steps

_STEP = re.compile(r"^ProfilerStep#([0-9]{1,15})(?![0-9])")
_OPTIMIZER_STEP = "Optimizer.step#"
_FEWEST_KERNELS = 2
_CHUNK = 1 << 18
_END = 1 << 62
NO_TIMES: Ints = np.zeros(0, dtype=np.int64)
_BUSY = (Kind.COMPUTE, Kind.COLLECTIVE, Kind.P2P, Kind.COPY)


@dataclass(frozen=True)
class Windows:
    """The steps of a trace, and its events with their steps."""

    steps: Steps
    events: Events
    source: str
    caveats: tuple[str, ...] = ()
    extra: dict[str, int] = field(default_factory=dict)


def steps_of(index: Ints, windows: Spans, host: Spans) -> Steps:
    """Steps of which nothing but their windows is known; all profiled, none perturbed."""
    count = len(index)
    unknown = np.full(count, UNKNOWN, dtype=np.int64)
    return Steps(
        index=index.astype(np.int64),
        start_ns=windows.start,
        end_ns=windows.end,
        host_start_ns=host.start,
        host_end_ns=host.end,
        samples=np.full(count, np.nan),
        blocked_ns=unknown,
        input_ns=unknown,
        runq_ns=unknown,
        cpu_ns=unknown,
        device_ns=unknown,
        profiled=np.ones(count, dtype=np.bool_),
        perturbed=np.zeros(count, dtype=np.bool_),
    )


def device_work(draft: Draft) -> NDArray[np.bool_]:
    """Which events keep a device busy: kernels, copies and fills, not their mirrors and waits."""
    busy = np.isin(draft.names.kind, _BUSY)[draft.events.name] if len(draft.events) else np.zeros(0, dtype=np.bool_)
    return busy & (draft.lanes.device >= 0)[draft.events.lane] if len(draft.events) else busy


def stretches(columns: Columns) -> Ints:
    """Where the annotated steps of each file begin, in order of time: between two files the profiler was off."""
    is_step = np.array([_STEP.match(text) is not None for _, text in columns.names], dtype=np.bool_)
    rows = np.flatnonzero(is_step[columns.name]) if len(is_step) else np.zeros(0, dtype=np.int64)
    files = columns.file[rows]
    return np.sort(np.array([columns.start_ns[rows[files == file]].min() for file in np.unique(files)], dtype=np.int64))


def annotated_windows(
    draft: Draft, since: Ints = NO_TIMES, *, of_optimizer: bool = False, marked: tuple[Ints, Spans] | None = None
) -> Windows:
    """Windows from `ProfilerStep#` annotations, or one over the whole trace. `since`: where each stretch of them begins.

    `marked`: the numbers and host windows of steps that were marked otherwise.

    `of_optimizer`: what the profiler calls steps are batches if not every one of them ends with the optimizer's step; then they are joined.
    """
    index, host = marked if marked is not None else _annotated_steps(draft)
    work = device_work(draft)
    if not len(index):
        return _whole_trace(draft, work)
    stretch = np.searchsorted(since, host.start, side="right")
    said: tuple[str, ...] = ()
    if of_optimizer:
        index, host, stretch, said = _joined_to_optimizer_steps(draft, index, host, stretch)
    if not work.any():
        followed = np.append(stretch[1:] == stretch[:-1], False)
        ends = np.where(followed, np.append(host.start[1:], 0), host.end)
        steps = steps_of(index, Spans(host.start, np.maximum(ends, host.start)), host)
        step = step_at(draft.events.start_ns, steps.windows)
        return Windows(steps, dataclasses.replace(draft.events, step=step), "annotations", said)
    windows = _one_after_the_other(draft, _tiled_stretches(draft, work, index, host, stretch, since))
    return dataclasses.replace(windows, caveats=(*windows.caveats, *said))


def step_at(times: Ints, windows: Spans) -> Ids:
    """The window each time lies in, or -1; windows are in order and do not overlap."""
    found = np.full(len(times), -1, dtype=np.int32)
    if not len(windows.start):
        return found
    for first in range(0, len(times), _CHUNK):  # the temporaries of all events at once would be larger than the trace
        some = slice(first, first + _CHUNK)
        place = np.searchsorted(windows.start, times[some], side="right") - 1
        inside = (place >= 0) & (times[some] < windows.end[np.maximum(place, 0)])
        found[some] = np.where(inside, place, -1)
    return found


def cut_points(draft: Draft, work: NDArray[np.bool_], host: Spans) -> tuple[Ints, Ids]:
    """Where each host step's device work ends, never before its predecessor's (0 where it launched none), and the step of every launch.

    Counted on the stream with most compute; on all streams where a step launched fewer than two kernels there.
    """
    events = draft.events
    launched = np.full(len(events), -1, dtype=np.int32)
    linked = np.flatnonzero(work & (events.link >= 0))
    launched[linked] = step_at(events.start_ns[events.link[linked]], host)
    rows = np.flatnonzero(launched >= 0)
    end = events.start_ns[rows] + events.dur_ns[rows]
    compute = rows[draft.names.kind[events.name[rows]] == Kind.COMPUTE]
    cuts = np.zeros(len(host.start), dtype=np.int64)
    if not len(rows):
        return cuts, launched
    np.maximum.at(cuts, launched[rows], end)
    if len(compute):
        main = int(np.bincount(events.lane[compute], weights=events.dur_ns[compute]).argmax())
        on_main = compute[events.lane[compute] == main]
        enough = np.bincount(launched[on_main], minlength=len(cuts)) >= _FEWEST_KERNELS
        on_main_cuts = np.zeros_like(cuts)
        np.maximum.at(on_main_cuts, launched[on_main], events.start_ns[on_main] + events.dur_ns[on_main])
        cuts = np.where(enough, on_main_cuts, cuts)
    running = np.maximum.accumulate(cuts)
    return np.where(cuts > 0, running, 0), launched


def assign(events: Events, launched: Ids, work: NDArray[np.bool_], windows: Spans) -> Ids:
    """The step of every event: a device activity's is the one that launched it, else the first window it lies in; a host event's is by time."""
    step = step_at(events.start_ns, windows)
    if not len(windows.start):
        return step
    # An activity that was launched in a step without a window, or by nothing, may run on into the next window.
    rows = np.flatnonzero(work & (step < 0))
    start, end = events.start_ns[rows], events.start_ns[rows] + events.dur_ns[rows]
    later = np.minimum(np.searchsorted(windows.end, start, side="right"), len(windows.end) - 1)
    overlaps = (end > windows.start[later]) & (start < windows.end[later])
    step[rows[overlaps]] = later[overlaps]
    rows = np.flatnonzero(work & (launched >= 0))
    step[rows] = launched[rows]
    return step


def _annotated_steps(draft: Draft) -> tuple[Ints, Spans]:
    """Number and host window of every step, in order: the host's annotation only, not its mirror on the device."""
    events, names = draft.events, draft.names
    number = np.full(len(names.text), -1, dtype=np.int64)
    for name, (category, text) in enumerate(zip(names.category, names.text, strict=True)):
        found = _STEP.match(text)
        if found and place_of(category) in (Place.ANNOTATION, Place.OPERATOR):
            number[name] = int(found[1])
    rows = np.flatnonzero((number >= 0)[events.name]) if len(number) else np.zeros(0, dtype=np.int64)
    if not len(rows):
        return np.zeros(0, dtype=np.int64), EMPTY
    index, host = number[events.name[rows]], events.spans(rows)
    _, first = np.unique(np.stack((index, host.start)), axis=1, return_index=True)
    kept = np.sort(first)
    index, host = index[kept], Spans(host.start[kept], host.end[kept])
    if (np.diff(index) <= 0).any():  # a schedule that starts to count again
        index = np.arange(len(index), dtype=np.int64)
    return index, Spans(host.start, np.maximum(host.end, host.start))


def _whole_trace(draft: Draft, work: NDArray[np.bool_]) -> Windows:
    events = draft.events
    counted = work
    if not work.any():
        aside = np.array([place_of(category) == Place.ASIDE for category in draft.names.category], dtype=np.bool_)
        counted = ~aside[events.name] if len(aside) else work
        counted = counted if counted.any() else np.ones(len(events), dtype=np.bool_)
    if not counted.any():
        return Windows(steps_of(np.zeros(0, dtype=np.int64), EMPTY, EMPTY), events, "whole trace")
    window = _span(events.spans(counted))
    step = step_at(events.start_ns, window)
    step[counted] = 0
    what = "from its first to its last device activity" if work.any() else "from its first event to the end of its last"
    return Windows(
        steps_of(np.zeros(1, dtype=np.int64), window, window),
        dataclasses.replace(events, step=step),
        "whole trace",
        (f"the trace marks no steps: it is taken as one step, {what}",),
    )


def _lone_step(draft: Draft, work: NDArray[np.bool_], index: Ints, host: Spans) -> Windows:
    events = draft.events
    launched = work & (events.link >= 0)
    if not launched.any():
        whole = _whole_trace(draft, work)
        reason = "no device activity has its launch in the file"
        return dataclasses.replace(whole, caveats=(*whole.caveats, reason))
    window = _span(events.spans(launched))
    step = np.where((events.start_ns >= host.start[0]) & (events.start_ns < host.end[0]), 0, -1)
    step = np.where(work, np.where(launched, 0, -1), step).astype(np.int32)
    caveats, extra = _without_launch(draft, work)
    said = "only one step of the trace launched device work: it is taken from the first to the last device activity launched in it"
    return Windows(
        steps_of(index, window, host),
        dataclasses.replace(events, step=step),
        "lone step",
        (said, *(f"{caveat}, and not in the account of this step" for caveat in caveats)),
        extra,
    )


def _tiled_stretches(
    draft: Draft, work: NDArray[np.bool_], index: Ints, host: Spans, stretch: Ints, since: Ints
) -> list[Windows]:
    """The windows of each stretch that has device work."""
    found = []
    for number in np.unique(stretch).tolist():  # a few files
        here, times = stretch == number, draft.events.start_ns
        first, until = (since[number - 1] if number else -_END), (since[number] if number < len(since) else _END)
        own = work & (times >= first) & (times < until) if len(since) > 1 else work
        steps = Spans(host.start[here], host.end[here])
        if not own.any():
            continue
        if len(steps.start) == 1:
            found.append(_lone_step(draft, own, index[here], steps))
        else:
            found.append(_tiled(draft, own, index[here], steps, int(until)))
    return found or [_whole_trace(draft, work)]


def _one_after_the_other(draft: Draft, parts: Sequence[Windows]) -> Windows:
    """The windows of several stretches as those of one trace."""
    if len(parts) == 1:
        return parts[0]
    step = np.full(len(draft.events), -1, dtype=np.int32)
    extra, before = Counter[str](), 0
    for part in parts:
        inside = part.events.step >= 0
        step[inside] = part.events.step[inside] + before
        before += len(part.steps)
        extra.update(part.extra)
    fields = [field.name for field in dataclasses.fields(Steps)]
    steps = Steps(**{name: np.concatenate([getattr(part.steps, name) for part in parts]) for name in fields})
    sources = [part.source for part in parts]
    return Windows(
        steps,
        dataclasses.replace(draft.events, step=step),
        "annotations" if "annotations" in sources else sources[0],
        tuple(dict.fromkeys(caveat for part in parts for caveat in part.caveats)),
        dict(extra),
    )


def _joined_to_optimizer_steps(
    draft: Draft, index: Ints, host: Spans, stretch: Ints
) -> tuple[Ints, Spans, Ints, tuple[str, ...]]:
    """Batches joined to steps that end with the optimizer's. What begins before a stretch or ends after it is no whole step, and left out."""
    is_optimizer = np.array([text.startswith(_OPTIMIZER_STEP) for text in draft.names.text], dtype=np.bool_)
    rows = np.flatnonzero(is_optimizer[draft.events.name]) if len(is_optimizer) else np.zeros(0, dtype=np.int64)
    place = step_at(draft.events.start_ns[rows], host)
    ends_step = np.zeros(len(index), dtype=np.bool_)
    ends_step[place[place >= 0]] = True
    if ends_step.all() or not ends_step.any():
        return index, host, stretch, ()
    last = np.flatnonzero(ends_step)
    of_stretch = stretch[last]
    begins = np.maximum(np.append(0, last[:-1] + 1), np.searchsorted(stretch, of_stretch))
    batches = last - begins + 1
    usual = int(np.median(batches))
    if usual == 1:  # an optimizer may leave out a step now and then: that is no accumulation
        final = np.array([last[of_stretch == number].max(initial=-1) for number in stretch.tolist()])
        kept = np.arange(len(index)) <= final
        said = "what the profiler marked behind the optimizer's last step is left out"
        return index[kept], Spans(host.start[kept], host.end[kept]), stretch[kept], () if kept.all() else (said,)
    is_first = np.append(True, of_stretch[1:] != of_stretch[:-1])
    whole = ~is_first | (batches >= usual)
    last, begins = last[whole], begins[whole]
    said = f"the profiler's steps are batches, {usual} to a step of the optimizer: they are joined, and what is no whole step is left out"
    return index[last], Spans(host.start[begins], host.end[last]), stretch[last], (said,)


def _tiled(draft: Draft, work: NDArray[np.bool_], index: Ints, host: Spans, until: int) -> Windows:
    cuts, launched = cut_points(draft, work, host)
    known = cuts > 0
    if known.sum() < 2:
        only = np.flatnonzero(known) if known.any() else np.zeros(1, dtype=np.int64)
        return _lone_step(draft, work, index[only], Spans(host.start[only], host.end[only]))
    caveats, extra = _without_launch(draft, work)
    first = int(np.argmax(known))
    last = int(len(known) - 1 - np.argmax(known[::-1]))
    on_host = draft.lanes.device[draft.events.lane] < 0
    aside = np.array([place_of(category) == Place.ASIDE for category in draft.names.category], dtype=np.bool_)
    times = draft.events.start_ns
    after = on_host & ~aside[draft.events.name] & (times >= host.end[last]) & (times < until)
    notes = [f"step {index[first]} is left out: nothing says where its device work began"]
    if not after.any():
        if last - first > 1:
            notes.append(f"step {index[last]} is left out: the profiler may have cut off the end of its device work")
            last -= 1
        else:
            notes.append(f"the end of step {index[last]} may have been cut off by the profiler")
    kept = np.arange(first + 1, last + 1)
    # A step that launched nothing ends where its predecessor ended.
    ends = np.maximum.accumulate(np.maximum(cuts, cuts[first]))
    windows = Spans(ends[kept - 1], ends[kept])
    row_of_step = np.full(len(index) + 1, -1, dtype=np.int32)
    row_of_step[kept] = np.arange(len(kept))
    step = assign(draft.events, row_of_step[launched], work, windows)
    steps = steps_of(index[kept], windows, Spans(host.start[kept], host.end[kept]))
    return Windows(steps, dataclasses.replace(draft.events, step=step), "annotations", (*notes, *caveats), extra)


def _without_launch(draft: Draft, work: NDArray[np.bool_]) -> tuple[list[str], dict[str, int]]:
    orphans = work & (draft.events.link < 0)
    count = int(orphans.sum())
    if not count:
        return [], {}
    spans = union(draft.events.spans(orphans))
    busy_ms = int((spans.end - spans.start).sum()) / 1e6
    return (
        [
            f"{count:,} device activities ({busy_ms:.3g} ms) have no launch in the file: they were launched before it began"
        ],
        {"device_events_without_launch": count},
    )


def _span(of: Spans) -> Spans:
    return Spans(of.start.min(keepdims=True), of.end.max(keepdims=True))
