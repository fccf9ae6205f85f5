"""Reads what was recorded: `find_runs` says what lies below a path, `read_rank` makes one rank's files a Trace.

`READERS` is the list of what can be read; a reader is one line in it.
"""

from collections.abc import Sequence

from scaleprof.errors import InputError
from scaleprof.readers.ascend.ascend import facts_of as ascend_facts_of
from scaleprof.readers.ascend.ascend import read_ascend
from scaleprof.readers.base import Reader
from scaleprof.readers.finding.find import find_in
from scaleprof.readers.horovod.coordinator import with_timeline
from scaleprof.readers.horovod.horovod import facts_of as horovod_facts_of
from scaleprof.readers.horovod.horovod import read_horovod
from scaleprof.readers.kineto.facts import facts_of
from scaleprof.readers.kineto.foreign import read_foreign
from scaleprof.readers.recorded.recorded import read_recorded
from scaleprof.readers.xplane.xplane import facts_of as xplane_facts_of
from scaleprof.readers.xplane.xplane import read_xplane
from scaleprof.remote import AnyPath
from scaleprof.run import RankFiles, Run
from scaleprof.trace import Trace

__all__ = ["READERS", "Reader", "find_runs", "read_rank"]

READERS: tuple[Reader, ...] = (
    Reader("recorded", "a rank's folder in a run directory of this project", read_recorded),
    Reader("xplane", "profiles of TensorFlow and JAX, .xplane.pb", read_xplane, xplane_facts_of),
    Reader("ascend", "traces of Ascend's profiler, trace_view.json in a folder per rank", read_ascend, ascend_facts_of),
    Reader("kineto", "trace files of torch.profiler (Kineto), .json or .json.gz", read_foreign, facts_of),
    Reader("horovod", "Horovod timelines (HOROVOD_TIMELINE), .json or .json.gz", read_horovod, horovod_facts_of),
)


def find_runs(paths: Sequence[AnyPath], run_globs: Sequence[tuple[str, str]] = ()) -> list[Run]:
    """Every run below the given folders and files. `run_globs` are pairs (name, glob): the foreign files that match form that run."""
    return find_in(paths, run_globs, READERS)


def read_rank(files: RankFiles, own: Sequence[str] = ()) -> Trace:
    """One rank's Trace. `own` are the user's patterns (regular expressions) of names that communicate."""
    for reader in READERS:
        if reader.name == files.reader:
            trace = reader.read(files, own)
            return trace if files.timeline is None else with_timeline(trace, files)
    raise InputError(f"rank {files.rank}: there is no reader called {files.reader!r}")
