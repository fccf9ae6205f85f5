"""What communication costs: the bandwidths of nccl-tests, and time as a function of size, fitted and interpolated (`method` 3.1, 3.5).

Times are ns and sizes bytes, so that bytes over time are GB/s (1e9). One line, latency + size / bandwidth (Hockney 1994), is poor where a library
changes its algorithm or protocol with the size: on a published table of 8 A100 its bandwidth is 10 % off and its largest error 36 %. So up to three
lines side by side are tried as well, and inside the range of sizes that were measured a prediction is read between the points, on log-log paper.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_SIZES, LEAST_SPAN = 3, 8.0
"""Fewer distinct sizes, or sizes closer together, do not tell latency from bandwidth."""
ROUNDS = 30
"""Of reweighting; it has converged long before."""
_HUBER, _MAD_TO_SIGMA = 1.345, 1.4826
MOST_SEGMENTS, LEAST_IN_SEGMENT = 3, 3
MOST_SIZES = 32
"""More distinct sizes than this are taken together, neighbours first: all-to-alls of mixtures of experts have a new size every time."""
_HALVED = ("all_gather", "reduce_scatter", "all_to_all", "gather", "scatter")


def bus_factor(op: str, ranks: int) -> float:
    """What a byte of an operation's size costs on the bus, by nccl-tests (doc/PERFORMANCE.md, and src/gather.cu for gather and scatter).

    2 (n-1) / n for an all-reduce, (n-1) / n where each rank has its own n-th part, else 1. n is the size of the group, not of the job.
    """
    if op == "all_reduce":
        return 2 * (ranks - 1) / ranks
    return (ranks - 1) / ranks if op in _HALVED else 1.0


def busbw_gbps(op: str, ranks: int, bytes: float, time_ns: float) -> float:
    """Bus bandwidth in GB/s (1e9): size over time, times the factor. The size is that of the large side, the time that of the transfer alone."""
    return bytes / time_ns * bus_factor(op, ranks)


@dataclass(frozen=True)
class Line:
    """Time = latency + size x time per byte, for sizes of one range."""

    alpha_ns: float
    ns_per_byte: float

    def time_ns(self, bytes: float) -> float:
        """The time of a size, in ns."""
        return self.alpha_ns + self.ns_per_byte * bytes


@dataclass(frozen=True)
class Prediction:
    """The time of one size, in ns, and how it was found."""

    time_ns: float
    how: Literal["interpolated", "extrapolated"]
    """Between measured sizes, or beyond them."""


@dataclass(frozen=True)
class CostModel:
    """Time as a function of size, from the medians of what was measured."""

    bytes: Floats
    """Distinct sizes, ascending."""
    times_ns: Floats
    """The median time of each."""
    line: Line
    """Over all sizes."""
    segments: tuple[Line, ...]
    """One line, or two or three where that many explain the times better by the Bayesian information criterion."""
    edges: tuple[int, ...]
    """Where among the sizes each segment begins, and the number of sizes."""
    has_latency: bool
    """False where sizes are too few or too close together: the line then goes through zero, and its bandwidth has the latency in it."""

    @property
    def kind(self) -> str:
        """`line`, `2 lines`, `3 lines`, or `bandwidth only`."""
        if not self.has_latency:
            return "bandwidth only"
        return "line" if len(self.segments) == 1 else f"{len(self.segments)} lines"

    def predict(self, bytes: float) -> Prediction:
        """The time of a size: between measured ones straight on log-log paper, beyond them by the line of the nearest segment.

        Beyond the largest size it is never shorter than there, before the smallest never longer.
        """
        if self.bytes[0] <= bytes <= self.bytes[-1]:
            return Prediction(_between(self.bytes, self.times_ns, bytes), "interpolated")
        if bytes < self.bytes[0]:
            return Prediction(min(self.segments[0].time_ns(bytes), float(self.times_ns[0])), "extrapolated")
        return Prediction(max(self.segments[-1].time_ns(bytes), float(self.times_ns[-1])), "extrapolated")

    def fitted_ns(self) -> Floats:
        """What the segments say of the measured sizes, in ns."""
        parts = [
            segment.alpha_ns + segment.ns_per_byte * self.bytes[first:last]
            for segment, (first, last) in zip(self.segments, pairwise(self.edges), strict=True)
        ]
        return np.concatenate(parts)

    @property
    def fit_error(self) -> float:
        """Root mean square of the segments' relative errors, 0..1."""
        return float(np.sqrt(np.mean((self.fitted_ns() / self.times_ns - 1) ** 2)))

    @property
    def interpolation_error(self) -> float | None:
        """Median relative error when a size is left out and read between its neighbours, 0..1; None below three sizes."""
        errors = left_out_errors(self.bytes, self.times_ns)
        return float(np.median(errors)) if len(errors) else None


def cost_model(bytes: Floats, times_ns: Floats) -> CostModel:
    """The model of operations of one kind, one entry each; sizes and times must be positive and there must be one at least."""
    sizes, times = medians(bytes, times_ns)
    tells = len(sizes) >= FEWEST_SIZES and sizes[-1] >= LEAST_SPAN * sizes[0]
    if not tells:
        line = through_zero(sizes, times)
        return CostModel(sizes, times, line, (line,), (0, len(sizes)), has_latency=False)
    edges = _best_edges(sizes, times)
    segments = tuple(fit_line(sizes[first:last], times[first:last]) for first, last in pairwise(edges))
    line = segments[0] if len(segments) == 1 else fit_line(sizes, times)
    return CostModel(sizes, times, line, segments, edges, has_latency=True)


