"""What a project says once for all its analyses: `scaleprof.toml`, or the table `[tool.scaleprof]` of `pyproject.toml`, whichever is nearest.

[tool.scaleprof]
communication = ["my_ring_exchange"]     # regular expressions: names that communicate, as --communication says them

[tool.scaleprof.analyze]                 # defaults of a command's options, by their long names
workers = 4
set = { "scaling.target" = 0.9 }

In `scaleprof.toml` the same stands without `tool.scaleprof`. An option on the command line comes before one in the environment
(`SCALEPROF_ANALYZE_WORKERS`), and that before these files.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaleprof.errors import OptionError

OWN_FILE, PROJECT_FILE = "scaleprof.toml", "pyproject.toml"
_KNOWN = ("communication",)


@dataclass(frozen=True)
class Settings:
    """What the project says, and where."""

    communication: tuple[str, ...] = ()
    path: Path | None = None
    commands: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Defaults of the options of commands, as they stand in the file."""

    def place(self, command: str) -> str:
        """Where the defaults of a command stand, for messages."""
        table = command if self.path is None or self.path.name == OWN_FILE else f"tool.scaleprof.{command}"
        return f"{self.path}: [{table}]"


def project_settings(folder: Path) -> Settings:
    """The settings of the nearest file in a folder or above it, `scaleprof.toml` before `pyproject.toml`; none where there is no such file or it says
    nothing of us.

    Raises OptionError for a file that is no TOML, an unknown key, a wrong type or a wrong pattern.
    """
    folder = folder.absolute()
    places = (place / name for place in (folder, *folder.parents) for name in (OWN_FILE, PROJECT_FILE))
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return Settings()
    try:
        said: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} cannot be read: {error}") from error
    table = path.name
    if path.name == PROJECT_FILE:
        tool = said.get("tool", {})
        said, table = (tool.get("scaleprof") if isinstance(tool, dict) else None), "[tool.scaleprof]"
    if said is None:
        return Settings(path=path)
    if not isinstance(said, dict):
        raise OptionError(f"{path}: {table} must be a table")
    commands = {name: value for name, value in said.items() if isinstance(value, dict)}
    unknown = sorted(set(said) - set(_KNOWN) - set(commands))
    if unknown:
        raise OptionError(
            f"{path}: {table} knows no {unknown[0]!r}; it knows: {', '.join(_KNOWN)}, and a table for each command"
        )
    patterns = _patterns(said.get("communication", []), f"{path}: {table} communication")
    return Settings(patterns, path, commands)


def check_patterns(patterns: Sequence[str], said_by: str) -> None:
    """OptionError for a pattern that is no regular expression, or that fits any name."""
    for text in patterns:
        try:
            fits_all = re.compile(text).search("") is not None
        except (re.error, OverflowError, RecursionError) as error:
            raise OptionError(f"{said_by}: {text!r} is no regular expression ({error})") from error
        if fits_all:
            raise OptionError(f"{said_by}: {text!r} fits every name, so that nothing would be left as compute")


def _patterns(value: Any, said_by: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise OptionError(f"{said_by} must be a list of regular expressions, such as ['my_exchange'], not {value!r}")
    check_patterns(value, said_by)
    return tuple(value)
