"""What ran: kernels (or leaf operators) by name, every name that no rule knows, and every name of compute that looks like communication."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scaleprof.align import RunView
from scaleprof.analyses.account.account import account, leaf_operators
from scaleprof.analyses.account.lookalikes import looks_like_communication
from scaleprof.analyses.base import Analysis, many, percent
from scaleprof.results import Metric, Result, Table
from scaleprof.trace import Kind, Trace

MOST_ROWS = 200
MOST_NAMES = 40
"""Names of a rank of which each step is kept, and the columns that these may have: 8 kB, whatever the length of the trace."""
MOST_COLUMNS = 24
_LONGEST_NAME = 60
"""Letters of a name in a sentence; the table has it whole."""
_Key = tuple[str, str, bool]
_BUSY = (Kind.COMPUTE, Kind.COLLECTIVE, Kind.P2P, Kind.COPY)


def kernels(trace: Trace) -> Table:
    """One row per name that kept a device busy (or, without a device, computed on the host): class, how often, summed ns.

    `before_ns` and `before_count` are activities launched before the recording began: counted here, in no step.
    """
    events = trace.events
    busy = busy_events(trace)
    in_step = busy & (events.step >= 0)
    before = busy & (events.step < 0) & (events.link < 0)
    size = len(trace.names.text)
    count = np.bincount(events.name[in_step], minlength=size)
    total = _sums(events.name[in_step], events.dur_ns[in_step], size)
    before_count = np.bincount(events.name[before], minlength=size)
    before_total = _sums(events.name[before], events.dur_ns[before], size)
    rows = np.flatnonzero(count + before_count)
    return Table(
        {
            "name": [trace.names.text[row] for row in rows],
            "kind": [Kind(trace.names.kind[row]).name.lower() for row in rows],
            "by_rule": trace.names.by_rule[rows],
            "count": count[rows],
            "total_ns": total[rows],
            "before_count": before_count[rows],
            "before_ns": before_total[rows],
        }
    )


def name_steps(trace: Trace) -> Table:
    """Summed ns of the names that took most time, by step, for comparing runs: a column for each step with such work, called `12`.

    Neighbouring steps share a column, called `12-13`, where there would be more than `MOST_COLUMNS`.
    """
    events = trace.events
    rows = np.flatnonzero(busy_events(trace) & (events.step >= 0))
    steps, place = np.unique(events.step[rows], return_inverse=True)
    names = np.unique(events.name[rows])
    total = np.bincount(events.name[rows], weights=events.dur_ns[rows], minlength=len(trace.names.text))
    names = names[np.argsort(-total[names], kind="stable")][:MOST_NAMES]
    columns: dict[str, object] = {
        "name": [trace.names.text[name] for name in names],
        "kind": [Kind(trace.names.kind[name]).name.lower() for name in names],
    }
    row_of = np.full(len(trace.names.text) + 1, -1, dtype=np.int64)
    row_of[names] = np.arange(len(names))
    row = row_of[events.name[rows]]
    for part in np.array_split(np.arange(len(steps)), min(len(steps), MOST_COLUMNS) or 1):
        if len(part):
            here = (row >= 0) & (place >= part[0]) & (place <= part[-1])
            first, last = (int(trace.steps.index[steps[end]]) for end in (part[0], part[-1]))
            columns[str(first) if first == last else f"{first}-{last}"] = _sums(
                row[here], events.dur_ns[rows][here], len(names)
            )
    return Table(columns)


def busy_events(trace: Trace) -> NDArray[np.bool_]:
    """The events that kept a device busy; of a rank without one those that computed or communicated on the host."""
    busy: NDArray[np.bool_] = np.isin(trace.kinds, _BUSY)
    if trace.has_device:
        busy &= trace.on_device
    else:  # gloo's spans of transfers last until they are waited for
        busy = (busy & (trace.kinds != Kind.P2P)) | leaf_operators(trace)
    return busy


def _sums(names: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    sums = np.zeros(size, dtype=np.int64)
    np.add.at(sums, names, values)
    return sums


def conclude(view: RunView, options: None) -> Result | None:
    """Names by time, unclassified ones apart, and what was launched before the recording."""
    merged: dict[_Key, np.ndarray] = {}
    for table in view.fact("kernels").values():
        numbers = np.column_stack([table[name] for name in ("count", "total_ns", "before_count", "before_ns")])
        # A loop over distinct names, not events.
        for place, key in enumerate(zip(table["name"], table["kind"], table["by_rule"].tolist(), strict=True)):
            merged[key] = merged.get(key, np.zeros(4, dtype=np.int64)) + numbers[place]
    if not merged:
        return None
    total = sum(int(values[1]) for values in merged.values())
    ordered = sorted(merged.items(), key=lambda item: (-int(item[1][1]), item[0]))
    unknown = [(key, values) for key, values in ordered if not key[2]]
    unknown_ns = sum(int(values[1]) for _, values in unknown)
    before_count = sum(int(values[2]) for values in merged.values())
    before_ns = sum(int(values[3]) for values in merged.values())
    metrics = [Metric("kernels.names", "Distinct names", len(merged))]
    caveats = []
    if total:
        metrics.append(
            Metric("kernels.unclassified_share", "Time under names no rule knows", unknown_ns / total, "share")
        )
    if before_count:
        metrics += [
            Metric("kernels.before_window_count", "Activities launched before the recording", before_count),
            Metric("kernels.before_window_ms", "Time of those launched before", before_ns / 1e6, "ms"),
        ]
    if unknown:
        share = f" ({percent(unknown_ns / total)} of the time)" if total else ""
        caveats.append(
            f"{many(len(unknown), 'name')}{share} matched no rule and counted as compute: see the table `unclassified`"
        )
    alike = [(key, values) for key, values in ordered if looks_like_communication(key[0], key[1])]
    if alike:
        more, said = _lookalikes(view, alike)
        metrics += more
        caveats.append(said)
    if len(ordered) > MOST_ROWS:
        caveats.append(f"the table shows the first {MOST_ROWS} of {len(ordered)} names")
    top = ordered[0]
    headline = (
        f"{many(len(merged), 'name')}; the longest takes {percent(int(top[1][1]) / total)} of the busy time"
        if total
        else ""
    )
    columns = ("name", "class", "count", "total_ms", "share", "launched_before_count", "launched_before_ms")
    rows = [_row(key, values, total) for key, values in ordered[:MOST_ROWS]]
    tables = {"kernels": Table.of_rows(columns, rows)}
    for name, chosen in (("unclassified", unknown), ("lookalikes", alike)):
        if chosen or name == "unclassified":
            tables[name] = Table.of_rows(columns, [_row(key, values, total) for key, values in chosen[:MOST_ROWS]])
    return Result("kernels", "Kernels and operators", headline, tuple(metrics), tables, caveats=tuple(caveats))


def _lookalikes(view: RunView, alike: Sequence[tuple[_Key, np.ndarray]]) -> tuple[list[Metric], str]:
    """How much of the steps ran under names that look like communication, and how to count them as such."""
    alike_ns = sum(int(values[1]) for _, values in alike)
    steps_ns = sum(int(np.sum(table["window_ns"])) for table in view.fact("account").values())
    note = f"{many(len(alike), 'name')}, all ranks and steps"
    metrics = [Metric("kernels.lookalike_ms", "Time under look-alikes", alike_ns / 1e6, "ms", note=note)]
    share = ""
    if steps_ns and alike_ns:
        metrics.append(
            Metric("kernels.lookalike_share", "Look-alikes, share of the steps", alike_ns / steps_ns, "share")
        )
        share = f" ({percent(alike_ns / steps_ns)} of the steps)"
    kept_apart = "copies" if all(key[1] == "copy" for key, _ in alike) else "compute"
    names, largest = many(len(alike), "name"), alike[0][0][0]
    shown = largest if len(largest) <= _LONGEST_NAME else largest[:_LONGEST_NAME] + "..."
    looks, counts, them = ("looks", "counts", "it") if len(alike) == 1 else ("look", "count", "them")
    return metrics, (
        f"{names}{share} {looks} like communication and {counts} as {kept_apart}, the longest `{shown}`: if they communicate, "
        f"--communication REGEX counts {them}, and so does [tool.scaleprof] in pyproject.toml; see the table `lookalikes`"
    )


def _row(key: _Key, values: np.ndarray, total: int) -> list[object]:
    count, total_ns, before_count, before_ns = (int(value) for value in values)
    share = total_ns / total if total else None
    return [key[0], key[1], count, total_ns / 1e6, share, before_count, before_ns / 1e6]


KERNELS = Analysis("kernels", {"kernels": kernels, "account": account, "name_steps": name_steps}, conclude)