def medians(bytes: Floats, times_ns: Floats) -> tuple[Floats, Floats]:
    """Distinct sizes, ascending, and the median time of each in ns. Where there are very many sizes, neighbours share a median of both."""
    sizes, which = np.unique(np.asarray(bytes, dtype=np.float64), return_inverse=True)
    if len(sizes) > MOST_SIZES:
        octaves = np.log2(sizes)
        bins = np.floor((octaves - octaves[0]) / (octaves[-1] - octaves[0]) * (MOST_SIZES - 1e-9)).astype(np.int64)
        which = bins[which]
    groups = [which == number for number in np.unique(which)]
    times = np.asarray(times_ns, dtype=np.float64)
    return (
        np.array([np.median(np.asarray(bytes)[group]) for group in groups]),
        np.array([np.median(times[group]) for group in groups]),
    )


def fit_line(bytes: Floats, times_ns: Floats, *, rounds: int = ROUNDS) -> Line:
    """Latency and time per byte, neither negative, by least squares of relative errors, far points weighing less (Huber 1964).

    `rounds` of reweighting; with 0 all points weigh the same.
    """
    relative = 1 / times_ns**2
    weights = relative
    line = _least_squares(bytes, times_ns, weights)
    for _ in range(rounds):
        off = np.abs((times_ns - line.alpha_ns - line.ns_per_byte * bytes) / times_ns)
        allowed = _HUBER * _MAD_TO_SIGMA * float(np.median(off))
        weights = relative * np.minimum(1.0, allowed / np.maximum(off, 1e-300)) if allowed > 0 else relative
        line = _least_squares(bytes, times_ns, weights)
    return line


def through_zero(bytes: Floats, times_ns: Floats) -> Line:
    """The line without latency that has the median bandwidth."""
    return Line(0.0, float(np.median(times_ns / bytes)))


def left_out_errors(bytes: Floats, times_ns: Floats) -> Floats:
    """Relative error of each size between the smallest and the largest, when it is left out and read between its neighbours."""
    places = np.arange(1, len(bytes) - 1)
    errors = [
        abs(_between(bytes[[at - 1, at + 1]], times_ns[[at - 1, at + 1]], float(bytes[at])) / times_ns[at] - 1)
        for at in places.tolist()
    ]
    return np.array(errors, dtype=np.float64)


def _between(bytes: Floats, times_ns: Floats, size: float) -> float:
    """Straight between two neighbours on log-log paper: exact at the points, monotone between two of them, free of units."""
    after = int(np.clip(np.searchsorted(bytes, size), 1, max(len(bytes) - 1, 1)))
    if len(bytes) == 1 or size == bytes[after - 1]:
        return float(times_ns[after - 1])
    if size == bytes[after]:
        return float(times_ns[after])
    share = math.log(size / bytes[after - 1]) / math.log(bytes[after] / bytes[after - 1])
    return float(times_ns[after - 1] * (times_ns[after] / times_ns[after - 1]) ** share)


def _least_squares(x: Floats, y: Floats, weights: Floats) -> Line:
    """Weighted least squares with both coefficients at least 0: the free solution, or the better one on an edge."""
    w, wx, wxx = float(weights.sum()), float(weights @ x), float(weights @ (x * x))
    wy, wxy = float(weights @ y), float(weights @ (x * y))
    free = w * wxx - wx * wx
    if free > 1e-12 * w * wxx:
        alpha, beta = (wxx * wy - wx * wxy) / free, (w * wxy - wx * wy) / free
        if alpha >= 0 and beta >= 0:
            return Line(alpha, beta)
    edges = (Line(0.0, wxy / wxx), Line(wy / w, 0.0))
    return min(edges, key=lambda line: float(weights @ (y - line.alpha_ns - line.ns_per_byte * x) ** 2))


def _best_edges(bytes: Floats, times_ns: Floats) -> tuple[int, ...]:
    """Where segments begin and end, with the least Bayesian information criterion of relative errors."""
    count = len(bytes)
    squares: dict[tuple[int, int], float] = {}
    for first, last in combinations(range(count + 1), 2):
        if last - first >= LEAST_IN_SEGMENT:
            part, times = bytes[first:last], times_ns[first:last]
            line = _least_squares(part, times, 1 / times**2)
            squares[first, last] = float((((line.alpha_ns + line.ns_per_byte * part) / times - 1) ** 2).sum())
    # Errors below a millionth are rounding: no reason to cut a straight line.
    least = count * 1e-12

    def criterion(edges: Sequence[int]) -> float:
        total = sum(squares[pair] for pair in pairwise(edges))
        free = 3 * (len(edges) - 1) - 1
        return count * math.log(max(total, least) / count) + free * math.log(count)

    return min(_divisions(count), key=criterion)


def _divisions(count: int) -> Iterator[tuple[int, ...]]:
    for segments in range(1, MOST_SEGMENTS + 1):
        for cuts in combinations(range(1, count), segments - 1):
            edges = (0, *cuts, count)
            if all(last - first >= LEAST_IN_SEGMENT for first, last in pairwise(edges)):
                yield edges
