"""Combinations of what-ifs, replayed beforehand, between which the page of a report reads (`method` 7.4)."""

from itertools import product

from scaleprof.analyses.replay.editor import Editor
from scaleprof.analyses.replay.edits import HALVED, PAUSES, Edit
from scaleprof.results import Table

LINKS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0)
"""Multiples of the bandwidth."""
SWITCHES = {
    "no_stragglers": Edit(no_stragglers=True),
    "half_gradients": Edit(compress=HALVED),
    "no_syncbn": Edit(no_sync_batch_norm=True),
    "no_input": Edit(without=frozenset(("input",))),
    "no_pauses": Edit(without=PAUSES),
    "no_host_syncs": Edit(no_host_syncs=True),
    "no_launches": Edit(no_launches=True),
}
"""What is so or not, by the name of its scenario."""
MOST_SWITCHES = 4
MOST_NODES = 60_000_000
"""Nodes that are replayed for a grid: of a large graph fewer switches are offered."""


def grid_of(editor: Editor, base_ms: float, effects: dict[str, float]) -> Table:
    """One row a combination: link, 0 or 1 for each switch, step_ms. Of `effects`, steps by scenario, those that change most are offered.

    Empty where nothing can be chosen.
    """
    links = LINKS if len(editor.transfers) and len(editor.run.ranks) > 1 else (1.0,)
    known = [name for name in SWITCHES if name in effects]
    known.sort(key=lambda name: -abs(effects[name] - base_ms))
    room = MOST_SWITCHES
    while room and len(links) * 2**room * len(editor.run.graph) > MOST_NODES:
        room -= 1
    chosen = [name for name in SWITCHES if name in known[:room]]
    if len(links) == 1 and not chosen:
        return Table({})
    cells = [(link, switched) for switched in product((0, 1), repeat=len(chosen)) for link in links]
    edits = [_edit(link, dict(zip(chosen, switched, strict=True))) for link, switched in cells]
    times = editor.step_ms(edits)
    return Table.of_rows(
        ("link", *chosen, "step_ms"), [[link, *switched, ms] for (link, switched), ms in zip(cells, times, strict=True)]
    )


def _edit(link: float, switched: dict[str, int]) -> Edit:
    edit = Edit(link=link)
    for name, is_on in switched.items():
        edit = edit.also(SWITCHES[name]) if is_on else edit
    return edit
