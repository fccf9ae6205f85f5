"""Archives of traces, `.tar`, `.tar.gz`, `.tgz`, `.zip`: unpacked once into the user's cache folder, then read as the folder they are.

An archive is untrusted: only regular files whose names say that they are traces or records are written, by us, below a folder of our own. What
they may come to together is bounded, and so is what the cache holds.
"""

import atexit
import hashlib
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from scaleprof.errors import BrokenFile
from scaleprof.readers.finding.members import DAMAGE, Member, Members, members_of
from scaleprof.readers.xplane.place import SUFFIXES as XPLANES
from scaleprof.remote import AnyPath, identity
from scaleprof.run import cache_folder

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
KEPT_BYTES = 32 << 30
"""What the cache holds; what was not used for longest goes first."""
MOST_MEMBERS = 20_000
_FEWEST_DAYS = 1.0  # another process may be reading what was used today
_MEMBER_SUFFIXES = (".json", ".json.gz", ".jsonl", ".jsonl.gz", *XPLANES)
_PATIENCE_MEMBERS = 1_000
"""Without any trace so far, it is somebody's data set."""
_CHUNK = 1 << 20
_LONGEST_NAME = 120
_COMPLETE, _PARTIAL = ".complete", ".partial"
_ENTRY = re.compile(r"(?P<name>.+)-[0-9a-f]{16}")


@dataclass(frozen=True)
class Unpacked:
    """An archive as a folder."""

    folder: Path
    caveats: tuple[str, ...] = ()


def is_archive(path: AnyPath) -> bool:
    """Whether the name says that it is one."""
    return path.name.lower().endswith(SUFFIXES)


def archives_folder() -> Path:
    """Where archives are unpacked; a folder that goes with this process where nothing is kept."""
    kept = cache_folder()
    return kept / "archives" if kept else _temporary_folder()


@cache
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="scaleprof-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def shown_name(path: AnyPath) -> str:
    """The name of a trace file as its user knows it: `job.tar.gz/rank0.json` where it came out of an archive."""
    if not isinstance(path, Path):
        return path.name
    try:
        entry, _, *member = path.relative_to(archives_folder()).parts
    except ValueError:  # not below it, or not far enough
        return path.name
    found = _ENTRY.fullmatch(entry)
    return "/".join((found["name"], *member)) if found else path.name


def unpacked(path: AnyPath) -> Unpacked:
    """The folder that holds the archive's traces. BrokenFile if it cannot be read at all, or there is no room for it."""
    try:
        said = identity(path)
        known = os.fsencode(said[0] if said else f"{path} {time.time_ns()}")  # what may have changed is read anew
        entry = archives_folder() / f"{path.name[:_LONGEST_NAME]}-{hashlib.sha256(known).hexdigest()[:16]}"
        if (caveats := _remembered(entry)) is not None:
            return Unpacked(_inside(entry, path), caveats)
        entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = entry.with_name(f"{entry.name}.{os.getpid()}{_PARTIAL}")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            caveats = _Unpacking(path, _inside(partial, path)).run()
            (partial / _COMPLETE).write_text("\n".join(caveats), encoding="utf-8", errors="replace")
            _put(partial, entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        _make_room(entry)
    except OSError as error:
        raise BrokenFile(path, f"cannot be unpacked into {archives_folder()} ({error.strerror or error})") from error
    return Unpacked(_inside(entry, path), caveats)


def _inside(entry: Path, archive: AnyPath) -> Path:
    """The folder of the members: it bears the archive's name, for the run is named by it."""
    name = archive.name
    for suffix in (".gz", ".tgz", ".tar", ".zip"):
        name = name.removesuffix(suffix)
    return entry / (name[:_LONGEST_NAME] or "archive")


def _remembered(entry: Path) -> tuple[str, ...] | None:
    """What was said when it was unpacked; None if it was not."""
    try:
        caveats = (entry / _COMPLETE).read_text(encoding="utf-8").splitlines()
        os.utime(entry / _COMPLETE)
    except FileNotFoundError:
        return None
    return tuple(caveats)


def _put(partial: Path, entry: Path) -> None:
    try:
        partial.rename(entry)
    except OSError:
        if _remembered(entry) is None:  # else another process was faster
            raise


def _make_room(but: Path) -> None:
    """Removes what was unpacked and not used for longest, until the rest is within bounds."""
    old = time.time() - _FEWEST_DAYS * 86_400
    for left in but.parent.glob(f"*{_PARTIAL}"):  # a process that was killed
        if left.stat().st_mtime < old:
            shutil.rmtree(left, ignore_errors=True)
    entries = []
    for mark in but.parent.glob(f"*/{_COMPLETE}"):
        if _ENTRY.fullmatch(mark.parent.name) and not mark.parent.is_symlink():
            size = sum(file.stat().st_size for file in mark.parent.rglob("*") if file.is_file())
            entries.append((mark.stat().st_mtime, size, mark.parent))
    total = sum(size for _, size, _ in entries)
    for used, size, entry in sorted(entries):
        if total <= KEPT_BYTES:
            return
        if entry != but and used < old:
            shutil.rmtree(entry, ignore_errors=True)
            total -= size


class _Unpacking:
    """One archive on its way into a folder."""

    def __init__(self, path: AnyPath, folder: Path) -> None:
        self._path, self._folder = path, folder
        self._written = 0
        self._unsafe = self._double = self._unusable = 0

    def run(self) -> tuple[str, ...]:
        """Writes the members; what was left out, one sentence each."""
        self._folder.mkdir(parents=True)
        caveats = []
        try:
            with members_of(self._path) as members:
                if self._took_all(members):
                    caveats.append(f"only the first {MOST_MEMBERS:,} members were read")
        except DAMAGE as error:
            if not self._written:
                raise BrokenFile(self._path, f"is no archive that can be read ({error})") from error
            caveats.append("it is cut off or damaged: what came later is missing")
        for count, what in (
            (self._unsafe, "lead out of it or are no files"),
            (self._double, "stand in it twice"),
            (self._unusable, "have names that no file can have here"),
        ):
            if count:
                caveats.append(f"left out {count:,} of its members, which {what}")
        return tuple(f"{self._path.name}: {caveat}" for caveat in caveats)

    def _took_all(self, members: Members) -> bool:
        """Takes the members one by one; whether there are more than are taken."""
        for number, member in enumerate(members, 1):
            if number > MOST_MEMBERS:
                return True
            self._take(members, member)
            members.found = members.found or self._written > 0
            if not self._written and number >= _PATIENCE_MEMBERS:
                raise BrokenFile(self._path, f"holds no trace among its first {_PATIENCE_MEMBERS:,} members")
        return False

    def _take(self, members: Members, member: Member) -> None:
        if member.is_folder or not member.name.lower().endswith(_MEMBER_SUFFIXES):
            return
        name = PurePosixPath(member.name)
        if not member.is_file or name.is_absolute() or ".." in name.parts:
            self._unsafe += 1
            return
        if name.name.startswith("."):  # macOS puts a shadow of each file beside it
            return
        target = self._folder.joinpath(*name.parts)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            file = target.open("xb")
        except (FileExistsError, IsADirectoryError):
            self._double += 1
            return
        except (OSError, ValueError):
            self._unusable += 1
            return
        with file, members.opened(member) as source:
            while chunk := source.read(_CHUNK):
                members.count(len(chunk))
                file.write(chunk)
                self._written += len(chunk)
