"""What the ranks send: operations, sizes and busy time of collectives and point-to-point transfers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.account.sent import collectives, waits
from scaleprof.analyses.account.steps import NEEDS as STEP_NEEDS
from scaleprof.analyses.account.steps import steady_steps
from scaleprof.analyses.base import Analysis, duration, many
from scaleprof.analyses.communication.exchange import across_ranks
from scaleprof.analyses.communication.links_chart import size_words
from scaleprof.columns import coded_of, distinct
from scaleprof.intervals import Ints
from scaleprof.models.communication import busbw_gbps
from scaleprof.results import Metric, Result, Table
from scaleprof.trace import UNKNOWN


@dataclass
class _Kind:
    """Operations of one kind: what they are called and carry is their key."""

    count: int = 0
    timed: int = 0
    dur_ns: int = 0
    transfers_ns: list[NDArray[Any]] = field(default_factory=list)
    waited_ns: int = 0
    ranks: int = 0


_Key = tuple[str, int, str, str, str, str]
_NO_STREAM = np.iinfo(np.int64).min


def conclude(view: RunView, options: None) -> Result | None:
    """Operations per step by kind, size and group, with bytes, time in progress, and what of it was waiting for the last rank."""
    wanted = steady_steps(view)
    if not any(np.isin(np.asarray(table["step"]), wanted).any() for table in view.fact("collectives").values()):
        wanted = wanted[:0]
    rows = _kinds(view, wanted)
    counted = sum(kind.count for kind in rows.values())
    if not counted:
        return None
    steps_seen = _rank_steps(view, wanted)
    known = [(key[1], kind.count) for key, kind in rows.items() if key[1] != UNKNOWN]
    metrics = [Metric("collectives.count", "Operations per step and rank", counted / steps_seen)]
    caveats = []
    total = sum(size * count for size, count in known)
    if known:
        metrics.append(Metric("collectives.bytes", "Bytes per step and rank", total / steps_seen, "bytes"))
    unknown_bytes = sum(kind.count for key, kind in rows.items() if key[1] == UNKNOWN)
    if unknown_bytes:
        caveats.append(f"the sizes of {unknown_bytes} of {counted} operations were not recorded")
    summed = sum(kind.dur_ns for kind in rows.values()) / steps_seen / 1e6
    headline = many(round(counted / steps_seen), "operation")
    headline += f" and {size_words(total / steps_seen)} per step and rank" if known else " per step and rank"
    headline += f", in progress for {duration(summed)} in total" if summed else ""
    across, words, said = across_ranks(view, wanted)
    headline += words
    if summed and not words:
        caveats.append(
            "times in progress include waiting for slower ranks: only the transfers of operations that could be split give a bandwidth"
        )
    tables = {"collectives": _table(rows, steps_seen)}
    blocked = _waits_table(view, wanted)
    if len(blocked):
        tables["waits"] = blocked
    return Result("collectives", "Collectives", headline, (*metrics, *across), tables, caveats=(*caveats, *said))


def _kinds(view: RunView, wanted: Ints) -> dict[_Key, _Kind]:
    rows: dict[_Key, _Kind] = {}
    exchange = view.exchange
    for rank, table in view.fact("collectives").items():
        steps, labels = np.asarray(table["step"]), group_labels(view, rank)
        here = np.flatnonzero(np.isin(steps, wanted) if len(wanted) else steps >= 0)
        keys, place = _keys(table, here)
        durations, transfer = np.asarray(table["dur_ns"])[here], exchange.transfer_ns[rank][here]
        wait, ranks = exchange.wait_ns[rank][here], exchange.ranks[rank][here]
        order = np.argsort(place, kind="stable")
        for key, mine in zip(keys, np.split(order, np.searchsorted(place[order], range(1, len(keys)))), strict=False):
            kind = rows.setdefault((*key[:3], labels.get(key[3], key[3]), *key[4:]), _Kind())
            timed, split = mine[durations[mine] != UNKNOWN], mine[transfer[mine] != UNKNOWN]
            kind.count += len(mine)
            kind.timed += len(timed)
            kind.dur_ns += int(durations[timed].sum())
            if len(split):
                kind.transfers_ns.append(_narrow(transfer[split]))
                kind.waited_ns += int(wait[split].sum())
                kind.ranks = int(ranks[split[-1]])
    return rows


def _narrow(values: Ints) -> NDArray[Any]:
    """Times in as few bytes as they need: those of all operations of all ranks are kept for their median."""
    return values.astype(np.uint32) if values.max() <= np.iinfo(np.uint32).max else values


def _keys(table: Table, rows: Ints) -> tuple[list[_Key], Ints]:
    """What is said of some rows, each different thing once, and by row which."""
    columns = [coded_of(table, name) for name in ("op", "dtype", "group", "name")]
    sizes, size = np.unique(np.asarray(table["bytes"])[rows], return_inverse=True)
    on_device, stream = np.asarray(table["on_device"])[rows], np.asarray(table["stream"])[rows]
    streams, which = np.unique(np.where(on_device, stream, _NO_STREAM), return_inverse=True)
    if not len(rows):
        return [], size
    kinds, place = distinct(*(code[rows] for _, code in columns), size, which)
    ops, dtypes, groups, names = (texts for texts, _ in columns)
    keys = [
        (ops[op], int(sizes[of_size]), dtypes[dtype], groups[group], names[name], _stream(int(streams[of_stream])))
        for op, dtype, group, name, of_size, of_stream in kinds
    ]
    return keys, place


def _stream(number: int) -> str:
    return "" if number == _NO_STREAM else str(number)


def group_labels(view: RunView, rank: int) -> dict[str, str]:
    """What to call the process groups of a rank: by the dimension of the mesh that they run along, so that its groups stand in one row."""
    labels = {}
    for group in view.ranks[rank].process_groups:
        dimension = group.description.removeprefix("mesh_")
        if dimension != group.description:
            labels[group.name] = f"{dimension} ({len(group.ranks)} ranks)"
        elif len(group.ranks) == view.info.world_size:
            labels[group.name] = "all ranks"
    return labels


def _waits_table(view: RunView, wanted: np.ndarray) -> Table:
    """Where the calling threads were blocked, for which operations, in ms a step and rank."""
    rows: dict[tuple[str, str, str], list[int]] = {}
    steps_seen = 0
    for rank, table in view.fact("waits").items():
        mine = np.asarray(view.fact("steps")[rank]["step"]) if rank in view.fact("steps") else wanted
        steps_seen += int(np.isin(mine, wanted).sum())
        keep = np.isin(np.asarray(table["step"]), wanted)
        labels = group_labels(view, rank)
        # A loop over waits, not events: there are some tens a step.
        for place in np.flatnonzero(keep).tolist():
            group = table["group"][place]
            entry = rows.setdefault((table["what"][place], table["op"][place], labels.get(group, group)), [0, 0])
            entry[0] += 1
            entry[1] += int(table["dur_ns"][place])
    ordered = sorted(rows.items(), key=lambda item: (-item[1][1], item[0]))
    names = ("waited_at", "op", "group", "count_per_step", "blocked_ms_per_step")
    seen = max(steps_seen, 1)
    return Table.of_rows(names, [[*key, count / seen, blocked / seen / 1e6] for key, (count, blocked) in ordered])


def _rank_steps(view: RunView, wanted: np.ndarray) -> int:
    seen = 0
    for table in view.fact("collectives").values():
        steps = np.unique(np.asarray(table["step"])[np.asarray(table["step"]) >= 0])
        inside = np.isin(steps, wanted)
        seen += int(inside.sum()) if inside.any() else len(steps)
    return max(seen, 1)


def _table(rows: Mapping[_Key, _Kind], steps_seen: int) -> Table:
    """One row for each kind; transfer is the median of those that could be split, and so is the bus bandwidth that follows from it."""
    names = (
        "op", "bytes", "dtype", "group", "stream", "name", "count_per_step", "mean_ms", "ms_per_step", "wait_ms", "transfer_ms", "busbw_gbps",
    )  # fmt: skip
    ordered = sorted(rows.items(), key=lambda item: (-item[1].dur_ns, -item[1].count, item[0]))
    values = []
    for (op, size, dtype, group, name, stream), kind in ordered:
        mean = kind.dur_ns / kind.timed / 1e6 if kind.timed else None
        per_step = kind.dur_ns / steps_seen / 1e6 if kind.timed else None
        split = sum(map(len, kind.transfers_ns))
        waited = kind.waited_ns / split / 1e6 if split else None
        transfer_ns = float(np.median(np.concatenate(kind.transfers_ns))) if split else None
        known = size != UNKNOWN and size > 0
        busbw = busbw_gbps(op, kind.ranks, size, transfer_ns) if transfer_ns and known else None
        times = (mean, per_step, waited, transfer_ns / 1e6 if transfer_ns is not None else None, busbw)
        values.append(
            [op, size if size != UNKNOWN else None, dtype, group, stream, name, kind.count / steps_seen, *times]
        )
    return Table.of_rows(names, values)


COLLECTIVES = Analysis("collectives", {**STEP_NEEDS, "collectives": collectives, "waits": waits}, conclude)
