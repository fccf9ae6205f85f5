"""Takes the names of hosts, users, folders and files out of a report that others will see; short names stand for them: `host-1`, `path-2`.

Runs that have the name of a folder or file, and the hosts of ranks, get their short names before anything is concluded, so that no sentence has to be
searched for a name that is also a word. The finished report is then searched for what trace files and errors say by themselves.
"""

import dataclasses
import getpass
import re
import shlex
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scaleprof.remote import AnyPath, RemotePath, path_of
from scaleprof.results import Report, Table
from scaleprof.run import HOROVOD_FILE, RANK_FILE, RUN_FILE, Run, window_of_trace_file

_PART = r"/[^/\s'\"`,;:()<>\[\]|]+"
_PATH = re.compile(
    rf"(?:(?<![\w.</])|(?<=file://))(?:~[\w.-]*{_PART}|{_PART}{_PART})(?:{_PART})*/?|(?<!\w)[A-Za-z]:\\[^\"\s]+"
)
_FILE = re.compile(
    r"[\w@+~%=./-]+\.(?:jsonl?|pb|pt|tar|tgz|zip|sqlite|nsys-rep)(?:\.(?:gz|bz2|xz|zst))?(?![\w-])", re.IGNORECASE
)
_STORED = re.compile(r"(?<![\w+.-])(?!https?:|file:)[A-Za-z][A-Za-z0-9+.-]+://[^\s'\"`,;()<>\[\]|]+")
"""Addresses in stores; those on the web are links to documentation too."""
_OF_USER = re.compile(r"/(?:home|Users|users)/([^/\s]+)")
_OUR_FILES = {RUN_FILE, RANK_FILE, "truth.json", "pyproject.toml"}
_OUR_STREAM = re.compile(r"[a-z_]+(?:\.\d{5,})?\.jsonl(?:\.gz)?")
_PERSONAL_TAGS = {"user", "username", "owner", "author", "email"}
_WORDS_OF_OURS = {"severity", "gain_kind", "kind", "scale", "style", "color", "better", "unit"}
"""Fields of a report that hold a word out of a fixed list."""
_SHORTEST = 3
"""A user called `a` cannot be taken out of a text without taking the text apart."""
_OPTION = re.compile(r"-\w|--[a-z-]+")
_PLAIN_VALUES = ("--engine", "--workers", "--set", "--communication", "--ranks")
"""Options of the command line whose values name no file."""


