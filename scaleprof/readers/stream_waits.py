"""Where streams of a device waited for one another, from the synchronisations that a profiler was asked to record (`method` 7.1, event wait)."""

from collections.abc import Mapping

import numpy as np

from scaleprof.intervals import Ints
from scaleprof.readers.base import Columns
from scaleprof.readers.rules import Place, place_of
from scaleprof.readers.schema import whole
from scaleprof.trace import UNKNOWN, StreamWaits


def stream_waits(columns: Columns) -> StreamWaits:
    """One row for each wait that says on which stream, and by which call, what it waits for was recorded.

    `columns` are in the order of time. Handles of events are used again, so what counts is the correlation id of the call that recorded one.
    """
    rows, numbers = columns.awaiting
    awaited = np.array(list(columns.awaited), dtype=np.int64).reshape(-1, 2)[numbers]
    on = _streams_beside(columns, rows, awaited[:, 0])
    recorded = _records(columns, rows, awaited[:, 1])
    known = (on >= 0) & (recorded != UNKNOWN)
    rows = rows[known]
    return StreamWaits(columns.lane[rows], columns.start_ns[rows], on[known].astype(np.int32), recorded[known])


def _streams_beside(columns: Columns, rows: Ints, streams: Ints) -> Ints:
    """The lanes of streams by number, each on the device of its row; -1 where nothing ran on it."""
    place: Mapping[tuple[object, int], int] = {
        (key.pid, whole(key.tid)): lane
        for lane, key in enumerate(columns.lanes)
        if key.on_device and whole(key.tid) >= 0
    }
    devices = [columns.lanes[lane].pid for lane in columns.lane[rows].tolist()]
    found = [place.get(key, -1) for key in zip(devices, streams.tolist(), strict=True)]
    return np.array(found, dtype=np.int64)


def _records(columns: Columns, rows: Ints, ids: Ints) -> Ints:
    """When the calls with these correlation ids, in the files of the rows, began; UNKNOWN where there is no such call."""
    is_call = np.array([place_of(category) == Place.CALL for category, _ in columns.names], dtype=np.bool_)
    calls = np.flatnonzero(is_call[columns.name] & (columns.correlation != UNKNOWN)) if len(is_call) else rows[:0]
    found = np.full(len(rows), UNKNOWN, dtype=np.int64)
    for number in np.unique(columns.file[rows]).tolist():  # a few files
        here = np.flatnonzero((columns.file[rows] == number) & (ids != UNKNOWN))
        of_file = calls[columns.file[calls] == number]
        if not len(of_file) or not len(here):
            continue
        of_file = of_file[np.argsort(columns.correlation[of_file], kind="stable")]
        known = columns.correlation[of_file]
        place = np.minimum(np.searchsorted(known, ids[here]), len(known) - 1)
        same = known[place] == ids[here]
        found[here[same]] = columns.start_ns[of_file[place[same]]]
    return found
