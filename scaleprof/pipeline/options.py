"""How to analyse, whatever is asked."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scaleprof.errors import OptionError
from scaleprof.settings import check_patterns

Progress = Callable[[str, int, int], None]
"""Told (what is being done, how many are done, of how many)."""


@dataclass(frozen=True)
class Options:
    """How to analyse."""

    engine: Literal["processes", "serial"] = "processes"
    workers: int | None = None
    """Processes that read ranks; None for one per core."""
    run_globs: tuple[tuple[str, str], ...] = ()
    """(name, glob): these files are one run, whatever they say of themselves."""
    settings: tuple[tuple[str, str], ...] = ()
    """("scaling.target", "0.9"): thresholds of analyses."""
    communication: tuple[str, ...] = ()
    """Regular expressions: what is called so communicates, whatever the rules say."""
    link_reference: Path | None = None
    """A log of nccl-tests to hold the links against."""
    command: str = ""
    """How to make the report again, for its last page."""
    use_cache: bool = True
    """Take the facts of ranks that were read before from the user's cache folder, and keep those of others there."""
    redact: bool = False
    """Short names stand in the report for those of hosts, users, folders and files."""

    def __post_init__(self) -> None:
        if self.engine not in ("processes", "serial"):
            raise OptionError(f"engine must be processes or serial, not {self.engine!r}")
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"workers must be at least 1, not {self.workers}")
        check_patterns(self.communication, "--communication")
