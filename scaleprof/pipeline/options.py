"""How to analyse, whatever is asked."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from scaleprof.errors import OptionError
from scaleprof.remote import AnyPath
from scaleprof.settings import check_patterns

Progress = Callable[[str, int, int], None]
"""Told (what is being done, how many are done, of how many)."""
ENGINES = ("processes", "serial")
_SCHEDULER = re.compile(r"(?:tcp|tls|ws|wss|ucx)://\S+")
_ENGINES_IN_WORDS = f"{', '.join(ENGINES)}, or the address of a Dask scheduler (tcp://HOST:PORT)"


@dataclass(frozen=True)
class Options:
    """How to analyse."""

    engine: str = "processes"
    """Where ranks are read: `processes`, `serial` (in this process), or on a Dask cluster, by the address of its scheduler, `tcp://host:port`."""
    workers: int | None = None
    """Processes that read ranks; None for one per core."""
    run_globs: tuple[tuple[str, str], ...] = ()
    """(name, glob): these files are one run, whatever they say of themselves."""
    settings: tuple[tuple[str, str], ...] = ()
    """("scaling.target", "0.9"): thresholds of analyses."""
    communication: tuple[str, ...] = ()
    """Regular expressions: what is called so communicates, whatever the rules say."""
    link_reference: AnyPath | None = None
    """A log of nccl-tests to hold the links against."""
    command: str = ""
    """How to make the report again, for its last page."""
    use_cache: bool = True
    """Take the facts of ranks that were read before from the user's cache folder, and keep those of others there."""
    redact: bool = False
    """Short names stand in the report for those of hosts, users, folders and files."""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES and not self.cluster:
            raise OptionError(f"engine must be {_ENGINES_IN_WORDS}, not {self.engine!r}")
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"workers must be at least 1, not {self.workers}")
        check_patterns(self.communication, "--communication")

    @property
    def cluster(self) -> str:
        """The address of a Dask cluster's scheduler; empty where this machine reads."""
        return self.engine if _SCHEDULER.fullmatch(self.engine) else ""
