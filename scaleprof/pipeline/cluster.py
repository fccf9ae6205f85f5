"""Ranks that are measured by the workers of a cluster: each must see the files that are seen here, under the same path."""

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scaleprof.align import RankFacts
from scaleprof.engine import worker_name
from scaleprof.run import RANK_FILE, RankFiles


@dataclass(frozen=True)
class Sent:
    """The files of a rank for a worker whose working folder is another one."""

    files: RankFiles
    bytes: tuple[tuple[Path, int], ...]
    """Of each local file that is seen here."""


def sent(files: RankFiles) -> Sent:
    """The files with whole paths."""
    whole = dataclasses.replace(
        files,
        traces=tuple(path.absolute() for path in files.traces),
        folder=files.folder and files.folder.absolute(),
        timeline=files.timeline and files.timeline.absolute(),
    )
    seen = [*whole.traces, whole.timeline, whole.folder and whole.folder / RANK_FILE]
    local = (path for path in seen if isinstance(path, Path) and path.is_file())
    return Sent(whole, tuple((path, path.stat().st_size) for path in local))


def measured_there(measure: Callable[[RankFiles], RankFacts | str], rank: Sent) -> RankFacts | str:
    """The rank's facts, or why there are none. Runs on a worker of the cluster."""
    for path, size in rank.bytes:
        if not os.access(path, os.R_OK):
            return f"{worker_name()} cannot see {path}: is the folder shared?"
        if path.stat().st_size != size:
            return f"{worker_name()} sees another file as {path} than is seen here: is the folder shared?"
    return measure(rank.files)


def as_given(answer: RankFacts | str, files: RankFiles) -> RankFacts | str:
    """A reason in words with the paths as the user gave them."""
    if isinstance(answer, str):
        for path in (*files.traces, files.timeline, files.folder):
            if path is not None:
                answer = answer.replace(str(path.absolute()), str(path))
    return answer
