"""What the links carried: latency and bus bandwidth of each kind of operation, beside what the same links are known to carry (nccl-tests)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.account.account import account, segments
from scaleprof.analyses.account.sent import collectives
from scaleprof.analyses.account.steps import NEEDS as STEP_NEEDS
from scaleprof.analyses.account.time import leaves_of
from scaleprof.analyses.base import Analysis, listed, many, percent, severity_of
from scaleprof.analyses.communication.bandwidth import Transfers, transfers_of
from scaleprof.analyses.communication.known_links import KnownLink, best_known, known_links
from scaleprof.analyses.communication.links_chart import charts_of, gigabytes, size_words
from scaleprof.analyses.remedies import REMEDIES
from scaleprof.errors import OptionError
from scaleprof.results import Finding, Metric, Result, Table

NOTABLE_SLOWDOWN = 1.1
"""Transfers that take this many times as long under compute are mentioned."""
LEAST_GAIN = 0.01
"""Share of the step that faster links must be worth to be a finding."""


@dataclass(frozen=True)
class LinkOptions:
    """Thresholds of this section, and what to hold it against."""

    least_share: float = 0.6
    """Links that carry less than this share of the reference, or of the best group of their kind, are named."""
    reference: Table | None = field(default=None, compare=False)
    """What a log of nccl-tests measured (`readers.tables.nccl_tests`); set by `--link-reference`."""
    reference_name: str = ""
    """The log's file name."""

    def __post_init__(self) -> None:
        if not 0 < self.least_share <= 1:
            raise OptionError(f"links.least_share must lie in 0..1, not {self.least_share}")


@dataclass(frozen=True)
class _Compared:
    """One kind of transfers beside the reference for it."""

    transfers: Transfers
    known: KnownLink | None

    @property
    def share(self) -> tuple[float, str] | None:
        """Bandwidth as a share of the reference's, and how that was read off."""
        return self.known.share_of(self.transfers) if self.known else None


def conclude(view: RunView, options: LinkOptions) -> Result | None:
    """Latency and bus bandwidth by operation, type and group of ranks, from transfers without waiting; None where no transfer is known."""
    found = transfers_of(view)
    if not found:
        return None
    known = known_links(options.reference) if options.reference is not None else []
    compared = [_Compared(one, best_known(known, one.kind)) for one in found]
    total_ns = sum(float(one.times_ns.sum()) for one in found)
    count = sum(len(one.bytes) for one in found)
    note = f"bytes on the bus over the transfer time of {many(count, 'operation')}"
    metrics = [
        Metric(
            "collectives.busbw_gbps",
            "Bus bandwidth",
            sum(one.bus_bytes for one in found) / total_ns,
            "GB/s",
            note=note,
            better="higher",
        )
    ]
    share = _overall(compared)
    if share is not None:
        note = f"weighted by time, against {options.reference_name}"
        metrics.append(
            Metric("links.reference_share", "Share of the reference", share, "share", note=note, better="higher")
        )
    headline = _headline(compared[0])
    findings = _finding(view, share, options) if share is not None and share < options.least_share else ()
    caveats = [*_slow(compared, options), *_missing(compared, known, options)]
    tables = {"links": _table(compared), "link_sizes": _sizes_table(compared)}
    pairs = [(one.transfers, one.known) for one in compared]
    charts = charts_of(pairs, title=headline, reference=options.reference_name)
    return Result("links", "Links", headline, tuple(metrics), tables, charts, findings, tuple(caveats))


def _finding(view: RunView, share: float, options: LinkOptions) -> tuple[Finding, ...]:
    """Links that carry much less than the reference measured: at most what the exposed transfers would be shorter."""
    leaves = leaves_of(view)
    gain = leaves.share("exposed_transfer") * (1 - share) if leaves is not None else 0.0
    if gain < LEAST_GAIN:
        return ()
    text = f"Transfers reach {percent(share)} of the bus bandwidth that {options.reference_name} measured for operations of their size."
    evidence = "all transfers that have a reference"
    finding = Finding(
        "slow-links",
        "The links are slower than measured",
        severity_of(gain),
        text,
        evidence,
        gain,
        "ceiling",
        REMEDIES["slow-links"],
    )
    return (finding,)


def _overall(compared: Sequence[_Compared]) -> float | None:
    """The time that the reference would have taken over the time taken, over all kinds that have one."""
    held = [(share[0], float(one.transfers.times_ns.sum())) for one in compared if (share := one.share)]
    total = sum(time for _, time in held)
    return sum(share * time for share, time in held) / total if total else None


def _headline(first: _Compared) -> str:
    transfers = first.transfers
    model, busbw = transfers.model, transfers.busbw_gbps
    best = int(np.argmax(busbw))
    at = size_words(float(model.bytes[best]))
    words = f"{transfers.kind.words} reaches {gigabytes(float(busbw[best]))} of bus bandwidth at {at}"
    share = first.share
    if share is not None:
        words += f", {percent(share[0])} of the reference"
    half = _half_speed_bytes(transfers)
    if half is not None:
        words += f"; operations below about {size_words(half, digits=2)} get less than half of it"
    slowdown = transfers.slowdown_under_compute()
    if slowdown is not None and slowdown >= NOTABLE_SLOWDOWN:
        words += f"; while compute runs, a transfer takes {slowdown:.2g} times as long"
    return words


