"""Clocks from collectives: how far apart they are, how they drift, and how well that is known (`method` 2.3).

Two kinds of knowledge, kept apart. *Causality*: no rank leaves a synchronising collective before every rank has come to it, so each one bounds the
offset of two clocks from both sides, for certain. All the bounds over time admit a set of lines (offset and drift); its extremes at a moment are
the guaranteed bounds there (the idea is Duda's, ICDCS 1987). *Statistics*: ranks leave a collective nearly together, so the middle of many
differences of ends is far closer to the truth than the bounds are: a robust two-way fit, with an interval, cut to the bounds.

Clocks are numbers, of which 0 is the reference; times are ns as floats since an origin, on clocks that agree roughly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_DRIFT = 1000e-6
"""Two time services that each slew as fast as they may, 500 ppm, against one another."""
USUAL_DRIFT = 50e-6
"""What a crystal's data sheet allows."""
LEAST_FOR_A_LINE = 6
"""Fewer operations give an offset, and no drift."""
NORMAL_95 = 1.959964
MAD_TO_SIGMA = 1.4826
_OUTER, _INNER = 5, 8  # rounds of the two-way fit, and of the robust lines in each
_HUBER = 1.345  # 95 % efficient for normal errors
_BINS = 96  # of many constraints those that bind most in so many parts of the time: leaving out the others only loosens a bound
_TOLERANCE_NS = 0.5
_LEAST_SIGMA_NS = 1.0  # times are whole ns


@dataclass(frozen=True)
class Met:
    """Operations in which the same clocks met, one row each."""

    clocks: tuple[int, ...]
    """By column."""
    time_ns: Floats
    """Of each operation: (operations,)."""
    end_ns: Floats
    """The middle one of the ends on each clock: (operations, clocks)."""
    first_end_ns: Floats
    """The first end of a rank on each clock."""
    last_start_ns: Floats
    """The last start of a rank on each clock."""


@dataclass(frozen=True)
class Limit:
    """Clock `ahead` minus clock `behind` is at most `most_ns` at these times, for certain."""

    ahead: int
    behind: int
    time_ns: Floats
    most_ns: Floats


@dataclass(frozen=True)
class Known:
    """What is known of one clock's offset from the reference's, at the two ends of the time: (2,) each, in ns."""

    offset_ns: Floats
    half_width_ns: Floats
    """Of the 95 % interval; where there is no statistics, as far as causality reaches."""
    bound_ns: Floats
    """The largest possible error; infinite where nothing bounds it."""


# ---- statistics


@dataclass(frozen=True)
class _Lines:
    """Offsets of the clocks of one set from the set's own middle, at the two ends of the time: (2, clocks) each."""

    value: Floats
    error: Floats
    """One sigma."""


def fitted(met: Met, ends: Floats) -> _Lines:
    """The two-way fit: what of an end is the operation's, what is the clock's line over time."""
    time, count = met.time_ns, met.end_ns.shape[1]
    middle = np.median(met.end_ns, axis=1)
    line = np.zeros((2, count))  # value at the mean time, slope
    for _ in range(_OUTER):
        line = _robust_lines(time, met.end_ns - middle[:, None], with_slope=_has_slope(time))
        middle = np.median(met.end_ns - _along(line, time), axis=1)
    rest = met.end_ns - middle[:, None] - _along(line, time)
    level, slope = _errors(time, rest)
    # What a short time says of a drift is noise: it is weighed against what is known of clocks (a normal prior).
    known = USUAL_DRIFT**2 / (USUAL_DRIFT**2 + slope**2) if _has_slope(time) else np.zeros(count)
    away = ends[:, None] - time.mean()
    value = line[0] + known * line[1] * away
    return _Lines(value, np.sqrt(level**2 + (1 - known) * USUAL_DRIFT**2 * away**2))


def fitted_both_ways(there: Met, back: Met, ends: Floats) -> _Lines:
    """The same from transfers between two clocks, whose sender may leave a little before the receiver: in the mean of both directions that cancels.

    Half of what the directions differ by is the error that remains, whatever its cause.
    """
    ahead, other = (line.value[:, 1] - line.value[:, 0] for line in (fitted(there, ends), fitted(back, ends)))
    sigmas = [fitted(met, ends).error for met in (there, back)]
    scatter = np.sqrt(sum((sigma**2).sum(axis=1) for sigma in sigmas)) / 2
    value = (ahead + other) / 2
    error = np.sqrt(scatter**2 + ((ahead - other) / 2) ** 2)
    half = np.sqrt(0.5)
    return _Lines(np.stack([-value / 2, value / 2], axis=1), np.stack([error * half, error * half], axis=1))


