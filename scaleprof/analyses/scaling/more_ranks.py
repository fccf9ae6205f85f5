"""What a run says of other numbers of ranks, by replay: bytes and hops of its collectives as rings have them, compute as the batch has it
(`method` 5.3, 7.4).

How much of a longer transfer a step then waits for, and how much hides behind compute, follows from the graph and is assumed nowhere.
"""

from collections.abc import Sequence

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.replay.editor import Editor
from scaleprof.analyses.replay.edits import Edit
from scaleprof.analyses.replay.run_graph import run_graph
from scaleprof.analyses.scaling.study import Size
from scaleprof.errors import OptionError
from scaleprof.models.replayed import DOUBLINGS, Replayed
from scaleprof.models.scaling import Kind


def replays_of(kind: Kind, sizes: Sequence[Size]) -> tuple[Replayed | None, ...]:
    """Of each size what its first run says of other sizes: those of the study, and the largest one doubled again and again. None where a run has no
    graph, or has collectives that not all ranks take part in."""
    if kind not in ("strong", "weak"):
        return ()
    largest = sizes[-1].ranks
    asked = sorted({size.ranks for size in sizes} | {largest * 2**times for times in range(1, DOUBLINGS + 1)})
    return tuple(_replayed(kind, size, asked) for size in sizes)


def _replayed(kind: Kind, size: Size, asked: Sequence[int]) -> Replayed | None:
    """Times per sample and rank, as measured at the size itself."""
    ratios = _ratios(size.views[0], kind, asked) if size.ranks > 1 and size.views else None
    if ratios is None or not (ratios > 0).all():
        return None
    own = size.ranks / size.throughput.value
    batches = np.array(asked) / size.ranks if kind == "strong" else 1.0
    return Replayed(size.ranks, np.array(asked, dtype=np.float64), own * ratios * batches)


def _ratios(view: RunView, kind: Kind, asked: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """How much longer a step takes with so many ranks."""
    run = run_graph(view)
    if run is None or len(run.ranks) != view.info.world_size:
        return None
    batch = "global" if kind == "strong" else "local"
    edits = [Edit(), *(Edit(ranks=ranks, batch=batch) if ranks != view.info.world_size else Edit() for ranks in asked)]  # type: ignore[arg-type]
    try:
        base, *times = Editor(view, run).step_ms(edits)
    except OptionError:
        return None
    return np.array(times) / base if base > 0 else None