class Redaction:
    """What was found to be a name, and what stands for it."""

    def __init__(self, paths: Iterable[AnyPath | str], runs: Sequence[Run], *, stated: Iterable[str] = ()) -> None:
        given = [path_of(path) for path in paths]
        self._stated = set(stated)
        self._shorts: dict[str, dict[str, str]] = {}
        self._known: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        roots = {form for path in (*given, *(run.path for run in runs)) for form in (str(path), str(path.resolve()))}
        roots |= {place for path in (*given, *(run.path for run in runs)) if (place := _place(path))}
        # A name alone may be a word; followed by what is in it, it is a folder.
        whole = [
            rf"{re.escape(root)}(?:{_PART}){'*' if '/' in root else '+'}/?" for root in _longest(roots - {".", "/"})
        ]
        self._roots = re.compile(rf"(?<![\w./-])(?:{'|'.join(whole)})") if whole else None
        files = {file for run in runs for ranks in run.ranks.values() for file in ranks.traces}
        # What lies beside them may be named as well: files that were left out.
        files |= {file for folder in {file.parent for file in files} if folder.is_dir() for file in folder.iterdir()}
        files |= {path for path in given if path.is_file()}
        self._files = {name for file in files if not _is_ours(name := file.name)}
        users = [_user(), *(name for root in roots for name in _OF_USER.findall(root))]
        users += [value for run in runs for tag, value in run.info.tags.items() if tag.lower() in _PERSONAL_TAGS]
        for user in users:
            if len(user) >= _SHORTEST and user != "root":
                self._known[user] = self._short("user", user)
        self._here = socket.gethostname()

    def runs(self, runs: Sequence[Run]) -> list[Run]:
        """The runs; those that have the name of their folder or file get a short one."""
        return [
            run
            if run.info.name in self._stated or any(files.folder for files in run.ranks.values())
            else dataclasses.replace(run, info=dataclasses.replace(run.info, name=f"run-{place}"))
            for place, run in enumerate(runs, 1)
        ]

    def host(self, host: str | None) -> str | None:
        """The short name of a host."""
        if not host:
            return host
        short = self._short("host", host)
        for name in (host, host.partition(".")[0]):
            if len(name) >= _SHORTEST or (len(name) > 1 and not name.isalpha()):
                self._known.setdefault(name, short)
        return short

    def report(self, report: Report) -> Report:
        """The report with every text in it redacted."""
        if len(self._here) >= _SHORTEST and self._here != "localhost":
            self.host(self._here)
        made = {**report.made_with, "command": self._command(report.made_with.get("command", ""))}
        grouping = {
            name: [self._files_in(cell) for cell in column] if name == "files" else column
            for name, column in report.grouping.columns.items()
        }
        changed: Report = self._value(dataclasses.replace(report, made_with=made, grouping=Table(grouping)))
        return changed

    def text(self, text: str) -> str:
        """The text without hosts, users, paths and names of trace files."""
        if text not in self._texts:
            self._texts[text] = self._redacted(text)
        return self._texts[text]

    def _redacted(self, text: str) -> str:
        text = _STORED.sub(lambda found: self._short("path", found[0].rstrip("/")), text)
        if self._roots:
            text = self._roots.sub(lambda found: self._short("path", found[0].rstrip("/")), text)
        text = _PATH.sub(lambda found: self._short("path", found[0].rstrip("/")), text)
        for name in _longest(name for name in self._files if name in text):
            text = text.replace(name, self._short("file", name))
        text = _FILE.sub(lambda found: found[0] if _is_ours(found[0]) else self._short("file", found[0]), text)
        known = "|".join(re.escape(name) for name in _longest(name for name in self._known if name in text))
        return (
            re.sub(rf"(?<![A-Za-z0-9])(?:{known})(?![A-Za-z0-9])", lambda found: self._known[found[0]], text)
            if known
            else text
        )

    def _files_in(self, cell: str) -> str:
        """Names of files with a comma between them, those of the recorder kept."""
        return ", ".join(name if _is_ours(name) else self._short("file", name) for name in cell.split(", "))

    def _value(self, value: Any) -> Any:
        """Anything that a report holds, with every text in it redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Table):
            return Table({self.text(name): self._value(column) for name, column in value.columns.items()})
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.replace(value, **{name: self._value(one) for name, one in _fields(value)})
        if isinstance(value, np.ndarray):
            return (
                np.array([self._value(one) for one in value], value.dtype.type) if value.dtype.kind in "UO" else value
            )
        if isinstance(value, Mapping):
            return {self._value(key): self._value(one) for key, one in value.items()}
        return type(value)(self._value(one) for one in value) if isinstance(value, list | tuple) else value

    def _command(self, command: str) -> str:
        """A command line without the files that it names."""
        try:
            words = shlex.split(command)
        except ValueError:  # no shell would have taken it
            return ""
        shown, before = words[:2], ""
        for word in words[2:]:
            name, is_pair, rest = word.partition("=")
            if _OPTION.fullmatch(word) or before in _PLAIN_VALUES:
                shown.append(self.text(word))
            elif is_pair and (_OPTION.fullmatch(name) or before == "--run"):
                shown.append(
                    f"{self.text(name)}={self.text(rest) if name in _PLAIN_VALUES else self._short('path', rest)}"
                )
            else:
                shown.append(self._short("path", word.rstrip("/")))
            before = word
        return shlex.join(shown)

    def _short(self, kind: str, name: str) -> str:
        shorts = self._shorts.setdefault(kind, {})
        return name if name in shorts.values() else shorts.setdefault(name, f"{kind}-{len(shorts) + 1}")


def _place(path: AnyPath) -> str:
    """The host or bucket of a path that is elsewhere."""
    return path.parts[0] if isinstance(path, RemotePath) else ""


def _fields(record: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(record):
        if field.name not in _WORDS_OF_OURS:
            yield field.name, getattr(record, field.name)


def _longest(names: Iterable[str]) -> list[str]:
    """The longest first, so that no name is taken for a part of itself."""
    return sorted(names, key=lambda name: (-len(name), name))


def _is_ours(name: str) -> bool:
    """Whether a file is called what the recorder calls its files."""
    ours = name in _OUR_FILES or name.removesuffix(".gz") == HOROVOD_FILE
    return ours or window_of_trace_file(name) is not None or _OUR_STREAM.fullmatch(name) is not None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        return ""