def _has_slope(time: Floats) -> bool:
    return len(time) >= LEAST_FOR_A_LINE and bool(np.ptp(time) > 0)


def _along(line: Floats, time: Floats) -> Floats:
    along: Floats = line[0][None, :] + (time - time.mean())[:, None] * line[1][None, :]
    return along


def _robust_lines(time: Floats, values: Floats, *, with_slope: bool) -> Floats:
    """Huber's line through each column: its value at the mean time, and its slope."""
    if not with_slope:
        return np.array([np.median(values, axis=0), np.zeros(values.shape[1])])
    x = (time - time.mean())[:, None]
    line = np.array([np.median(values, axis=0), np.zeros(values.shape[1])])
    for _ in range(_INNER):
        rest = values - line[0] - x * line[1]
        scale = np.maximum(MAD_TO_SIGMA * np.median(np.abs(rest), axis=0), 1e-9)
        weight = np.minimum(1.0, _HUBER * scale / np.maximum(np.abs(rest), 1e-12))
        total, first, second = weight.sum(axis=0), (weight * x).sum(axis=0), (weight * x * x).sum(axis=0)
        spread = total * second - first**2
        slope = (total * (weight * x * values).sum(axis=0) - first * (weight * values).sum(axis=0)) / spread
        slope = np.clip(slope, -MOST_DRIFT, MOST_DRIFT)
        line = np.array([((weight * values).sum(axis=0) - slope * first) / total, slope])
    return line


