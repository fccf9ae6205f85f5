"""Facts that were measured before: a second analysis of the same traces reads none of them.

One file per rank in the user's cache folder: arrays as NumPy writes them, the rest as JSON, no pickle. Its name is made from path, size and time
of every file that the rank was read from, from the code that read it and from the user's patterns of what communicates, so that nothing outdated
is ever found. Never in the way: what cannot
be read is measured again, what cannot be written is not kept.
"""

import dataclasses
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from scaleprof.align import RankFacts
from scaleprof.errors import BrokenFile
from scaleprof.results import Table
from scaleprof.run import COLLECTIVES_FILE, RankFiles, cache_folder, rank_info_of

FEWEST_BYTES = 1 << 20
"""Smaller ranks are read as fast as their facts are found."""
MOST_ENTRIES = 4096
_SETTLED_NS = 2_000_000_000
"""A file that changed just now may change again within the same tick of its clock."""
_SUFFIX = ".npz"
_HEAD = "head"
_BROKEN = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, BrokenFile)


def recall(files: RankFiles, communication: Sequence[str] = ()) -> RankFacts | None:
    """The facts of a rank as they were measured from these very files, with these very patterns; None where they were not."""
    entry = _entry(files, communication)
    if entry is None or not entry.exists():
        return None
    try:
        with entry.open("rb") as file, np.load(file, allow_pickle=False) as content:
            head = json.loads(bytes(content[_HEAD]))
            tables = {
                name: Table({column: _column(content, name, column, stored) for column, stored in columns.items()})
                for name, columns in head["tables"].items()
            }
        facts = RankFacts(rank_info_of(head["info"], entry), tables, tuple(head["caveats"]))
        os.utime(entry)  # the entries that were used last are the ones to keep
    except _BROKEN:
        return None
    return facts


def keep(files: RankFiles, facts: RankFacts, communication: Sequence[str] = ()) -> None:
    """Remember the facts of a rank, if it is large enough to be worth it."""
    entry = _entry(files, communication)
    if entry is None:
        return
    head: dict[str, Any] = {"info": dataclasses.asdict(facts.info), "caveats": facts.caveats, "tables": {}}
    arrays: dict[str, Any] = {}
    for name, table in facts.tables.items():
        columns = head["tables"][name] = {}
        for column, values in table.columns.items():
            is_array = isinstance(values, np.ndarray) and values.dtype != object
            columns[column] = None if is_array else list(values)
            if is_array:
                arrays[f"{name}/{column}"] = values
    temporary = entry.with_name(f".{entry.stem}.{os.getpid()}.tmp")
    try:
        text = json.dumps(head, default=_plain).encode()
        entry.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez(file, **{_HEAD: np.frombuffer(text, dtype=np.uint8), **arrays})
        temporary.replace(entry)
        _forget_oldest(entry.parent)
    except (OSError, TypeError, ValueError):
        with suppress(OSError):
            temporary.unlink()


def _column(content: Any, table: str, column: str, stored: list[Any] | None) -> Any:
    return content[f"{table}/{column}"] if stored is None else stored


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not kept")


def _entry(files: RankFiles, communication: Sequence[str]) -> Path | None:
    """The file that holds a rank's facts, whether or not it exists; None where none is to be kept."""
    folder = cache_folder()
    if folder is None:
        return None
    parts = [_code(), files.reader, f"{files.rank}/{files.world_size}", json.dumps(list(communication))]
    size, newest = 0, 0
    try:
        own = sorted(files.folder.iterdir()) if files.folder else []
        if files.timeline is not None:  # read with what its own rank wrote beside it
            parts.append("timeline")
            beside = files.timeline.parent / COLLECTIVES_FILE
            own += [files.timeline, *([beside] if beside.exists() else [])]
        for path in dict.fromkeys((*files.traces, *own)):
            status = path.stat()
            parts.append(f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}")
            size, newest = size + status.st_size, max(newest, status.st_mtime_ns)
    except OSError:
        return None
    if size < FEWEST_BYTES or time.time_ns() - newest < _SETTLED_NS:
        return None
    return folder / (hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40] + _SUFFIX)


@cache
def _code() -> str:
    """A word that changes with any line of this package."""
    digest = hashlib.sha256(np.__version__.encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _forget_oldest(folder: Path) -> None:
    entries = [entry for entry in os.scandir(folder) if entry.name.endswith(_SUFFIX)]
    if len(entries) <= MOST_ENTRIES:
        return
    entries.sort(key=lambda entry: entry.stat().st_mtime_ns)
    for entry in entries[: len(entries) - MOST_ENTRIES * 3 // 4]:
        with suppress(OSError):
            os.unlink(entry)
