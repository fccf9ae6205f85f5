"""Where the step goes: the leaves of all ranks as shares, by run and by rank."""

from dataclasses import dataclass

import numpy as np

from scaleprof.align import LEAVES, RunView
from scaleprof.align.waiting import PARTS
from scaleprof.analyses.account.account import METHODS, account, segments
from scaleprof.analyses.account.sent import collectives, waits
from scaleprof.analyses.account.steps import NEEDS as STEP_NEEDS
from scaleprof.analyses.account.steps import steady_steps
from scaleprof.analyses.base import LEAF_COLORS, LEAF_LABELS, Analysis, duration, leaf_labels, many, percent
from scaleprof.results import Axis, Chart, Layer, Metric, Result, Table
from scaleprof.trace import UNKNOWN

NEEDS = {**STEP_NEEDS, "account": account, "segments": segments, "collectives": collectives, "waits": waits}

NEGLIGIBLE = 0.005
"""Share of the step below which a class is not worth a word."""
SAME = 0.0005
"""Ranks whose compute differs by less compute equally long: the difference would be shown as zero."""
NOTABLE_SPREAD = 0.02
"""Share of the step by which a class must differ between the ranks to be named in the picture's title."""
UNTOLD_LIMIT = 0.05
"""Share of the exposed communication that may stay untold without a word."""
_SPOKEN = {
    "Pipeline bubble": "the pipeline bubble",
    "Idle": "idle time",
    "Exposed, not told apart": "exposed communication that is not told apart",
}
_METHOD_WORDS = {
    "device": "compute is measured: the union of kernels on the device",
    "operators": "compute is measured: the union of leaf operators on the threads that compute",
    "emulated": "compute is measured: the spans of the emulated device; time that is neither such a span nor blocked is idle",
    "subtracted": "compute is by subtraction: step - blocked in communication - waiting for input - pauses of the interpreter",
}


@dataclass(frozen=True)
class Leaves:
    """The account of one run, summed over its ranks and the accounted steps, in integer ns."""

    rows: Table
    """Rank and step by row, as `RunView.leaves`, only the steps that count."""
    window_ns: int
    by_leaf_ns: dict[str, int]
    bubble_error_ns: int
    """By how much the clocks may have set the bubble wrong."""
    comm_ns: int | None
    """None where no communication spans were recorded."""
    overlapped_ns: int | None
    method: str
    steady: bool
    """False where no accounted step is steady and all accounted steps had to serve."""

    @property
    def exposed_ns(self) -> int:
        """Exposed communication, all parts together."""
        return sum(self.by_leaf_ns[part] for part in PARTS)

    @property
    def is_told_apart(self) -> bool:
        """Whether any of it is known to be waiting or transfer, or there is none."""
        return self.by_leaf_ns["exposed_untold"] < self.exposed_ns or not self.exposed_ns

    def share(self, leaf: str) -> float:
        """The leaf's share of the time of all ranks."""
        return self.by_leaf_ns[leaf] / self.window_ns


def spoken(label: str) -> str:
    """A leaf's label within a sentence: `waiting for slow ranks`, `the pipeline bubble`."""
    return _SPOKEN.get(label, label.lower())


def leaves_of(view: RunView) -> Leaves | None:
    """The account over the steady steps; None where nothing was accounted."""
    table = view.leaves
    if not len(table):
        return None
    chosen = np.isin(table["step"], steady_steps(view))
    steady = bool(chosen.any())
    if not steady:
        chosen = np.ones(len(table), dtype=bool)
    rows = Table({name: np.asarray(column)[chosen] for name, column in table.columns.items()})
    comm_known = bool((rows["comm_ns"] != UNKNOWN).all())
    return Leaves(
        rows=rows,
        window_ns=int(rows["window_ns"].sum()),
        by_leaf_ns={leaf: int(rows[f"{leaf}_ns"].sum()) for leaf in LEAVES},
        bubble_error_ns=int(rows["bubble_error_ns"].sum()),
        comm_ns=int(rows["comm_ns"].sum()) if comm_known else None,
        overlapped_ns=int(rows["overlapped_ns"].sum()) if comm_known else None,
        method=METHODS[int(np.bincount(rows["method"]).argmax())],
        steady=steady,
    )


def conclude(view: RunView, options: None) -> Result | None:
    """Shares of the step by leaf, with how they were measured."""
    leaves = leaves_of(view)
    if leaves is None:
        return None
    metrics = [*_shares(leaves), *_communication(leaves)]
    headline = _headline(leaves)
    return Result(
        name="time",
        title="Where the step goes",
        headline=headline,
        metrics=tuple(metrics),
        tables={"time": _by_rank(leaves)},
        charts=(_chart(view, leaves),),
        caveats=(*_caveats(leaves), *view.refused),
    )


def _shares(leaves: Leaves) -> list[Metric]:
    """The leaves, which sum to 1, and their sum over exposed communication; its parts only where they could be told."""
    shares = {"compute": leaves.share("compute"), "exposed_comm": leaves.exposed_ns / leaves.window_ns}
    if leaves.is_told_apart:
        told = [part for part in LEAVES if part in PARTS and (part != "exposed_untold" or leaves.by_leaf_ns[part])]
        shares |= {part: leaves.share(part) for part in told}
    shares |= {leaf: leaves.share(leaf) for leaf in ("exposed_memory", "idle")}
    return [
        Metric(
            f"time.{leaf}_share",
            LEAF_LABELS[leaf],
            share,
            "share",
            *_interval(leaves, leaf, share),
            better="higher" if leaf == "compute" else "lower",
        )
        for leaf, share in shares.items()
    ]


