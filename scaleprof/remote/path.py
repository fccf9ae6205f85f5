"""A path that is a URL, with as much of pathlib.Path as readers use. What it shows of itself lets nobody in."""

import errno
import fnmatch
import glob
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import unquote

from scaleprof.errors import InputError
from scaleprof.remote.store import Entry, connected, tried

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_WEB = ("http", "https")
_FILES = re.compile(r"\.(?:json|jsonl|gz|pb|tar|tgz|zip|csv|parquet|ya?ml|log|txt)$", re.IGNORECASE)
_AT_ONCE = 16
Answer = TypeVar("Answer")
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class RemoteStat:
    """As much of os.stat_result as readers use."""

    st_size: int
    """0 where the server does not say."""
    st_mtime_ns: int


@dataclass(frozen=True, repr=False)
class RemotePath:
    """A file or folder that is elsewhere."""

    scheme: str
    parts: tuple[str, ...]
    """Host or bucket first."""
    user: str = ""
    """`user:password@`; shown nowhere."""
    query: str = ""
    """`?X-Amz-Signature=...`, of this file alone; shown nowhere."""
    is_stated_folder: bool = field(default=False, compare=False)
    """It was given with a slash at its end."""
    entry: Entry | None = field(default=None, compare=False)
    """What a listing said of it."""

    def __str__(self) -> str:
        return f"{self.scheme}://{'/'.join(self.parts)}"

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __lt__(self, other: "RemotePath") -> bool:
        return (self.scheme, self.parts) < (other.scheme, other.parts)

    @property
    def url(self) -> str:
        """The whole URL, with what lets one in."""
        return f"{self.scheme}://{self.user}{'/'.join(self.parts)}{self.query}"

    # ---- names

    @property
    def name(self) -> str:
        """The last part."""
        return self.parts[-1] if self.parts else ""

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return Path(self.name).stem

    @property
    def parent(self) -> "RemotePath":
        """The folder; that of a host or bucket is itself."""
        return RemotePath(self.scheme, self.parts[:-1] or self.parts, self.user)

    @property
    def parents(self) -> tuple["RemotePath", ...]:
        """The folders, innermost first; the outermost again and again, as deep as anybody looks."""
        found = [self.parent]
        for _ in range(len(self.parts) + 2):
            found.append(found[-1].parent)
        return tuple(found)

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(self.scheme, (*self.parts, *(part for part in name.split("/") if part)), self.user)

    def with_name(self, name: str) -> "RemotePath":
        """Another file beside it."""
        return self.parent / name

    def resolve(self) -> "RemotePath":
        """Itself."""
        return self

    def absolute(self) -> "RemotePath":
        """Itself."""
        return self

    def is_relative_to(self, folder: "AnyPath") -> bool:
        """Whether it is below a folder."""
        same = isinstance(folder, RemotePath) and (self.scheme, self.user) == (folder.scheme, folder.user)
        return same and self.parts[: len(folder.parts)] == folder.parts

    # ---- what is there; OSError, in words, where the store does not answer

    def look(self) -> Entry | None:
        """What the store says of it, None where it is not there."""
        if self.entry is not None and self.entry.size is not None:
            return self.entry
        system, where = connected(self.url, str(self))
        try:
            info = self._on_page(system) if self.scheme in _WEB else None
            info = info or tried(lambda: system.info(where))
        except FileNotFoundError:
            return None
        # A page of a web server is the folder that it lists.
        is_page = info.get("mimetype") == "text/html" and not _FILES.search(self.name)
        folder = self.scheme in _WEB and (is_page or self.is_stated_folder)
        return replace(Entry.of(info), is_folder=True) if folder else Entry.of(info)

    def _on_page(self, system: Any) -> dict[str, Any] | None:
        """What is known of it from the page that lists it, completed once by what a page does not say; None where no page was seen."""
        listed = system.dircache.get(f"{self.parent.url}/")
        if listed is None:
            return None
        own = f"{self.parent.url}/{self.name}"
        info: dict[str, Any] | None = next((info for info in listed if str(info["name"]).rstrip("/") == own), None)
        if info is None:
            raise FileNotFoundError(own)
        if info["type"] != "directory" and info["size"] is None:
            info |= {**tried(lambda: system.info(own)), "name": info["name"]}
        return info

    def exists(self) -> bool:
        """Whether it is there."""
        return self.entry is not None or self.look() is not None

    def is_file(self) -> bool:
        """Whether it is a file."""
        entry = self.entry or self.look()
        return entry is not None and not entry.is_folder

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        entry = self.entry or self.look()
        return entry is not None and entry.is_folder

    def stat(self) -> RemoteStat:
        """Its size and time."""
        entry = self.look()
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, "there is no such file: check the spelling")
        return RemoteStat(entry.size or 0, entry.modified_ns)

    def iterdir(self) -> Iterator["RemotePath"]:
        """What is in the folder, each with what the listing said of it."""
        system, where = connected(self.url, str(self))
        web = self.scheme in _WEB
        found = tried(lambda: system.ls(where.rstrip("/") + "/" if web else where, detail=True))
        children = []
        for info in found:
            name = str(info["name"]).rstrip("/")
            name = name.removeprefix(where.rstrip("/") + "/") if web else name.rpartition("/")[2]
            if name and not re.search(r"[/?#]|^\.+$", name):
                children.append(replace(self / name, entry=Entry.of(info)))
        if web and not children:
            raise NotADirectoryError(
                errno.ENOTDIR, "the server lists no files there: give the addresses of the files themselves"
            )
        return iter(children)

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """What is in the folder and has such a name."""
        return (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))

    def fresh(self) -> None:
        """Forget what was listed before: another analysis may have asked long ago."""
        system, _ = connected(self.url, str(self))
        system.invalidate_cache()
        system.dircache.clear()

    # ---- what is in it

    def open(self, mode: str = "rb") -> BinaryIO:
        """The file, to be read piece by piece; nothing is fetched before it is asked for."""
        assert mode == "rb"
        from scaleprof.remote.file import RemoteFile

        return cast(BinaryIO, io.BufferedReader(RemoteFile(self)))

    def read_bytes(self) -> bytes:
        """All of a small file."""
        with self.open() as file:
            return file.read()

    def read_text(self, encoding: str = "utf-8") -> str:
        """All of a small file, as text."""
        return self.read_bytes().decode(encoding)


