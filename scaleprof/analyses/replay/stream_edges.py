"""What a stream of a device waits for on another one.

Where the profiler was asked to record synchronisations, they say it: what is launched after a wait waits for what was launched on the other stream
before the event was recorded. Elsewhere it is inferred: an operation waits for what was computed before it was issued, as every framework has it; an
activity that neither its launch nor its stream explains waits for what ended on another stream just before it began; and the first computation of an
optimizer waits for all communication before it.
"""

import numpy as np
from numpy.typing import NDArray

from scaleprof.analyses.replay.chain_nodes import Doing, Nodes
from scaleprof.intervals import Ints, union
from scaleprof.trace import Trace

JUST_NS = 5_000
"""An activity begins so long after what it waits for at most (`method` 7.1)."""
MOST_OF, FARTHEST_NS = 0.02, 100_000
"""What is late by very much may begin a little later still: by this part of what it is late, and by so much at most."""
UNEXPLAINED_NS = 3_000
"""What an activity may begin late without a cause: launches and streams take as long."""
ROUNDED_NS = 1_000
"""Old profilers round times to whole microseconds: what is waited for may seem to end so much too late."""
_OPTIMIZER = "Optimizer.step#"


def stream_edges(
    trace: Trace, streams: Nodes, rows: Ints, launched: Ints, known: NDArray[np.bool_]
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Which activity waits for the end of which on another stream: (target, source, whether that is inferred), one entry a pair.

    `rows` are the activities' rows in the trace, `launched` when each was launched, where that is `known`.
    """
    if len(trace.stream_waits.lane):
        target, source = _recorded(trace, rows, launched, known)
        possible = streams.end_ns[source] <= streams.start_ns[target] + ROUNDED_NS
        return target[possible], source[possible], np.zeros(int(possible.sum()), dtype=np.bool_)
    communicates = streams.kind == Doing.OPERATION
    pairs = [*_after_compute(streams, launched, known, communicates)]
    pairs += _unexplained(streams, np.where(known, launched, np.iinfo(np.int64).min))
    pairs += _before_optimizer(trace, streams, launched, known, communicates)
    wanted = sorted(
        {(target, source) for target, source in pairs if streams.end_ns[source] <= streams.start_ns[target] + 1}
    )
    target, source = np.array(wanted, dtype=np.int64).reshape(-1, 2).T
    return target, source, np.ones(len(target), dtype=np.bool_)


def _recorded(trace: Trace, rows: Ints, launched: Ints, known: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """The first activity that was launched on the waiting stream after each wait, and the last one on the other before its event was recorded."""
    waits, lane = trace.stream_waits, trace.events.lane[rows]
    order = {}
    for stream in np.unique(np.concatenate((waits.lane, waits.on))).tolist():  # a few streams
        here = np.flatnonzero((lane == stream) & known)
        order[stream] = here[np.argsort(launched[here], kind="stable")]
    pairs = set()
    for stream, on in np.unique(np.stack((waits.lane, waits.on), axis=1), axis=0).tolist():
        these = (waits.lane == stream) & (waits.on == on)
        after = np.searchsorted(launched[order[stream]], waits.called_ns[these], side="left")
        before = np.searchsorted(launched[order[on]], waits.recorded_ns[these], side="left") - 1
        found = (after < len(order[stream])) & (before >= 0) & (stream != on)
        pairs |= set(zip(order[stream][after[found]].tolist(), order[on][before[found]].tolist(), strict=True))
    target, source = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
    return target, source


def _after_compute(
    streams: Nodes, launched: Ints, known: NDArray[np.bool_], communicates: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """An operation waits for the last computation that was launched before it, on the stream with most of them."""
    computes = np.flatnonzero((streams.kind == Doing.COMPUTE) & known)
    operations = np.flatnonzero(communicates & known)
    if not len(computes) or not len(operations):
        return []
    lanes, counts = np.unique(streams.lane[computes], return_counts=True)
    main = computes[streams.lane[computes] == lanes[np.argmax(counts)]]
    main = main[np.argsort(launched[main], kind="stable")]
    place = np.searchsorted(launched[main], launched[operations], side="left") - 1
    there = place >= 0
    return list(zip(operations[there].tolist(), main[place[there]].tolist(), strict=True))


def _unexplained(streams: Nodes, launched: Ints) -> list[tuple[int, int]]:
    """Activities that begin right after something ended on another stream, and that nothing else explains."""
    before = np.full(len(streams.start_ns), np.iinfo(np.int64).min)
    before[1:] = np.where(streams.lane[1:] == streams.lane[:-1], streams.end_ns[:-1], before[1:])
    late = streams.start_ns - np.maximum(before, launched)
    wanted = np.flatnonzero((late > UNEXPLAINED_NS) & (before > np.iinfo(np.int64).min))
    by_end = np.argsort(streams.end_ns, kind="stable")
    place = np.searchsorted(streams.end_ns[by_end], streams.start_ns[wanted], side="right") - 1
    found = []
    for target, at in zip(wanted.tolist(), place.tolist(), strict=True):  # gaps, not events
        just = min(max(JUST_NS, int(MOST_OF * late[target])), FARTHEST_NS)
        while at >= 0 and streams.start_ns[target] - streams.end_ns[by_end[at]] <= just:
            source = int(by_end[at])
            ends = {int(streams.kind[source]), int(streams.kind[target])}
            if streams.lane[source] != streams.lane[target] and ends & {Doing.OPERATION, Doing.COPY}:
                found.append((target, source))
                break
            at -= 1
    return found


def _before_optimizer(
    trace: Trace, streams: Nodes, launched: Ints, known: NDArray[np.bool_], communicates: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """The first computation of each optimizer step waits for the last operation on each stream that was launched before it."""
    events = trace.events
    named = np.array([text.startswith(_OPTIMIZER) for text in trace.names.text], dtype=np.bool_)
    steps = union(events.spans(named[events.name] & ~trace.on_device))
    computes = np.flatnonzero((streams.kind == Doing.COMPUTE) & known)
    computes = computes[np.argsort(launched[computes], kind="stable")]
    place = np.searchsorted(launched[computes], steps.start, side="left")
    firsts = [
        int(computes[at])
        for at, end in zip(place.tolist(), steps.end.tolist(), strict=True)
        if at < len(computes) and launched[computes[at]] < end
    ]
    found = []
    for lane in np.unique(streams.lane[communicates]).tolist():
        here = np.flatnonzero(communicates & known & (streams.lane == lane))
        here = here[np.argsort(launched[here], kind="stable")]
        for target in firsts:
            at = int(np.searchsorted(launched[here], launched[target], side="left")) - 1
            if at >= 0 and streams.lane[target] != lane:
                found.append((target, int(here[at])))
    return found
