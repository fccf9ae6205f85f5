"""The rank's folder: lines are kept in memory until the rank is known, then appended and flushed as they come."""

import gzip
import json
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaleprof.run import (
    RANK_FILE,
    RUN_FILE,
    RankInfo,
    RunInfo,
    rank_folder_name,
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
        self._held: dict[str, list[str]] = {}
        self._lock = threading.Lock()  # the sampler adds lines while the training thread flushes

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
        text = json.dumps(content, separators=(",", ":")) + "\n"
        with self._lock:
            held = self._held.setdefault(stream, [])
            held.append(text)
            if len(held) > MOST_HELD:
                del held[: MOST_HELD // 10]

    def flush(self, *streams: str) -> None:
        """Append what is held for these streams (all, if none is named). Compressed streams get a complete member each time."""
        if self.path is None:
            return
        for stream in streams or tuple(self._held):
            with self._lock:
                lines = self._held.pop(stream, [])
            if not lines:
                continue
            try:
                _append(self.path / stream, "".join(lines).encode())
            except OSError:
                with self._lock:  # a full disk may have room later
                    self._held[stream] = (lines + self._held.get(stream, []))[-MOST_HELD:]
                raise

    def discard(self, stream: str) -> None:
        """Take back everything of a stream."""
        with self._lock:
            self._held.pop(stream, None)
        if self.path is not None:
            (self.path / stream).unlink(missing_ok=True)


def _append(file: Path, data: bytes) -> None:
    """Add to a file wholly or not at all: half a line, or half of a compressed member, would spoil everything after it."""
    if file.name.endswith(".gz"):
        data = gzip.compress(data, compresslevel=4)
    with file.open("ab", buffering=0) as target:
        before = target.tell()
        written = 0
        try:
            while written < len(data):
                written += target.write(data[written:])
        except OSError:
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
