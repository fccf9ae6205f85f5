"""The picture of the links: size against bus bandwidth, what was measured, the lines that were fitted, and the reference."""

from collections.abc import Sequence

import numpy as np

from scaleprof.analyses.base import many
from scaleprof.analyses.communication.bandwidth import Transfers
from scaleprof.analyses.communication.known_links import KnownLink
from scaleprof.results import Axis, Chart, Layer

LEAST_SPAN = 2.0
"""Sizes closer together than this make no picture."""
MOST_KINDS = 5
"""Kinds with a colour of their own; the tables have all."""
_POINTS = 24  # of a fitted line in each segment
_BEYOND = 4.0  # the reference is drawn so much further than what was measured
_HOW = (
    "Bus bandwidth is size over transfer time, times 2 (n-1)/n for an all-reduce, (n-1)/n for all-gather, reduce-scatter and all-to-all, else 1 "
    "(nccl-tests, doc/PERFORMANCE.md; n ranks of the group, GB = 1e9 bytes, float8 one byte). A transfer is what is left of an operation without "
    "waiting for the last rank. Lines: latency + size / bandwidth (Hockney 1994) by least squares of relative errors, reweighted (Huber 1964), in up "
    "to three segments (Bayesian information criterion)."
)


def charts_of(kinds: Sequence[tuple[Transfers, KnownLink | None]], *, title: str, reference: str) -> tuple[Chart, ...]:
    """Size against bus bandwidth on log-log axes: marks for medians, one layer for each kind; lines for fits; dashed lines for the reference.

    None where all sizes are nearly the same and there is no reference: that is a number, no picture.
    """
    shown = kinds[:MOST_KINDS]
    dtypes = {
        one.kind.words: {other.kind.dtype for other, _ in shown if other.kind.words == one.kind.words}
        for one, _ in shown
    }
    layers, drawn = [], set()
    for place, (transfers, _) in enumerate(shown):
        kind, color = transfers.kind, f"series-{place + 1}"
        name = f"{kind.op}, {kind.place}" + (f", {kind.dtype}" if len(dtypes[kind.words]) > 1 else "")
        layers += [_points(transfers, name, color), *_fit(transfers, name, color)]
    low, high = (edge(float(edge(transfers.model.bytes)) for transfers, _ in shown) for edge in (min, max))
    for _, known in shown:
        if known is not None and (known.op, known.ranks) not in drawn:
            drawn.add((known.op, known.ranks))
            layers += _reference(known, reference, low / _BEYOND, high * _BEYOND)
    if high < LEAST_SPAN * low and not drawn:
        return ()
    fits = "; lines: latency + size / bandwidth, fitted" if any(layer.style == "" for layer in layers) else ""
    left_out = f"; the {len(shown)} of {len(kinds)} kinds with most bytes" if len(kinds) > len(shown) else ""
    count = sum(len(transfers.bytes) for transfers, _ in kinds)
    chart = Chart(
        "links",
        "loglog",
        title,
        f"Marks: the median at each size, of {many(count, 'operation')} in all{fits}{'; dashed: the reference' if drawn else ''}{left_out}",
        Axis("size of the operation", "bytes", "log10"),
        Axis("bus bandwidth", "GB/s", "log10"),
        tuple(layers),
        _HOW,
    )
    return (chart,)


def size_words(bytes: float, *, digits: int = 3) -> str:
    """`26.2 MB`, with so many digits; 1 MB = 1e6 bytes."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if bytes >= size:
            return f"{_rounded(bytes / size, digits)} {unit}"
    return f"{bytes:.0f} B"


def gigabytes(per_second: float) -> str:
    """`75 GB/s`, `24.8 MB/s`."""
    return f"{_rounded(per_second)} GB/s" if per_second >= 0.1 else f"{_rounded(per_second * 1e3)} MB/s"


def _rounded(value: float, digits: int = 3) -> str:
    return f"{float(f'{value:.{digits}g}'):,g}"


def _points(transfers: Transfers, name: str, color: str) -> Layer:
    texts = [many(count, "operation") for count in transfers.counts()]
    return Layer(
        name, transfers.model.bytes.tolist(), transfers.busbw_gbps.tolist(), color=color, style="marks", text=texts
    )


def _fit(transfers: Transfers, name: str, color: str) -> list[Layer]:
    """The fitted lines over the measured sizes, each segment for itself; none of a bandwidth alone, which no size need lie near."""
    model = transfers.model
    if not model.has_latency:
        return []
    layers = []
    for line, first, last in zip(model.segments, model.edges[:-1], model.edges[1:], strict=True):
        if last - first > 1:
            sizes = np.geomspace(model.bytes[first], model.bytes[last - 1], _POINTS)
            times = line.alpha_ns + line.ns_per_byte * sizes
            layers.append(
                Layer(f"{name}, fit", sizes.tolist(), (sizes * transfers.kind.factor / times).tolist(), color=color)
            )
    return layers


def _reference(known: KnownLink, name: str, low: float, high: float) -> list[Layer]:
    sizes = known.model.bytes[(known.model.bytes >= low) & (known.model.bytes <= high)]
    if len(sizes) < 2:
        return []
    ranks = f", {known.ranks} ranks" if known.ranks > 0 else ""
    values = [known.busbw_gbps(size)[0] for size in sizes.tolist()]
    return [Layer(f"{name}: {known.op}{ranks}", sizes.tolist(), values, style="reference")]
