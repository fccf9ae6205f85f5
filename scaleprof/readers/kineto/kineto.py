"""Reads what torch.profiler (Kineto) writes, `.json` and `.json.gz`, into raw columns.

Only complete events (phase X) become rows; M events name the threads. Times stay text until they are whole ns. An event that cannot be
decoded costs itself, a file that ends too early its end; both are counted.
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import msgspec

from scaleprof.errors import BrokenFile
from scaleprof.readers.base import Columns
from scaleprof.readers.json_text.broken import mended
from scaleprof.readers.json_text.text import MOST_METADATA_BYTES, pieces
from scaleprof.readers.kineto.gather import Gathered, ScanDiffers
from scaleprof.readers.schema import MANY, ONE, whole
from scaleprof.remote import AnyPath

_ANYTHING = msgspec.json.Decoder()


def read_columns(paths: Sequence[AnyPath]) -> Columns:
    """The events of one rank's files, in the order of time. A file that cannot be read costs itself; if none can, BrokenFile."""
    return _read(paths, sort=True)


def read_rows(paths: Sequence[AnyPath]) -> Columns:
    """The same, in the order in which the files have them: to be compared with them row by row."""
    return _read(paths, sort=False)


def _read(paths: Sequence[AnyPath], *, sort: bool) -> Columns:
    gathered, metadata, caveats = Gathered(), dict[str, Any](), list[str]()
    broken: dict[int, BrokenFile] = {}
    cut_off: set[int] = set()
    for number, path in enumerate(paths):
        rows, counts = gathered.rows, gathered.counts()
        try:
            found, is_cut_off = _read_file(path, gathered, caveats)
        except BrokenFile as error:
            gathered.cut(counts)
            gathered.file_rows.append(0)
            broken[number] = error
            continue
        gathered.file_rows.append(gathered.rows - rows)
        metadata = metadata or found
        if is_cut_off:
            cut_off.add(number)
        if gathered.rows == rows and len(paths) > 1:
            caveats.append(f"{path.name} holds no events")
    if broken and not gathered.rows:
        raise next(iter(broken.values()))
    caveats += [f"{error.path.name} was left out: it {error.reason}" for error in broken.values()]
    extra = {
        "events_lost": gathered.lost,
        "events_without_duration": gathered.without_duration,
        "negative_durations": gathered.negative,
    }
    if sort:
        gathered.sort()
    return dataclasses.replace(
        gathered.columns(),
        metadata=metadata,
        unread=frozenset(broken),
        cut_off=frozenset(cut_off),
        caveats=tuple(caveats),
        extra={name: count for name, count in extra.items() if count},
    )


def no_columns() -> Columns:
    """The columns of a rank without profiler files."""
    return Gathered().columns()


def _read_file(path: AnyPath, gathered: Gathered, caveats: list[str]) -> tuple[dict[str, Any], bool]:
    """Adds one file's events to the columns; its metadata, and whether it is cut off."""
    counts = gathered.counts()
    try:
        return _gather(path, gathered, caveats, scan=True)
    except ScanDiffers:
        gathered.cut(counts)
        caveats.append(f"{path.name} is laid out as no trace was before: it was read slowly, event by event")
        return _gather(path, gathered, caveats, scan=False)


def _gather(path: AnyPath, gathered: Gathered, caveats: list[str], *, scan: bool) -> tuple[dict[str, Any], bool]:
    before, lost_before, gathered.lost_at = gathered.rows, gathered.lost, None
    metadata, cut_off_at = dict[str, Any](), None
    for piece in pieces(path, MANY, ONE, gathered.scan if scan else None):
        if piece.scanned is not None:
            gathered.add_scanned(piece.scanned)
        else:
            gathered.add_decoded(piece.events)
        gathered.lost += piece.lost
        gathered.lost_at = piece.lost_at if gathered.lost_at is None else gathered.lost_at
        for text in piece.metadata:
            metadata.update(_object(text, path, caveats))
        cut_off_at = piece.cut_off_at
    count, lost = gathered.rows - before, gathered.lost - lost_before
    if piece.damage:
        caveats.append(f"{path.name}: {piece.damage}: what it says may be wrong from there on")
    if cut_off_at is not None:
        if not count:
            raise BrokenFile(path, f"is cut off at byte {cut_off_at:,}, before any complete event")
        caveats.append(
            f"{path.name} is cut off after {count:,} events, at byte {cut_off_at:,}: what came later is missing"
        )
    if lost:
        where = f", the first at byte {gathered.lost_at:,}" if gathered.lost_at is not None else ""
        caveats.append(f"{path.name}: events lost: {lost:,} of {count + lost:,}{where}: they could not be decoded")
    if not gathered.move(before, whole(metadata.get("baseTimeNanoseconds"), absent=0)):
        raise BrokenFile(path, "holds times that lie more than a century ahead")
    return metadata, cut_off_at is not None


def _object(text: bytes, path: AnyPath, caveats: list[str]) -> dict[str, Any]:
    try:
        content = json.loads(text) if len(text) <= MOST_METADATA_BYTES else None
    except (ValueError, RecursionError):
        content = mended(text, _ANYTHING)
    if content is None:
        caveats.append(f"{path.name}: what stands beside its events (rank, process groups, base time) is not readable")
        return {}
    return content if isinstance(content, dict) else {}
