"""Which run and rank an XPlane file belongs to, by where it lies and what devices it names: nothing in it says a rank.

The profilers write `<logdir>/plugins/profile/<date>/<host>.xplane.pb`. Ranks on one host overwrite each other there, so each has a logdir of its own,
side by side; ranks of several hosts write into one folder.
"""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from scaleprof.readers.kineto.facts import rank_in_name
from scaleprof.readers.xplane.space import Space
from scaleprof.remote import AnyPath
from scaleprof.run import MOST_RANKS

SUFFIXES = (".xplane.pb", ".xplane.pb.gz")
_TASK = re.compile(r"/job:(\w+)/replica:\d+/task:(\d{1,7})/")
_WORKERS = ("worker", "chief")


class Place(NamedTuple):
    """Where a file belongs."""

    rank: int | None
    """None for a file that lies by itself and says nothing."""
    folder: AnyPath
    """That of its run."""
    counted: bool = False
    """The rank is the file's place among those of its folder, by name."""


def is_xplane(path: AnyPath) -> bool:
    """Whether the name is one of an XPlane file."""
    return path.name.endswith(SUFFIXES)


def place_of(path: AnyPath, space: Space) -> Place:
    """The rank by the file's name, the name of its logdir, TensorFlow's task, or its place in the folder."""
    folder = path.absolute().parent
    in_logdir = folder.parent.name == "profile" and folder.parent.parent.name == "plugins"
    logdir = folder.parents[2] if in_logdir else folder
    named = rank_in_name(path)
    if named is not None and named < MOST_RANKS:
        return Place(named, logdir)
    named = rank_in_name(Path(logdir.name))
    if named is not None and named < MOST_RANKS:
        return Place(named, logdir.parent)
    beside = sorted(one.name for one in folder.iterdir() if is_xplane(one)) if in_logdir else []
    task = _task(space)
    if task is not None:
        return Place(task, logdir if len(beside) > 1 or not in_logdir else logdir.parent)
    if len(beside) > 1:
        return Place(beside.index(path.name), logdir, counted=True)
    return Place(0, logdir) if in_logdir else Place(None, path.absolute())


def _task(space: Space) -> int | None:
    """The task that most devices in the file belong to: those of this process itself. None where the job has but one process."""
    tasks = Counter[tuple[str, int]]()
    for plane in space.planes:
        for text in plane.keys.values():
            if found := _TASK.search(text.partition(";")[0]):
                tasks[found[1], int(found[2])] += 1
    known = [task for task in tasks.most_common() if task[0][0] in _WORKERS]
    return known[0][0][1] if known else None