def _errors(time: Floats, rest: Floats) -> tuple[Floats, Floats]:
    """One sigma of each clock's line at the mean time, and of its slope, from what the fit leaves over.

    Every operation's own middle is fitted, too, which hides a part of the scatter: with two clocks half of the variance. Errors that follow one
    another (a congested minute) count as fewer: n (1 - r1) / (1 + r1) of them.
    """
    count, clocks = rest.shape
    parameters = 2 if _has_slope(time) else 1
    if count <= parameters:
        return np.full(clocks, np.inf), np.full(clocks, 1e9)
    # The clock in the middle of three has no rest at all: how far apart ends are is seen on all clocks together.
    usual = np.maximum(np.median(np.abs(rest), axis=0), np.median(np.abs(rest)))
    clipped = np.minimum(np.abs(rest), 5 * MAD_TO_SIGMA * usual[None, :])
    robust = np.sqrt((clipped**2).sum(axis=0) / (count - parameters) * clocks / max(clocks - 1, 1))
    after, before = rest[1:], rest[:-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        follows = np.nan_to_num((after * before).sum(axis=0) / (rest**2).sum(axis=0))
    follows = np.where(follows > 0.2, np.minimum(follows, 0.95), 0.0)
    effective = count * (1 - follows) / (1 + follows)
    level: Floats = _student(count - parameters) * robust / np.sqrt(effective)
    return level, level / max(float(time.std()), 1e-9)


def _student(freedom: int) -> float:
    """How much wider a 95 % interval of Student's t is than the normal one, at so many degrees of freedom (Cornish-Fisher)."""
    z, n = NORMAL_95, float(max(freedom, 1))
    if freedom < 4:
        return {1: 12.706, 2: 4.303, 3: 3.182}[max(freedom, 1)] / z
    return 1 + (z**2 + 1) / (4 * n) + (5 * z**4 + 16 * z**2 + 3) / (96 * n**2)


def joined(sets: Sequence[tuple[Met, _Lines]], clocks: int) -> tuple[Floats, Floats]:
    """Offsets of all clocks from clock 0 at the two ends, and one sigma of each: (2, clocks); NaN for those that no chain of sets ties to it.

    Every set knows its clocks up to a number of its own: weighted least squares over clocks and sets, of which the sets are eliminated. One that says
    nothing of its errors, as it has too few operations, ties nothing.
    """
    offset, error = np.full((2, clocks), np.nan), np.full((2, clocks), np.nan)
    offset[:, 0] = error[:, 0] = 0.0
    certain = [(met, lines) for met, lines in sets if np.isfinite(lines.error).all()]
    near = np.array(_tied(certain, clocks))
    if len(near) == 1:
        return offset, error
    place = np.full(clocks, -1)
    place[near] = np.arange(len(near))
    for end in range(2):
        equations, values = np.zeros((len(near), len(near))), np.zeros(len(near))
        for met, lines in certain:
            here = place[list(met.clocks)]
            if here[0] >= 0:
                weight = np.maximum(lines.error[end], _LEAST_SIGMA_NS) ** -2
                equations[np.ix_(here, here)] += np.diag(weight) - np.outer(weight, weight) / weight.sum()
                values[here] += weight * (lines.value[end] - np.average(lines.value[end], weights=weight))
        covariance = np.linalg.inv(equations[1:, 1:])
        offset[end, near[1:]] = covariance @ values[1:]
        error[end, near[1:]] = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return offset, error


def _tied(sets: Sequence[tuple[Met, _Lines]], clocks: int) -> list[int]:
    """Clock 0 and those that sets tie to it."""
    near = [0]
    seen = {0}
    grows = True
    while grows:
        grows = False
        for met, _ in sets:
            if seen & set(met.clocks) and not set(met.clocks) <= seen:
                near += [clock for clock in met.clocks if clock not in seen]
                seen |= set(met.clocks)
                grows = True
    return near


# ---- causality


def limits_of(met: Met, reference: int) -> list[Limit]:
    """What each pair of clocks says of each other: all pairs of few clocks, those with one of them where they are many."""
    columns = range(len(met.clocks))
    pivot = met.clocks.index(reference) if reference in met.clocks else 0
    few = len(met.clocks) <= 12
    limits = []
    for ahead in columns:
        for behind in columns:
            if ahead != behind and (few or pivot in (ahead, behind)):
                most = met.first_end_ns[:, ahead] - met.last_start_ns[:, behind]
                limits.append(Limit(met.clocks[ahead], met.clocks[behind], met.time_ns, most))
    return limits


def bounds(limits: Sequence[Limit], clocks: int, ends: Floats) -> tuple[Floats, Floats, set[tuple[int, int]]]:
    """The least and the largest offset of every clock from clock 0 at the two ends: (2, clocks), infinite where nothing bounds it; and the pairs of
    clocks for which no line fulfils all limits."""
    by_pair: dict[tuple[int, int], list[Limit]] = {}
    for limit in limits:
        by_pair.setdefault((limit.ahead, limit.behind), []).append(limit)
    most = np.full((2, clocks, clocks), np.inf)
    broken = set()
    for ahead, behind in {tuple(sorted(pair)) for pair in by_pair}:
        above, below = by_pair.get((ahead, behind), []), by_pair.get((behind, ahead), [])
        found = extremes(_points(above), _points(below, -1.0), ends)
        if found is None:
            broken.add((ahead, behind))
            continue
        low, high = found
        most[:, ahead, behind], most[:, behind, ahead] = high, -low
    least, largest = np.full((2, clocks), -np.inf), np.full((2, clocks), np.inf)
    for end in range(2):
        largest[end] = _shortest(most[end].T)
        least[end] = -_shortest(most[end])
    ring = np.flatnonzero((least > largest + _TOLERANCE_NS).any(axis=0)).tolist()
    if ring:
        # No two clocks contradict one another, but several in a ring do, and all that is reckoned along it is void.
        broken |= {(0, clock) for clock in ring if clock}
        least[:, 1:], largest[:, 1:] = -np.inf, np.inf
    return least, largest, broken


def _points(limits: Sequence[Limit], sign: float = 1.0) -> tuple[Floats, Floats]:
    nothing = np.zeros(0)
    time = np.concatenate([nothing, *(limit.time_ns for limit in limits)])
    return time, sign * np.concatenate([nothing, *(limit.most_ns for limit in limits)])


def _shortest(most: Floats) -> Floats:
    """By clock the least sum of limits along a chain from clock 0 (Bellman-Ford); `most[a, b]` is the limit of going from a to b."""
    reach = np.full(len(most), np.inf)
    reach[0] = 0.0
    for _ in range(len(most)):
        further = np.minimum(reach, (reach[:, None] + most).min(axis=0))
        if (further == reach).all():
            break
        reach = further
    return reach


def extremes(above: tuple[Floats, Floats], below: tuple[Floats, Floats], ends: Floats) -> tuple[Floats, Floats] | None:
    """Of all lines under `above`, over `below`, and no steeper than clocks drift, the least and the largest value at each end.

    None where there is no such line. The extremes of a linear function over a polygon are at its corners, where two limits hold with equality.
    """
    if not len(above[0]) or not len(below[0]):
        return _one_sided(above, below, ends)
    upper, lower = _hull(*_binding(*above)), _hull(*_binding(below[0], -below[1]))
    time = np.concatenate((upper[0], lower[0]))
    value = np.concatenate((upper[1], -lower[1]))
    first, second = np.triu_indices(len(time), k=1)
    apart = time[first] != time[second]
    first, second = first[apart], second[apart]
    slope = (value[first] - value[second]) / (time[first] - time[second])
    slopes = np.concatenate((slope, np.repeat((-MOST_DRIFT, MOST_DRIFT), len(time))))
    at = np.concatenate((first, np.tile(np.arange(len(time)), 2)))
    fits = np.abs(slopes) <= MOST_DRIFT
    slopes, at = slopes[fits], at[fits]
    base = value[at] - slopes * time[at]
    possible = np.ones(len(base), dtype=bool)
    for (times, limits), sign in ((upper, 1.0), (lower, -1.0)):
        along = base[:, None] + slopes[:, None] * times[None, :]
        possible &= (along * sign <= limits[None, :] + _TOLERANCE_NS).all(axis=1)
    if not possible.any():
        return None
    values = base[possible][None, :] + ends[:, None] * slopes[possible][None, :]
    return values.min(axis=1), values.max(axis=1)


def _one_sided(above: tuple[Floats, Floats], below: tuple[Floats, Floats], ends: Floats) -> tuple[Floats, Floats]:
    """Limits of one side only: each holds where it stands, and loosens away from there as clocks may drift."""
    low, high = np.full(len(ends), -np.inf), np.full(len(ends), np.inf)
    for place, end in enumerate(ends):
        if len(above[0]):
            high[place] = (above[1] + MOST_DRIFT * np.abs(end - above[0])).min()
        if len(below[0]):
            low[place] = (below[1] - MOST_DRIFT * np.abs(end - below[0])).max()
    return low, high


def _binding(time: Floats, limit: Floats) -> tuple[Floats, Floats]:
    """The lowest limit in each part of the time, in order of time."""
    order = np.argsort(time, kind="stable")
    parts = [part for part in np.array_split(order, min(_BINS, len(order))) if len(part)]
    chosen = np.array([part[np.argmin(limit[part])] for part in parts])
    return time[chosen], limit[chosen]


def _hull(time: Floats, limit: Floats) -> tuple[Floats, Floats]:
    """The corners of the lower convex hull of points in order of time."""
    kept: list[tuple[float, float]] = []
    for x, y in zip(time.tolist(), limit.tolist(), strict=True):
        if kept and kept[-1][0] == x:
            if kept[-1][1] <= y:
                continue
            kept.pop()
        while len(kept) > 1 and (kept[-1][1] - kept[-2][1]) * (x - kept[-2][0]) >= (y - kept[-2][1]) * (
            kept[-1][0] - kept[-2][0]
        ):
            kept.pop()
        kept.append((x, y))
    corners = np.array(kept)
    return corners[:, 0], corners[:, 1]


# ---- both


def clocks_known(
    sets: Sequence[Met],
    limits: Sequence[Limit],
    clocks: int,
    ends: Floats,
    pairs: Sequence[tuple[Met, Met]] = (),
) -> tuple[Mapping[int, Known], set[tuple[int, int]]]:
    """Every clock of which anything is known, and the pairs of clocks whose limits contradict one another (their bounds are left out).

    `sets` are collectives, `pairs` transfers between the same two clocks in both directions; `limits` hold beside those of the sets.
    """
    lines = [(met, fitted(met, ends)) for met in sets]
    lines += [(there, fitted_both_ways(there, back, ends)) for there, back in pairs]
    offset, sigma = joined(lines, clocks)
    every = [*limits, *(limit for met in sets for limit in limits_of(met, 0))]
    least, largest, broken = bounds(every, clocks, ends)
    known = {}
    for clock in range(clocks):
        low, high = least[:, clock], largest[:, clock]
        value, half = offset[:, clock], NORMAL_95 * sigma[:, clock]
        both = bool(np.isfinite(low).all() and np.isfinite(high).all())
        if np.isnan(value).any() or not np.isfinite(half).all():
            if not both:
                continue
            value, half = (low + high) / 2, (high - low) / 2
        value = np.clip(value, low, high)
        bound = np.maximum(high - value, value - low)
        known[clock] = Known(value, np.minimum(half, bound), bound)
    return known, broken


def contradictions(sets: Sequence[Met], known: Mapping[int, Known], ends: Floats) -> tuple[list[Met], int]:
    """The sets without the operations that end on one clock before they begin on another, on the clocks as they are known; and how many those are."""
    kept, dropped = [], 0
    for met in sets:
        columns = [column for column, clock in enumerate(met.clocks) if clock in known]
        along = np.array(
            [np.interp(met.time_ns, ends, known[met.clocks[column]].offset_ns) for column in columns]
        ).reshape(len(columns), len(met.time_ns))
        if len(columns) < 2:
            kept.append(met)
            continue
        left = (met.first_end_ns[:, columns].T - along).min(axis=0)
        came = (met.last_start_ns[:, columns].T - along).max(axis=0)
        possible = left >= came
        dropped += int((~possible).sum())
        if possible.any():
            kept.append(
                Met(
                    met.clocks,
                    *(column[possible] for column in (met.time_ns, met.end_ns, met.first_end_ns, met.last_start_ns)),
                )
            )
    return kept, dropped
