"""How well the clocks of the hosts are known: offset, drift, and the two errors that every number across hosts carries (`method` 2.3)."""

from scaleprof.align import RunView
from scaleprof.analyses.base import listed, many
from scaleprof.clock import UNMEASURED_PPM, RankClock
from scaleprof.results import Metric, Table


def clock_metrics(view: RunView) -> tuple[list[Metric], list[str]]:
    """The largest guaranteed error, the widest 95 % interval, and how well the ends of collectives agree; and what cannot be compared."""
    clocks = view.clocks
    apart = {clock.host: clock for clock in clocks.of_rank.values() if clock.bound_ns != 0 or clock.half_width_ns}
    known = [clock for clock in apart.values() if clock.offset_ns is not None]
    metrics, caveats = [], list(clocks.caveats)
    bounds = [clock.bound_ns for clock in known if clock.bound_ns is not None]
    if bounds:
        note = f"guaranteed by what must come before what; the widest of {many(len(known), 'clock')} against rank 0's"
        metrics.append(
            Metric("clock.bound_us", "Clock error, at most", max(bounds) / 1e3, "us", note=note, better="lower")
        )
    widths = [width for clock in known if (width := clock.error_ns) is not None]
    if widths:
        note = f"half of the widest interval of {many(len(known), 'clock')} against rank 0's"
        metrics.append(
            Metric("clock.half_width_us", "Clock error, 95 %", max(widths) / 1e3, "us", note=note, better="lower")
        )
    if clocks.residual_ns is not None and clocks.agree_ns is not None:
        usual, most = (_short(value) for value in clocks.agree_ns)
        note = (
            f"median distance of a rank's end from the middle, in {many(clocks.operations, 'collective')}; first to last rank: {usual} in "
            f"the median, {most} at most"
        )
        metrics.append(
            Metric(
                "clock.residual_us", "Ends of collectives apart", clocks.residual_ns / 1e3, "us", note=note, better="lower"
            )
        )  # fmt: skip
    return metrics, caveats + _not_comparable(view, known)


def _short(ns: float) -> str:
    """`3.9 µs`, `2.3 ms`: two digits, as of any error."""
    if ns < 1e6:
        return f"{float(f'{ns / 1e3:.2g}'):,g} µs"
    return f"{float(f'{ns / 1e6:.2g}'):,g} ms"


def _not_comparable(view: RunView, known: list[RankClock]) -> list[str]:
    caveats = []
    unknown = [rank for rank, clock in view.clocks.of_rank.items() if clock.offset_ns is None]
    asked = len(view.matching.groups) or any(
        info.clock is not None and info.clock.offsets for info in view.ranks.values()
    )
    if unknown and asked:
        caveats.append(
            f"the clock of {'rank' if len(unknown) == 1 else 'ranks'} {listed(unknown)} was never compared with rank 0's, by no collective and by no "
            "measurement: times there are not set against those of rank 0"
        )
    if any(clock.drift_ppm is None for clock in known):
        caveats.append(f"clocks measured only once may drift by up to {UNMEASURED_PPM} µs a second, beyond their bound")
    return caveats


def clock_table(view: RunView) -> Table:
    """One row for each clock: its ranks, offset at the first measurement and drift against the reference, and both errors."""
    rows: dict[tuple[object, ...], list[int]] = {}
    for rank, clock in view.clocks.of_rank.items():
        offset = None if clock.offset_ns is None else clock.offset_ns / 1e6
        widths = [None if ns is None else ns / 1e3 for ns in (clock.error_ns, clock.bound_ns)]
        rows.setdefault((clock.host, offset, clock.drift_ppm, *widths), []).append(rank)
    names = ("ranks", "host", "offset_ms", "drift_ppm", "half_width_us", "bound_us")
    return Table.of_rows(names, [[listed(ranks), *key] for key, ranks in rows.items()])