def _interval(leaves: Leaves, leaf: str, share: float) -> tuple[float | None, float | None]:
    """What the clocks leave open; only a bubble needs them."""
    error = leaves.bubble_error_ns / leaves.window_ns
    return (max(share - error, 0.0), share + error) if leaf == "bubble" and error else (None, None)


def _communication(leaves: Leaves) -> list[Metric]:
    if leaves.comm_ns is None or leaves.overlapped_ns is None:
        return []
    share = leaves.comm_ns / leaves.window_ns
    note = "of the step, hidden or not"
    metrics = [Metric("time.comm_share", "Communication in progress", share, "share", note=note)]
    if leaves.comm_ns:
        ratio = leaves.overlapped_ns / leaves.comm_ns
        label, note = "Communication hidden behind compute", "of the communication"
        metrics.append(Metric("time.overlap_ratio", label, ratio, "share", note=note, better="higher"))
    return metrics


def _headline(leaves: Leaves) -> str:
    labels = leaf_labels(leaves.by_leaf_ns)
    losses = {leaf: leaves.share(leaf) for leaf in labels if leaf != "compute"}
    worst = max(losses, key=lambda leaf: losses[leaf])
    start = f"{percent(leaves.share('compute'))} of the step is compute"
    if losses[worst] < NEGLIGIBLE:
        return f"{start}; nothing else takes more than {percent(NEGLIGIBLE)}"
    return f"{start}; the largest loss is {spoken(labels[worst])} with {percent(losses[worst])}"


def _by_rank(leaves: Leaves) -> Table:
    """Means per step in ms by rank, with busy and hidden communication where known."""
    rows = []
    columns = ["window", "compute", "exposed_comm", *LEAVES[1:], "comm", "overlapped"]
    for rank in np.unique(leaves.rows["rank"]):
        here = leaves.rows["rank"] == rank
        values = [leaves.rows[f"{column}_ns"][here] for column in columns]
        known = [bool((value != UNKNOWN).all()) for value in values]
        means = [float(value.mean()) / 1e6 if ok else None for value, ok in zip(values, known, strict=True)]
        rows.append([int(rank), int(here.sum()), *means])
    names = ["rank", "steps", "step_ms", *(f"{column}_ms" for column in columns[1:])]
    return Table.of_rows(names, rows)


def _chart(view: RunView, leaves: Leaves) -> Chart:
    table = _by_rank(leaves)
    ranks = [f"rank {rank}" for rank in table["rank"]]
    return Chart(
        id="time.by_rank",
        kind="stacked_bars",
        title=_headline(leaves) if len(ranks) == 1 else _differences(table, leaves),
        subtitle=f"ms per step by class, mean over {many(len(np.unique(leaves.rows['step'])), 'step')}; the parts add up to the step exactly.",
        x=Axis("rank", scale="category"),
        y=Axis("time per step", "ms", from_zero=True),
        layers=tuple(
            Layer(label, ranks, list(table[f"{leaf}_ms"]), color=LEAF_COLORS[leaf])
            for leaf, label in leaf_labels(leaves.by_leaf_ns).items()
        ),
        how="The step is divided by a sweep over all interval edges, in integer ns. Compute counts first, then communication that no compute hides, "
        "then memory copies that neither hides; idle is the rest. Of exposed communication transfer counts before a pipeline's bubble, and that "
        "before waiting for slow ranks. Here " + _METHOD_WORDS[leaves.method] + ".",
    )


def _differences(table: Table, leaves: Leaves) -> str:
    """How alike the ranks compute, and which other class differs most between them, where that matters."""
    spread = max(table["compute_ms"]) / max(min(table["compute_ms"]), 1e-9) - 1
    words = f"Compute differs by {percent(spread)} between the ranks"
    if spread < SAME:
        words = "Every rank computes equally long"
    elif spread < 0.05:
        words = f"Every rank computes about as long ({percent(spread)} between the least and the most)"
    labels = leaf_labels(leaves.by_leaf_ns)
    columns = {leaf: list(table[f"{leaf}_ms"]) for leaf in labels if leaf != "compute"}
    most = max(columns, key=lambda leaf: max(columns[leaf]) - min(columns[leaf]))
    low, high = min(columns[most]), max(columns[most])
    if high - low < NOTABLE_SPREAD * sum(table["step_ms"]) / len(table):
        return words
    least_of, most_of = (table["rank"][columns[most].index(value)] for value in (low, high))
    ends = f"from {duration(low)} on rank {least_of} to {duration(high)} on rank {most_of}"
    return f"{words}; {spoken(labels[most])} differs most, {ends}"


def _caveats(leaves: Leaves) -> list[str]:
    caveats = []
    if leaves.method == "subtracted":
        caveats.append(
            "compute is by subtraction (step - blocked - input - pauses): what the host does besides counts as compute; level full measures it"
        )
    exposed, untold = leaves.exposed_ns, leaves.by_leaf_ns["exposed_untold"]
    if exposed <= NEGLIGIBLE * leaves.window_ns:
        untold = 0
    elif untold == exposed:
        caveats.append(
            "exposed communication is waiting for slow ranks and transfer on the wire together: nothing recorded here tells them apart"
        )
    if UNTOLD_LIMIT * exposed < untold < exposed:
        caveats.append(
            f"{percent(untold / exposed)} of the exposed communication is waiting or transfer and cannot be told apart: operations not found "
            "on all their ranks, or waits that name no operation"
        )
    if leaves.comm_ns is None:
        caveats.append("no communication spans were recorded: what is hidden behind compute is unknown")
    elif not leaves.comm_ns:
        caveats.append("no communication ran in these steps, so there is no overlap ratio")
    if not leaves.steady:
        caveats.append(
            "no accounted step is steady: the account is over all of them, warm-up and profiler start included"
        )
    return caveats


TIME = Analysis("time", NEEDS, conclude)
