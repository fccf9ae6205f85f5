"""What compressed gradients save and cost on the links that they were tried on, and below which bandwidth they pay (`method` 3.6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from scaleprof.analyses.base import duration, many, percent
from scaleprof.analyses.communication.links_chart import gigabytes
from scaleprof.analyses.strategies.pairs import Side
from scaleprof.models.statistics import Interval, function_interval
from scaleprof.results import Axis, Chart, Layer, Metric, Table

HOOKS = ("fp16", "bf16", "powersgd", "batched_powersgd", "fp16_powersgd", "bf16_powersgd", "compressed")
_SPOKEN = {
    "powersgd": "PowerSGD",
    "batched_powersgd": "batched PowerSGD",
    "fp16_powersgd": "PowerSGD in fp16",
    "bf16_powersgd": "PowerSGD in bf16",
}
_HOW = (
    "Saved: mean step of the plain run less that of the compressed run, with its 95 % moving-block bootstrap interval. Computed: the bytes spared on "
    "the bus (times 2 (n-1)/n for an all-reduce) over the bandwidth, less encoding and decoding; it crosses zero at the break-even bandwidth and is "
    "what is saved if nothing hides either. What the backward pass hides saves nothing when it becomes shorter: measured lies below computed."
)
_POINTS = 40


@dataclass(frozen=True)
class Tried:
    """One run with compressed gradients beside the same run with plain ones."""

    plain: Side
    other: Side

    @property
    def hook(self) -> str:
        """How gradients are compressed: one of `HOOKS`."""
        return next(word for word in (self.other.view.info.strategy or "").split("+") if word in HOOKS)

    @property
    def name(self) -> str:
        """The hook as people write it."""
        return _SPOKEN.get(self.hook, self.hook)

    @property
    def saved_ms(self) -> Interval:
        """Of a step, as measured; negative where the plain run is faster."""
        return function_interval([self.plain.steps_ms, self.other.steps_ms], lambda means: means[0] - means[1])

    @property
    def wire_saved_ms(self) -> float | None:
        """Shorter transfers in a step of one rank, hidden or not; None where transfers are not told."""
        before, after = self.plain.transfer_ms, self.other.transfer_ms
        return None if before is None or after is None else before - after

    @property
    def break_even_gbps(self) -> float | None:
        """Below this bus bandwidth (GB/s) the bytes spared are worth what encoding and decoding cost, if nothing hides either; None where that is
        unknown."""
        cost_ms, spared = self.other.cost_ms, self.plain.bus_bytes - self.other.bus_bytes
        return spared / cost_ms / 1e6 if cost_ms > 0 and spared > 0 else None

    def computed_ms(self, bus_gbps: float) -> float:
        """What would be saved at this bus bandwidth if nothing hid transfers, encoding or decoding."""
        return (self.plain.bus_bytes - self.other.bus_bytes) / bus_gbps / 1e6 - self.other.cost_ms


def table_of(tried: Sequence[Tried]) -> Table:
    """One row per run: what was spared on the wire, what it cost, what came of it (ms of a step; GB/s on the bus)."""
    rows = []
    for one in tried:
        plain, other, saved = one.plain, one.other, one.saved_ms
        ratio = plain.payload_bytes / other.payload_bytes if other.payload_bytes and plain.payload_bytes else None
        encode, decode = (other.extras.encode_ms, other.extras.decode_ms) if other.extras is not None else (None, None)
        rows.append(
            [other.view.info.strategy, other.ranks, other.link, plain.bus_gbps, ratio, encode or None, decode or None, plain.step_ms, other.step_ms,
             saved.value, saved.low, saved.high, one.wire_saved_ms, plain.exposed_ms - other.exposed_ms, one.break_even_gbps]
        )  # fmt: skip
    names = ("strategy", "ranks", "link", "bus_gbps", "ratio", "encode_ms", "decode_ms", "plain_step_ms", "step_ms", "saved_ms", "saved_low_ms",
             "saved_high_ms", "wire_saved_ms", "exposed_saved_ms", "break_even_gbps")  # fmt: skip
    return Table.of_rows(names, rows)


def sentences_of(tried: Sequence[Tried]) -> list[str]:
    """One for each hook, on the most ranks that it was tried on, from the slowest link to the fastest."""
    said = []
    for hook in dict.fromkeys(one.hook for one in tried):
        runs = _on_most_ranks([one for one in tried if one.hook == hook])
        words = f"{runs[0].name} {', '.join(map(_verdict, runs))} ({many(runs[0].other.ranks, 'rank')})"
        crossing = measured_break_even(runs)
        if crossing is not None and crossing.low is not None and crossing.high is not None:
            words += f": it stops paying between {gigabytes(crossing.low)} and {gigabytes(crossing.high)}"
        said.append(words)
    return said


def _verdict(one: Tried) -> str:
    saved = one.saved_ms
    at = f" at {gigabytes(one.plain.bus_gbps)}" if one.plain.bus_gbps is not None else ""
    share = percent(abs(saved.value) / one.plain.step_ms)
    if saved.low is not None and saved.high is not None and saved.low <= 0 <= saved.high:
        return f"changes nothing measurable{at}"
    return f"{'saves' if saved.value > 0 else 'loses'} {duration(abs(saved.value))} ({share}) of a step{at}"


def _on_most_ranks(tried: Sequence[Tried]) -> list[Tried]:
    """Those on the largest world, from the slowest link to the fastest."""
    most = max(one.other.ranks for one in tried)
    return sorted((one for one in tried if one.other.ranks == most), key=lambda one: one.plain.bus_gbps or 0.0)


def measured_break_even(tried: Sequence[Tried]) -> Interval | None:
    """The bus bandwidth (GB/s) at which runs of one hook on several links stop saving, and the two links that it lies between.

    Linear in the time of a byte between the last link that saves and the first that does not; None where all save or none does.
    """
    measured = [(one.plain.bus_gbps, one.saved_ms.value) for one in tried if one.plain.bus_gbps]
    for (slow, more), (fast, less) in pairwise(measured):
        if more > 0 >= less:
            return Interval(1 / (1 / fast + (1 / slow - 1 / fast) * -less / (more - less)), slow, fast)
    return None


def metrics_of(tried: Sequence[Tried]) -> list[Metric]:
    """Of the run that saves the largest share of its step."""
    best = max(tried, key=lambda one: one.saved_ms.value / one.plain.step_ms)
    saved = best.saved_ms
    note = f"{best.other.view.info.strategy} on {many(best.other.ranks, 'rank')}" + f", {best.other.link}" * bool(
        best.other.link
    )
    metrics = [
        Metric("compression.saved_ms", "Saved by compression", saved.value, "ms", saved.low, saved.high, note=note, better="higher"),
    ]  # fmt: skip
    if best.other.payload_bytes and best.plain.payload_bytes:
        ratio = best.plain.payload_bytes / best.other.payload_bytes
        metrics.append(Metric("compression.ratio", "Bytes, plain to compressed", ratio, note=note))
    if best.break_even_gbps is not None:
        metrics.append(
            Metric(
                "compression.break_even_gbps",
                "Worth it below",
                best.break_even_gbps,
                "GB/s",
                note=f"{note}, computed",
            )
        )
    even = measured_break_even(_on_most_ranks([one for one in tried if one.hook == best.hook]))
    if even is not None:
        between = f"between {gigabytes(even.low or 0.0)} and {gigabytes(even.high or 0.0)}"
        name = "compression.measured_break_even_gbps"
        metrics.append(Metric(name, "Worth it below, measured", even.value, "GB/s", note=f"{between}; {note}"))
    return metrics


def charts_of(tried: Sequence[Tried]) -> tuple[Chart, ...]:
    """Bus bandwidth against what is saved, for every hook that was tried on two links at least: measured, and computed as a dashed line."""
    layers, ranks = [], set[int]()
    for place, hook in enumerate(dict.fromkeys(one.hook for one in tried)):
        runs = [one for one in _on_most_ranks([one for one in tried if one.hook == hook]) if one.plain.bus_gbps]
        if len(runs) < 2:
            continue
        ranks.add(runs[0].other.ranks)
        layers += _layers(runs, f"series-{place + 1}")
    if not layers:
        return ()
    chart = Chart(
        "compression",
        "lines",
        _title(tried),
        f"{' and '.join(map(str, sorted(ranks)))} ranks; dashed: computed, if nothing hides transfers, encoding or decoding",
        Axis("bus bandwidth of the plain run", "GB/s", "log10"),
        Axis("saved of a step", "ms"),
        tuple(layers),
        _HOW,
    )
    return (chart,)


def _layers(runs: Sequence[Tried], color: str) -> list[Layer]:
    speeds, saved = [one.plain.bus_gbps or 0.0 for one in runs], [one.saved_ms for one in runs]
    lows, highs = [one.low for one in saved], [one.high for one in saved]
    known = None not in lows and None not in highs
    measured = Layer(
        runs[0].name,
        speeds,
        [one.value for one in saved],
        low=[float(low) for low in lows if low is not None] if known else None,
        high=[float(high) for high in highs if high is not None] if known else None,
        color=color,
    )
    fastest = runs[-1]
    if not fastest.other.cost_ms:
        return [measured]
    end = max(speeds[-1], (fastest.break_even_gbps or 0.0) * 1.5)
    line = np.geomspace(speeds[0], end, _POINTS).tolist()
    computed = [fastest.computed_ms(speed) for speed in line]
    return [measured, Layer(f"{runs[0].name}, computed", line, computed, color=color, style="reference")]


def _title(tried: Sequence[Tried]) -> str:
    """Of the run that saves the largest share of its step, and what becomes of it on the fastest link."""
    best = max(tried, key=lambda one: one.saved_ms.value / one.plain.step_ms)
    fastest = _on_most_ranks([one for one in tried if one.hook == best.hook])[-1]
    words = f"{best.name} saves {percent(best.saved_ms.value / best.plain.step_ms)} of a step at {gigabytes(best.plain.bus_gbps or 0.0)}"
    return words if fastest is best else f"{words} and {_verdict(fastest)}"