AnyPath = Path | RemotePath


def path_of(text: "str | AnyPath") -> AnyPath:
    """The path that somebody typed. InputError for a URL that names nothing."""
    found = _URL.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return text if isinstance(text, RemotePath) else Path(text)
    scheme, rest = found[1].lower(), found[2]
    if scheme in ("file", "local"):
        return Path(unquote(rest))
    query = ""
    if scheme in _WEB:
        rest, mark, query = rest.partition("#")[0].partition("?")
        query = mark + query
    place, slash, below = rest.partition("/")
    user, at, place = place.rpartition("@")
    parts = tuple(
        part for part in (place + slash + below).replace(" ", "%20" if scheme in _WEB else " ").split("/") if part
    )
    if "::" in rest or not parts:
        raise InputError(
            f"{scheme}://{place}{slash}{below}: this address cannot be read: it must name one file or folder"
        )
    return RemotePath(scheme, parts, user + at, query, is_stated_folder=rest.endswith("/"))


def matches(pattern: str) -> list[AnyPath]:
    """The files and folders that fit a pattern, in order."""
    if not _URL.fullmatch(pattern):
        return [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
    top = path_of(pattern)
    if not isinstance(top, RemotePath) or not _MAGIC.search("/".join(top.parts)):
        return [top] if top.exists() else []
    system, where = connected(top.url, str(top))
    found = sorted(str(one) for one in tried(lambda: system.glob(where)))
    return [
        path
        if isinstance(path := path_of(one if _URL.fullmatch(one) else f"{top.scheme}://{one}"), Path)
        else replace(path, user=top.user)
        for one in found
    ]


def is_below(path: AnyPath, folder: AnyPath) -> bool:
    """Whether a path is in a folder, at any depth, or the folder itself."""
    if isinstance(path, Path) and isinstance(folder, Path):
        return path.is_relative_to(folder)
    return isinstance(path, RemotePath) and path.is_relative_to(folder)


def inside(folder: AnyPath) -> list[AnyPath]:
    """What is in a folder, in order of its names."""
    children: list[AnyPath] = [*folder.iterdir()]
    return sorted(children, key=lambda child: child.name)


def at_once(function: Callable[[AnyPath], Answer], paths: Sequence[AnyPath]) -> Iterator[Answer]:
    """What a function says of each path, in their order; several at a time are asked about where each answer is waited for."""
    if not any(isinstance(path, RemotePath) for path in paths):
        yield from map(function, paths)
        return
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield from threads.map(function, paths)


def walk(top: AnyPath) -> Iterator[tuple[AnyPath, list[str], list[AnyPath]]]:
    """As os.walk, with whole paths of files; folders that are taken out of the list are not entered."""
    if isinstance(top, Path):
        for name, folders, files in os.walk(top):
            yield Path(name), folders, [Path(name) / file for file in files]
        return
    children = {child.name: child for child in top.iterdir()}
    names = [name for name, child in children.items() if child.is_dir()]
    yield top, names, [child for child in children.values() if child.is_file()]
    for name in names:
        yield from walk(children[name])


def identity(path: AnyPath) -> tuple[str, int, int] | None:
    """What changes when a file does, its size, and when it last changed (ns); None where its store does not say what it holds now."""
    if isinstance(path, Path):
        status = path.stat()
        return f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}", status.st_size, status.st_mtime_ns
    entry = path.look()
    if entry is None or not entry.tag:
        return None
    return f"{path}\0{path.query}\0{entry.size}\0{entry.tag}", entry.size or 0, entry.modified_ns
