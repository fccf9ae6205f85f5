"""What another number of micro-batches would make of a pipeline's step: closed forms on what was measured (`method` 6.4).

A step of p stages and m micro-batches takes m times the longest stage and once each of the others. A stage's compute of a micro-batch shrinks as
there are more of them; what its host does for each does not. What was measured differs from the form by transfers and jitter: that difference stays.
"""

import numpy as np

from scaleprof.analyses.replay.chain_nodes import Doing
from scaleprof.analyses.replay.editor import Editor
from scaleprof.analyses.replay.known_nodes import OWN_WORK
from scaleprof.errors import OptionError


def change_ms(editor: Editor, micro_batches: int) -> float:
    """By how much a step would be longer with so many micro-batches of the same batch, ms. OptionError where the run is no pipeline."""
    now = micro_batches_of(editor)
    if not now:
        raise OptionError(f"run {editor.view.info.name} is no pipeline whose stages send one another micro-batches")
    compute, host = stages_ms(editor)
    return step_ms(compute, host, now, micro_batches) - step_ms(compute, host, now, now)


def step_ms(compute: list[float], host: list[float], now: int, then: int) -> float:
    """The closed form: `compute` and `host` are those of each stage in a step of `now` micro-batches, ms."""
    each = [of_compute / then + of_host / now for of_compute, of_host in zip(compute, host, strict=True)]
    return then * max(each) + sum(each) - max(each)


def micro_batches_of(editor: Editor) -> int:
    """How many micro-batches a step has: as many as the first stage sends on; 0 where there is no pipeline."""
    run, ops = editor.run, editor.of_transfers["op"]
    sends = editor.transfers[ops == "send"]
    if len(run.ranks) < 2 or not len(sends):
        return 0
    first = {rank: editor.view.ranks[rank].coordinates.get("pp", rank) for rank in run.ranks}
    stage = min(first.values())
    ranks = [rank for rank in run.ranks if first[rank] == stage]
    return round(int(np.isin(run.rank[sends], ranks).sum()) / len(ranks) / len(run.steps))


def stages_ms(editor: Editor) -> tuple[list[float], list[float]]:
    """What each stage computes, and what its host does besides, in a step, ms; mean over the ranks of a stage."""
    run = editor.run
    by_stage: dict[int, list[int]] = {}
    for rank in run.ranks:
        by_stage.setdefault(editor.view.ranks[rank].coordinates.get("pp", rank), []).append(rank)
    computes = run.kind == Doing.COMPUTE
    others = np.isin(run.kind, OWN_WORK) & ~computes & run.on_host
    found: tuple[list[float], list[float]] = ([], [])
    for _, ranks in sorted(by_stage.items()):
        here = np.isin(run.rank, ranks)
        for part, of in zip(found, (computes, others), strict=True):
            part.append(float(run.graph.dur_ns[here & of].sum()) / len(ranks) / len(run.steps) / 1e6)
    return found
