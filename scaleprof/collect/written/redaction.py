"""Takes host, user and path names out of everything that is written, for recordings that others will see."""

import dataclasses
import getpass
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from scaleprof.run import ProcessGroup, RankInfo, RunInfo

Record = TypeVar("Record", RankInfo, RunInfo)

_PATH = re.compile(r'(?<![\w.])(?:/[\w.+@~-]+){2,}/?|(?<!\w)[A-Za-z]:\\[^"\s]+')
_PATH_BYTES = re.compile(rb"(?:/[\w.+@~-]+){2,}/?")
_PRINTABLE = re.compile(rb"[ -~]*")
_LONGEST_SHORT = 128  # longer texts have two bytes for their length
_PERSONAL_LINE = re.compile(r'("(?:host_name|hostname|traceName|username|user)"\s*:\s*)"[^"]*"')
_FREE_TEXT = (
    "name",
    "series",
    "run_id",
    "tags",
    "model",
    "details",
    "warnings",
    "exception",
    "mesh",
    "coordinates",
    "process_groups",
)
"""What users, scripts and errors put into a record; the rest are words of ours."""
_SHORTEST_NAME = 3  # a user called `a` cannot be taken out of a text without taking the text apart


class Redaction:
    """The names of this host and user, and what stands for them."""

    def __init__(self) -> None:
        host = socket.gethostname()
        self._words = {
            name: word
            for name, word in ((host, "<host>"), (host.split(".")[0], "<host>"), (_user(), "<user>"))
            if len(name) >= _SHORTEST_NAME
        }
        names = "|".join(re.escape(name) for name in sorted(self._words, key=len, reverse=True))
        self._names = re.compile(rf"(?<![A-Za-z0-9])(?:{names})(?![A-Za-z0-9])") if names else None

    def text(self, text: str) -> str:
        """The text without paths, host and user."""
        text = _PATH.sub("<path>", text)
        return self._names.sub(lambda found: self._words[found[0]], text) if self._names else text

    def record(self, record: Record) -> Record:
        """A `rank.json` or `run.json` with every text in it redacted."""
        changes: dict[str, Any] = {
            field.name: self.value(getattr(record, field.name))
            for field in dataclasses.fields(record)
            if field.name in _FREE_TEXT
        }
        return dataclasses.replace(record, **changes)

    def value(self, value: Any) -> Any:
        """Any JSON value with every text in it redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.value(key): self.value(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.value(one) for one in value)
        if isinstance(value, ProcessGroup):
            return dataclasses.replace(value, description=self.text(value.description))
        return value

    def trace_file(self, path: Path) -> None:
        """A profiler's own JSON file with its host, its name and every path and name in it redacted."""
        text = path.read_text(errors="replace")
        path.write_text(self.text(_PERSONAL_LINE.sub(r'\1"<redacted>"', text)))

    def binary_file(self, path: Path) -> None:
        """A profiler's own binary file with every path and name in it written over by as many letters, so that all else keeps its place."""
        data = path.read_bytes()
        data = _PATH_BYTES.sub(
            lambda found: _written_over(found) if _begins_text(data, *found.span()) else found[0], data
        )
        host = socket.gethostname().encode()
        if 0 < len(host) < _LONGEST_SHORT:  # an XPlane file says it by itself, in a field that begins so
            data = data.replace(b"\x22" + bytes([len(host)]) + host, b"\x22" + bytes([len(host)]) + b"x" * len(host))
        for name in self._words:
            data = re.sub(rb"(?<![A-Za-z0-9])" + re.escape(name.encode()) + rb"(?![A-Za-z0-9])", _written_over, data)
        path.write_bytes(data)


def _written_over(found: "re.Match[bytes]") -> bytes:
    return b"x" * len(found[0])


def _begins_text(data: bytes, start: int, end: int) -> bool:
    """Whether what looks like a path begins a text or a word, and is no end of a longer name (`gradients/dense/MatMul`): before a text stands its
    length, which may look like a letter."""
    before = data[start - 1] if start else 0
    if not (chr(before).isascii() and (chr(before).isalnum() or before in b"_.")):
        return True
    return end - start <= before < _LONGEST_SHORT and _PRINTABLE.fullmatch(data, start, start + before) is not None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        return ""