def _half_speed_bytes(transfers: Transfers) -> float | None:
    """From which size on the bandwidth is at least half of the best one; None where all measured sizes reach that, or only one."""
    model, busbw = transfers.model, transfers.busbw_gbps
    slow = np.flatnonzero(busbw < 0.5 * busbw.max())
    if not len(slow) or slow[-1] == len(busbw) - 1:
        return None
    grid = np.geomspace(model.bytes[slow[-1]], model.bytes[slow[-1] + 1], 65)
    times = np.array([model.predict(size).time_ns for size in grid.tolist()])
    enough = grid * transfers.kind.factor / times >= 0.5 * busbw.max()
    return float(grid[int(np.argmax(enough))])


def _slow(compared: Sequence[_Compared], options: LinkOptions) -> list[str]:
    """Kinds below the reference, and groups below the best of their kind, in words."""
    said = []
    for one in compared:
        kind, share = one.transfers.kind, one.share
        if share is not None and share[0] < options.least_share:
            said.append(
                f"{kind.words}: the links carry {percent(share[0])} of what {options.reference_name} measured of them ({share[1]}): "
                "look at NCCL_DEBUG=INFO for the transport and algorithm that were chosen, and at the placement of network cards"
            )
        slowest = one.transfers.slowest_group()
        if slowest is not None and slowest[1] < options.least_share:
            said.append(
                f"{kind.op}: the group of ranks {listed(slowest[0])} reaches {percent(slowest[1])} of the bandwidth of the fastest group of its kind"
            )
    return said


def _missing(compared: Sequence[_Compared], known: Sequence[KnownLink], options: LinkOptions) -> list[str]:
    """What could not be fitted or held against the reference."""
    said = []
    bare = [one.transfers for one in compared if not one.transfers.model.has_latency]
    if bare:
        names = list(dict.fromkeys(one.kind.words for one in bare))
        which = "; ".join(names[:3]) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")
        said.append(
            f"too few different sizes to tell latency from bandwidth, so that the bandwidth has the latency in it: {which}"
        )
    if options.reference is None:
        return said
    without = sorted({one.transfers.kind.op for one in compared if one.known is None})
    if without:
        said.append(f"the log {options.reference_name} has no measurement of {', '.join(without)}")
    for one in compared:
        if one.known is not None and one.known.ranks != one.transfers.kind.ranks:
            where = f"{one.known.ranks} ranks" if one.known.ranks > 0 else "a number of ranks that it does not tell"
            said.append(
                f"the log {options.reference_name} measured {one.known.op} on {where}, the job ran it on {one.transfers.kind.ranks}: "
                "bus bandwidths of different groups compare only where the same link limits them"
            )
    return list(dict.fromkeys(said))


def _table(compared: Sequence[_Compared]) -> Table:
    """One row for each kind; bandwidths in GB/s (1e9), errors relative.

    `alpha_us` is the latency of the line at the small end, `fitted_busbw_gbps` what the line at the large end tends to; `fit_error_share` is the
    root mean square of the lines, `interpolation_error_share` the median when a size is left out and read between its neighbours.
    """
    names = (
        "op", "group", "ranks", "hosts", "dtype", "count", "fitted_share", "sizes", "fit", "alpha_us", "fitted_busbw_gbps", "best_busbw_gbps",
        "transfer_ms", "fit_error_share", "interpolation_error_share", "under_compute_share", "slowdown_under_compute",
    )  # fmt: skip
    with_reference = any(one.known for one in compared)
    rows = []
    for one in compared:
        transfers, kind, model = one.transfers, one.transfers.kind, one.transfers.model
        slope = model.segments[-1].ns_per_byte
        row = [
            kind.op, kind.group, kind.ranks, kind.hosts, kind.dtype, transfers.count,
            len(transfers.bytes) / transfers.count, len(model.bytes), model.kind,
            model.segments[0].alpha_ns / 1e3 if model.has_latency else None,
            kind.factor / slope if slope > 0 else None,
            float(transfers.busbw_gbps.max()), float(transfers.times_ns.sum()) / 1e6,
            model.fit_error if model.has_latency else None, model.interpolation_error,
            transfers.hidden_share(), transfers.slowdown_under_compute(),
        ]  # fmt: skip
        if with_reference:
            row += [one.known.ranks if one.known else None, one.share[0] if one.share else None]
        rows.append(row)
    return Table.of_rows((*names, *(("reference_ranks", "reference_share") if with_reference else ())), rows)


def _sizes_table(compared: Sequence[_Compared]) -> Table:
    """One row for each kind and size: how often, the median transfer, and what follows from it, with the reference at the same size."""
    names = ("op", "group", "ranks", "dtype", "bytes", "count", "transfer_ms", "busbw_gbps")
    with_reference = any(one.known for one in compared)
    rows = []
    for one in compared:
        kind, model = one.transfers.kind, one.transfers.model
        columns = zip(model.bytes.tolist(), one.transfers.counts(), model.times_ns.tolist(), strict=True)
        for (size, count, time), busbw in zip(columns, one.transfers.busbw_gbps.tolist(), strict=True):
            row: list[object] = [kind.op, kind.group, kind.ranks, kind.dtype, round(size), count, time / 1e6, busbw]
            if with_reference:
                at = one.known.busbw_gbps(size) if one.known else None
                row += [at[0] if at else None, busbw / at[0] if at else None, at[1] if at else ""]
            rows.append(row)
    return Table.of_rows(
        (*names, *(("reference_gbps", "reference_share", "reference") if with_reference else ())), rows
    )


NEEDS = {**STEP_NEEDS, "collectives": collectives, "segments": segments, "account": account}
LINKS = Analysis("links", NEEDS, conclude, LinkOptions)
