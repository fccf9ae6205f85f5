"""The rank's folder: lines are kept in memory until the rank is known, then appended and flushed as they come."""

import gzip
import json
import threading
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

MOST_HELD = 10_000  # lines of one stream kept in memory; a rank that stays unknown for longer loses the oldest


class RankFolder:
    """One rank's streams and records on disk."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self._held: dict[str, list[str]] = {}
        self._lock = threading.Lock()  # the sampler adds lines while the training thread flushes

    def open(self, run_folder: Path, run: RunInfo, rank: RankInfo) -> None:
        """Make the folder, write the run's identity (rank 0) and the rank's first record, then what was held back."""
        self.path = run_folder / rank_folder_name(rank.rank)
        self.path.mkdir(parents=True, exist_ok=True)
        if rank.rank == 0:
            write_json(run, run_folder / RUN_FILE)
        write_json(replace(rank, finished=False), self.path / RANK_FILE)
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
            if self.path is None and len(held) > MOST_HELD:
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
            data = "".join(lines).encode()
            if stream.endswith(".gz"):
                data = gzip.compress(data, compresslevel=4)
            with (self.path / stream).open("ab") as file:
                file.write(data)

    def discard(self, stream: str) -> None:
        """Take back everything of a stream."""
        with self._lock:
            self._held.pop(stream, None)
        if self.path is not None:
            (self.path / stream).unlink(missing_ok=True)


def unique_run_folder(folder: Path, name: str, session: int) -> Path:
    """Where a run goes: a second recording of the same job in one process gets a number, the same on every rank."""
    return folder / (name if session == 1 else f"{name}-{session}")
