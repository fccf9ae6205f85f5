"""The rank's folder: lines are kept in memory until the rank is known, then appended and flushed as they come, in segments of bounded total.

Nothing here may grow with the length of the job, and nothing may stop it: a signal handler of the training's can run between any two lines of
this file and come back to it, so locks can be taken twice by the same thread.
"""

import gzip
import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaleprof.run import (
    LOST_KEY,
    RANK_FILE,
    RUN_FILE,
    SEGMENTS,
    RankInfo,
    RunInfo,
    rank_folder_name,
    segment_name,
    segments_of,
    stream_bytes,
    write_json,
)

MOST_HELD = 10_000
"""Lines of one stream kept in memory while they cannot be written (the rank is unknown, the disk is full); then the oldest go."""
MOST_RUNS = 1000
"""Runs of one name that are told apart by a number."""


class RankFolder:
    """One rank's streams and records on disk."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self._streams: dict[str, _Stream] = {}
        self._lock = threading.RLock()  # the sampler adds lines while the training thread flushes
        self._writing = threading.RLock()
        self._is_writing = False

    def open(self, rank_path: Path, run: RunInfo, rank: RankInfo) -> None:
        """Use a claimed folder: write the run's identity (rank 0) and the rank's first record, then what was held back."""
        self.path = rank_path
        if rank.rank == 0:
            write_json(run, rank_path.parent / RUN_FILE)
        write_json(replace(rank, finished=False), rank_path / RANK_FILE)
        self.flush()

    def write_rank(self, rank: RankInfo) -> None:
        """Write the rank's record again."""
        if self.path is not None:
            write_json(rank, self.path / RANK_FILE)

    def line(self, stream: str, content: dict[str, Any]) -> None:
        """Keep a line for a stream; `flush` appends it."""
        text = _as_line(content)
        with self._lock:
            if stream not in self._streams:
                self._streams[stream] = _Stream(stream, self._lock)
            self._streams[stream].hold([text])

    def flush(self, *streams: str) -> None:
        """Append what is held for these streams (all, if none is named), and for those that hold much. Compressed ones get a whole member."""
        if self.path is None:
            return
        with self._writing:
            if self._is_writing:  # called by a signal handler in the middle of this: what it holds is written next
                return
            self._is_writing = True
            try:
                for name, stream in list(self._streams.items()):
                    if not streams or name in streams or stream.holds_much:
                        stream.write(self.path)
            finally:
                self._is_writing = False

    def discard(self, stream: str) -> None:
        """Take back everything of a stream."""
        with self._writing:
            self._streams.pop(stream, None)
            if self.path is not None:
                for file in segments_of(self.path, stream).values():
                    (self.path / file.name).unlink(missing_ok=True)


class _Stream:
    """One stream: the lines that wait to be written, and which segments are on disk."""

    def __init__(self, name: str, lock: "threading.RLock") -> None:
        self._name = name
        self._lock = lock
        self._held: list[str] = []
        self._lost = 0
        self._segment_bytes = stream_bytes(name) // SEGMENTS
        self._segments = [0]  # the last one is being written
        self._written_bytes = 0  # in the last one

    @property
    def holds_much(self) -> bool:
        """Whether lines may soon be lost if nobody writes them."""
        return len(self._held) > MOST_HELD // 4

    def hold(self, lines: Sequence[str], *, lost: int = 0, first: bool = False) -> None:
        """Keep lines until they can be written; of too many the oldest go, and are counted."""
        with self._lock:
            place = 0 if first else len(self._held)
            self._held[place:place] = lines
            self._lost += lost
            if len(self._held) > MOST_HELD:
                oldest = len(self._held) - MOST_HELD + MOST_HELD // 10
                del self._held[:oldest]
                self._lost += oldest

    def write(self, folder: Path) -> None:
        """Append what is held; what cannot be written is held again, and the reason raised."""
        while True:
            lines, lost = self._take()
            if not lines:
                return
            try:
                self._append(folder, lines, lost)
            except BaseException:  # a full disk may have room later, and an interruption may come at any time
                self.hold(lines, lost=lost, first=True)
                raise

    def _take(self) -> tuple[list[str], int]:
        """As many of the oldest lines as fit into a segment, and how many were lost before them."""
        with self._lock:
            size = count = 0
            for line in self._held:
                size += len(line)
                if count and size > self._segment_bytes:
                    break
                count += 1
            lines, lost = self._held[:count], self._lost
            del self._held[:count]
            self._lost = 0
            return lines, lost

    def _append(self, folder: Path, lines: list[str], lost: int) -> None:
        data = "".join([_as_line({LOST_KEY: lost}), *lines] if lost else lines).encode()
        if self._name.endswith(".gz"):
            data = gzip.compress(data, compresslevel=4)
        if self._written_bytes and self._written_bytes + len(data) > self._segment_bytes:
            self._segments.append(self._segments[-1] + 1)
            self._written_bytes = 0
        while len(self._segments) > SEGMENTS:
            (folder / segment_name(self._name, self._segments[1])).unlink(missing_ok=True)
            del self._segments[1]
        _append(folder / segment_name(self._name, self._segments[-1]), data)
        self._written_bytes += len(data)


def _as_line(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"), default=float) + "\n"  # numbers of numpy and torch are numbers


def _append(file: Path, data: bytes) -> None:
    """Add to a file wholly or not at all: half a line, or half of a compressed member, would spoil everything after it."""
    with file.open("ab", buffering=0) as target:
        before = target.tell()
        written = 0
        try:
            while written < len(data):
                written += target.write(data[written:])
        except BaseException:
            with suppress(OSError):
                target.truncate(before)
            raise


def claim_rank_folder(folder: Path, name: str, *, rank: int, number: int) -> Path:
    """Make and return the folder of this rank in the first run of this name that is its own.

    `number` counts the recordings of this process, which all ranks count alike, so that they meet in one run; a folder that an earlier job
    with the same id left behind is passed over, by every rank of it.
    """
    for attempt in range(number, number + MOST_RUNS):
        path = folder / (name if attempt == 1 else f"{name}-{attempt}") / rank_folder_name(rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise OSError(f"{folder} holds {MOST_RUNS} runs called {name}")
