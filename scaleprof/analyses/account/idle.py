"""Why nothing ran: idle time by cause over the steady steps of all ranks, and what it is called.

The eight causes are those a reader can act on; the finer ones of `host.Cause` stand in the table. They sum to the idle leaf of the account exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.account.gaps import idle, idle_names
from scaleprof.analyses.account.host import Cause
from scaleprof.analyses.account.time import NEEDS as TIME_NEEDS
from scaleprof.analyses.account.time import NEGLIGIBLE, leaves_of
from scaleprof.analyses.base import Analysis, duration, listed, many, percent
from scaleprof.intervals import Ints
from scaleprof.results import Axis, Chart, Layer, Metric, Result, Table

NEEDS = {**TIME_NEEDS, "idle": idle, "idle_names": idle_names}

GROUPS: Mapping[str, tuple[Cause, ...]] = {
    "input": (Cause.INPUT,),
    "sync": (Cause.SYNC, Cause.AFTER_SYNC),
    "launch": (Cause.LAUNCH, Cause.DISPATCH, Cause.INTERPRETER),
    "alloc": (Cause.ALLOC,),
    "compile": (Cause.COMPILE,),
    "gc": (Cause.GC,),
    "checkpoint": (Cause.CHECKPOINT,),
    "other": (Cause.HOST_COMM, Cause.SCHED, Cause.UNTRACED, Cause.UNLINKED),
}
"""The causes of `idle.<name>_share`. On a host without a device nothing is launched: there `launch` is part of `other`."""
_LABELS = {
    "input": "waiting for input",
    "sync": "host waits for the device",
    "launch": "launching work",
    "alloc": "allocating memory",
    "compile": "loading and compiling",
    "gc": "garbage collection",
    "checkpoint": "checkpoint",
    "other": "other causes",
}
_COLORS = ("series-1", "series-2", "series-4", "series-5", "series-6", "series-3", "total", "muted")
_ONLY_ON_DEVICE = ("sync", "launch", "alloc")
_WORDS = {
    "input": "waiting for input",
    "sync": "where a call of the host waits for the device and lets it run dry",
    "launch": "where the host does not launch the next work in time",
    "alloc": "allocating memory",
    "compile": "loading modules or compiling",
    "gc": "collecting garbage",
    "checkpoint": "at a checkpoint",
}
_OTHER_WORDS = {
    Cause.HOST_COMM: "in communication on the host",
    Cause.SCHED: "before work that was already queued",
    Cause.LAUNCH: "between a launch and what it launches",
    Cause.DISPATCH: "in the host's operators and calls",
    Cause.INTERPRETER: "between the host's operators and calls",
    Cause.UNTRACED: "where nothing was recorded of the host",
    Cause.UNLINKED: "before work of which the launch is not in the file",
}
MOST_ROWS = 20
_SOME = 0.05
"""Share of the idle time that is worth a caveat."""
_QUEUED = 0.1
"""Share of the step idle with work in the queue above which more than the time between two kernels must be behind it."""
_DISTORTED = 0.01
"""Share of the step spent launching above which what the profiler itself costs is worth a word."""
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Idle:
    """Idle time by cause over the steps that count, summed over ranks, in ns."""

    by_rank: Mapping[int, Ints]
    """Steps by `Cause`."""
    steps: Mapping[int, Ints]
    """The numbers of these steps."""
    window_ns: int
    has_device: bool
    untraced_ranks: tuple[int, ...]
    """Those of which the file says nothing of the host."""
    has_operators: bool
    subtracted: bool
    """Idle time is what the steps say of their input, and nothing else could be seen."""

    @property
    def by_cause(self) -> Ints:
        """Sum over ranks and steps."""
        total: Ints = np.sum([cells.sum(axis=0) for cells in self.by_rank.values()], axis=0)
        return total

    def groups(self, cells: Ints) -> dict[str, int]:
        """Sums of causes by the names of the metrics, in order."""
        sums = {name: int(cells[list(causes)].sum()) for name, causes in GROUPS.items()}
        if not self.has_device:
            sums["other"] += sums["launch"]
            sums["launch"] = 0
        return sums

    def causes_of(self, group: str) -> tuple[Cause, ...]:
        """What a group consists of here."""
        return GROUPS[group] if self.has_device or group != "other" else (*GROUPS["other"], *GROUPS["launch"])


def idle_of(view: RunView) -> Idle | None:
    """Idle time over the same steps as `time.leaves_of`; None where there is no account."""
    leaves, tables = leaves_of(view), view.fact("idle")
    if leaves is None or not any(len(table) for table in tables.values()):
        return None
    ranks, numbers = np.asarray(leaves.rows["rank"]), np.asarray(leaves.rows["step"])
    by_rank, steps, window_ns = {}, {}, 0
    for rank, table in tables.items():
        chosen = np.isin(table["step"], numbers[ranks == rank])
        if chosen.any():
            columns = [np.asarray(table[f"{cause.name.lower()}_ns"])[chosen] for cause in Cause]
            by_rank[rank] = np.column_stack(columns)
            steps[rank] = np.asarray(table["step"])[chosen]
            window_ns += int(np.asarray(table["window_ns"])[chosen].sum())
    if not window_ns:
        return None
    first = [tables[rank] for rank in by_rank]
    return Idle(
        by_rank=by_rank,
        steps=steps,
        window_ns=window_ns,
        has_device=any(bool(table["has_device"][0]) for table in first),
        untraced_ranks=tuple(rank for rank in by_rank if not tables[rank]["traced"][0]),
        has_operators=any(bool(table["operators"][0]) for table in first),
        subtracted=leaves.method == "subtracted",
    )


def conclude(view: RunView, options: None) -> Result | None:
    """Shares of the step by cause, with the names behind them."""
    found = idle_of(view)
    if found is None:
        return None
    names = _names(view, found)
    is_idle = bool(found.by_cause.any())
    return Result(
        name="idle",
        title="Why the device was idle" if found.has_device else "Why nothing ran",
        headline=_headline(found, names),
        metrics=tuple(_metrics(found)),
        tables={"idle": _by_rank(found), "idle_names": names},
        charts=(_chart(found),) if is_idle else (),
        caveats=tuple(_caveats(found)) if is_idle or found.subtracted else (),
    )


def _metrics(found: Idle) -> list[Metric]:
    """One share for each cause that could be seen; together they are the idle share of the account."""
    sums = found.groups(found.by_cause)
    shown = [
        name
        for name, ns in sums.items()
        if ns or name == "input" or not (found.subtracted or (name in _ONLY_ON_DEVICE and not found.has_device))
    ]
    return [
        Metric(f"idle.{name}_share", f"Idle: {_LABELS[name]}", sums[name] / found.window_ns, "share", better="lower")
        for name in shown
    ]


def _headline(found: Idle, names: Table) -> str:
    by_cause = found.by_cause
    share = float(by_cause.sum()) / found.window_ns
    what = "The device is idle" if found.has_device else "Nothing runs for"
    if share < NEGLIGIBLE:
        return f"{what} {percent(share)} of the step: nothing to gain here"
    sums = found.groups(by_cause)
    group = max(sums, key=lambda name: sums[name])
    causes, ns, words = found.causes_of(group), sums[group], _WORDS.get(group, "")
    if not words:  # other causes are no one thing: the words speak of the largest
        worst = max(causes, key=lambda cause: int(by_cause[cause]))
        causes, ns, words = (worst,), int(by_cause[worst]), _OTHER_WORDS[worst]
    start = f"{what} {percent(share)} of the step, {percent(ns / found.window_ns)} {words}"
    spoken = {cause.name.lower() for cause in causes}
    return start + _most_under(found, names, spoken)


def _most_under(found: Idle, names: Table, causes: set[str]) -> str:
    """The name that covers most of these causes, how much, and in how many steps; empty where nothing has a name."""
    shares: dict[str, float] = {}
    seen: dict[str, int] = {}
    for cause, name, share, steps in zip(*(names[one] for one in ("cause", "name", "share", "steps")), strict=True):
        if name and cause in causes:
            shares[name] = shares.get(name, 0.0) + share
            seen[name] = max(seen.get(name, 0), steps)
    if not shares:
        return ""
    name = max(shares, key=lambda one: shares[one])
    shown = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "..."
    steps = len(np.unique(np.concatenate(list(found.steps.values()))))
    return f"; `{shown}` alone has {percent(shares[name])}, in {seen[name]} of {many(steps, 'step')}"


def _by_rank(found: Idle) -> Table:
    """Means per step in ms; of the finer causes those that occur."""
    there = [cause for cause in Cause if found.by_cause[cause]]
    rows = []
    for rank, cells in found.by_rank.items():
        means = cells.mean(axis=0) / 1e6
        rows.append(
            [rank, len(cells), float(cells.sum(axis=1).mean()) / 1e6, *(float(means[cause]) for cause in there)]
        )
    return Table.of_rows(["rank", "steps", "idle_ms", *(f"{cause.name.lower()}_ms" for cause in there)], rows)


def _names(view: RunView, found: Idle) -> Table:
    """What covers most idle time: ms per step and rank, share of the step, in how many steps, on how many ranks, and where most."""
    total: dict[tuple[int, str], int] = {}
    seen: dict[tuple[int, str], dict[tuple[int, int], int]] = {}
    for rank, steps in found.steps.items():
        table = view.fact("idle_names").get(rank)
        if table is None:
            continue
        chosen = np.flatnonzero(np.isin(table["step"], steps))
        for row in chosen.tolist():  # 20 names a rank and step, not events
            key = (int(table["cause"][row]), table["name"][row])
            ns = int(table["ns"][row])
            total[key] = total.get(key, 0) + ns
            seen.setdefault(key, {})[rank, int(table["step"][row])] = ns
    count = sum(len(steps) for steps in found.steps.values())
    rows = []
    for key in sorted(total, key=lambda one: (-total[one], one))[:MOST_ROWS]:
        places = {place: ns for place, ns in seen[key].items() if ns}
        worst = max(places or seen[key], key=lambda place: seen[key][place])
        seen_on = [len({place[axis] for place in places}) for axis in (1, 0)]
        cause, share = Cause(key[0]).name.lower(), total[key] / found.window_ns
        rows.append([cause, key[1], total[key] / count / 1e6, share, *seen_on, *worst])
    return Table.of_rows(["cause", "name", "ms", "share", "steps", "ranks", "worst_rank", "worst_step"], rows)


def _chart(found: Idle) -> Chart:
    ranks = [f"rank {rank}" for rank in found.by_rank]
    sums = [found.groups(cells.sum(axis=0)) for cells in found.by_rank.values()]
    steps = [len(cells) for cells in found.by_rank.values()]
    means = {name: [one[name] / count / 1e6 for one, count in zip(sums, steps, strict=True)] for name in GROUPS}
    idle_ms = np.sum(list(means.values()), axis=0)
    return Chart(
        id="idle.by_rank",
        kind="stacked_bars",
        title=_chart_title(list(found.by_rank), idle_ms),
        subtitle=f"idle ms per step by cause, mean over {many(max(steps), 'step')}; the parts add up to the idle time of the account exactly.",
        x=Axis("rank", scale="category"),
        y=Axis("idle per step", "ms", from_zero=True),
        layers=tuple(
            Layer(_LABELS[name].capitalize(), ranks, values, color=color)
            for (name, values), color in zip(means.items(), _COLORS, strict=True)
            if any(values)
        ),
        how=_HOW_DEVICE if found.has_device else _HOW_HOST,
    )


_HOW_DEVICE = (
    "Each gap of a device is followed to the activity that ends it and to the call that launched that. Launched before the gap: the device itself "
    "kept it waiting. Else the host was late, and what the launching thread did from the beginning of the gap to the launch is the cause; where "
    "that thread has no event, what the others that launch did. Where the thread was waiting for the device when the gap began, handing out work "
    "again counts to that, too. Up to 0.1 ms between two events is the interpreter; longer holes and work that was queued are other causes."
)
_HOW_HOST = (
    "What the calling threads did while nothing computed and nobody waited for communication: the span that says so, else an operator's own time, "
    "else the interpreter (up to 0.1 ms between two events), else nothing that was recorded."
)


def _chart_title(ranks: Sequence[int], idle_ms: Ints) -> str:
    most, middle = int(np.argmax(idle_ms)), float(np.median(idle_ms))
    if len(ranks) == 1:
        return f"Idle {duration(float(idle_ms[0]))} a step"
    if idle_ms[most] <= 1.05 * middle:
        return f"Every rank is idle about as long, {duration(middle)} a step"
    return f"Rank {ranks[most]} is idle longest, {duration(float(idle_ms[most]))} a step against {duration(middle)} at the median rank"


def _caveats(found: Idle) -> list[str]:
    by_cause, caveats = found.by_cause, []
    total = int(by_cause.sum())
    if found.subtracted:
        caveats.append(
            "only waiting for input, garbage collection and compilation were measured: what the host does besides counts as compute here; "
            "level full tells it apart"
        )
        return caveats
    if not found.has_device and found.untraced_ranks:
        caveats.append("no operators were recorded: what the host did outside its annotations is not known")
    elif found.untraced_ranks:
        caveats.append(
            f"the host was not traced on {many(len(found.untraced_ranks), 'rank')} ({listed(found.untraced_ranks)}): there it is known that the "
            "device was idle, not why"
        )
    elif found.has_device and not found.has_operators:
        caveats.append(
            "no operators were recorded: what the host did between two calls of the runtime has no name; level full records them"
        )
    unlinked = int(by_cause[Cause.UNLINKED])
    if unlinked > _SOME * total and not found.untraced_ranks:
        caveats.append(
            f"{percent(unlinked / total)} of the idle time ends with work of which the launch is not in the file: whether the host or the device was "
            "late is not known there"
        )
    queued = int(by_cause[Cause.SCHED]) / found.window_ns
    if queued > _QUEUED:
        caveats.append(
            f"{percent(queued)} of the step the device was idle though work was queued: it waited for an event, or the profiler lost what ran"
        )
    launching = found.groups(by_cause)["launch"] / found.window_ns
    if found.has_operators and launching > _DISTORTED:
        caveats.append(
            "recording every operator slows the host down, and with it what launches work: without the profiler that part of the idle time is shorter"
        )
    return caveats


IDLE = Analysis("idle", NEEDS, conclude)
