"""What a project says once for all its analyses: the table `[tool.scaleprof]` of the nearest `pyproject.toml`.

[tool.scaleprof]
communication = ["my_ring_exchange"]     # regular expressions: names that communicate, as --communication says them
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaleprof.errors import OptionError

_FILE = "pyproject.toml"
_KNOWN = ("communication",)


@dataclass(frozen=True)
class Settings:
    """What the project says, and where."""

    communication: tuple[str, ...] = ()
    path: Path | None = None


def project_settings(folder: Path) -> Settings:
    """The settings of the nearest `pyproject.toml` in a folder or above it; none where there is no such file or it says nothing of us.

    Raises OptionError for a file that is no TOML, an unknown key, a wrong type or a wrong pattern.
    """
    folder = folder.absolute()
    path = next((place / _FILE for place in (folder, *folder.parents) if (place / _FILE).is_file()), None)
    if path is None:
        return Settings()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} cannot be read: {error}") from error
    said = table.get("scaleprof") if isinstance(table, dict) else None
    if said is None:
        return Settings(path=path)
    if not isinstance(said, dict):
        raise OptionError(f"{path}: [tool.scaleprof] must be a table")
    unknown = sorted(set(said) - set(_KNOWN))
    if unknown:
        raise OptionError(f"{path}: [tool.scaleprof] knows no {unknown[0]!r}; it knows: {', '.join(_KNOWN)}")
    return Settings(_patterns(said.get("communication", []), f"{path}: [tool.scaleprof] communication"), path)


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
