"""Facts that were measured before: a second analysis of the same traces reads none of them.

One file per rank in the user's cache folder, as `columns` writes tables: no pickle. Its name is made from path, size and time of every file that the
rank was read from, from the code that read it and from the user's patterns of what communicates, so that nothing outdated is ever found. Never in the
way: what cannot be read is measured again, what cannot be written is not kept.

Facts may also be brought: a rank's folder that holds a file of them in place of traces is taken at its word.
"""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from scaleprof import __version__
from scaleprof.align import RankFacts
from scaleprof.align.shelf import StoredTables
from scaleprof.columns import FileSource, head_of, tables_of, write
from scaleprof.errors import BrokenFile
from scaleprof.remote import identity, inside
from scaleprof.results import Table
from scaleprof.run import COLLECTIVES_FILE, FACTS_FILE, RankFiles, cache_folder, rank_info_of

FEWEST_BYTES = 1 << 20
"""Smaller ranks are read as fast as their facts are found."""
MOST_ENTRIES = 4096
_SETTLED_NS = 2_000_000_000
"""A file that changed just now may change again within the same tick of its clock."""
_SUFFIX = ".facts"
_BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, BrokenFile)


def recall(files: RankFiles, communication: Sequence[str] = ()) -> RankFacts | None:
    """The facts of a rank as they were measured from these very files, with these very patterns; None where they were not."""
    entry = _entry(files, communication)
    if entry is None or not entry.exists():
        return None
    try:
        facts = _read(entry)
        tables = {name: Table(dict(table.columns)) for name, table in facts.tables.items()}
        os.utime(entry)  # the entries that were used last are the ones to keep
    except _BROKEN:
        return None
    return dataclasses.replace(facts, tables=tables)


def keep(files: RankFiles, facts: RankFacts, communication: Sequence[str] = ()) -> None:
    """Remember the facts of a rank, if it is large enough to be worth it."""
    entry = _entry(files, communication)
    if entry is None:
        return
    temporary = entry.with_name(f".{entry.stem}.{os.getpid()}.tmp")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_facts(temporary, facts)
        temporary.replace(entry)
        _forget_oldest(entry.parent)
    except (OSError, TypeError, ValueError):
        with suppress(OSError):
            temporary.unlink()


def write_facts(path: Path, facts: RankFacts) -> None:
    """A file that holds the facts of a rank. OSError where it cannot be written, TypeError where a table holds what no file can."""
    with path.open("wb") as file:
        info = dataclasses.asdict(facts.info)
        write(file, {"version": __version__, "info": info, "caveats": facts.caveats}, facts.tables)


def brought(files: RankFiles) -> RankFacts | None:
    """The facts that lie in a rank's folder in place of traces, their tables to be read when they are asked for; None where there are none.

    BrokenFile for a file that another version wrote, or that holds no facts.
    """
    path = files.folder / FACTS_FILE if files.folder is not None else None
    if path is None or not path.is_file():
        return None
    if not isinstance(path, Path):
        raise BrokenFile(path, "holds facts, which are read from a folder of this machine only: copy the run here")
    try:
        facts = _read(path)
    except BrokenFile:
        raise
    except _BROKEN as error:
        raise BrokenFile(path, f"holds no facts that can be read ({error})") from error
    if facts.info.rank != files.rank:
        raise BrokenFile(path, f"holds the facts of rank {facts.info.rank}: the folder is that of another")
    return facts


def _read(path: Path) -> RankFacts:
    with path.open("rb") as file:
        head = head_of(file, path)
    if head.said.get("version") != __version__:
        raise BrokenFile(path, f"was written by another version than {__version__}: measure its facts anew")
    tables = StoredTables(FileSource(path, head.begin), tables_of(head.said, path))
    caveats = tuple(map(str, head.said["caveats"]))
    return RankFacts(rank_info_of(head.said["info"], path), tables, caveats)


def _entry(files: RankFiles, communication: Sequence[str]) -> Path | None:
    """The file that holds a rank's facts, whether or not it exists; None where none is to be kept."""
    folder = cache_folder()
    if folder is None or (files.folder is not None and (files.folder / FACTS_FILE).exists()):
        return None
    parts = [_code(), files.reader, f"{files.rank}/{files.world_size}", json.dumps(list(communication))]
    size, newest = 0, 0
    try:
        own = inside(files.folder) if files.folder else []
        if files.timeline is not None:  # read with what its own rank wrote beside it
            parts.append("timeline")
            beside = files.timeline.parent / COLLECTIVES_FILE
            own += [files.timeline, *([beside] if beside.exists() else [])]
        for path in dict.fromkeys((*files.traces, *own)):
            known = identity(path)
            if known is None:  # its store does not say whether it is still the same
                return None
            word, its_bytes, changed_ns = known
            parts.append(word)
            size, newest = size + its_bytes, max(newest, changed_ns)
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
