"""Which configuration of a model does most at which size, also at sizes that nobody measured: the laws of their studies side by side.

Where a size was measured, that stands; elsewhere what the study's law expects, with its 80 % interval. Memory is taken as a part that each rank holds
whole and one that the ranks divide (`method` 6.2), energy at the power that a rank draws at the largest size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.base import many, some
from scaleprof.analyses.machine.power import drawn_w
from scaleprof.analyses.scaling.forecast import Forecast, forecast
from scaleprof.analyses.scaling.series import Series, find_series
from scaleprof.analyses.scaling.study import ScalingOptions, Size, scaled
from scaleprof.analyses.strategies.configurations import GPU, PROCESS, Setting, peak_bytes, setting_of
from scaleprof.models.extrapolation import INDICATIVE, Trust
from scaleprof.results import Axis, Chart, Layer, Metric, Table

DOUBLINGS = (2, 4, INDICATIVE)
"""Sizes that are predicted, as multiples of the largest one that all were measured at."""


@dataclass(frozen=True)
class Expected:
    """One configuration at one size."""

    name: str
    trust: Trust
    throughput: float
    low: float
    high: float
    """Of 95 % where it was measured, of 80 % where it is expected."""
    memory_bytes: float | None
    energy_j: float | None
    """By sample, of all GPUs together."""


@dataclass(frozen=True)
class Choice:
    """Studies of one model, precision, device, network and batch that differ in their configuration."""

    setting: Setting
    kind: str
    memory_of: str
    by_size: dict[int, tuple[Expected, ...]]
    """What is known at each size, the fastest first."""

    def fastest(self, ranks: int) -> list[str]:
        """The fastest at a size, and those that nothing tells from it: their intervals reach into its own."""
        first, *others = self.by_size[ranks]
        return [first.name, *(one.name for one in others if one.high >= first.low)]


def find_choices(views: Sequence[RunView], options: ScalingOptions) -> list[Choice]:
    """The groups of at least two studies that each have a law, the largest first."""
    groups: dict[tuple[Setting, str], list[tuple[str, Forecast]]] = {}
    for series in find_series(views)[0]:
        strategies = _strategies(series)
        if series.kind not in ("strong", "weak") or len(strategies) != 1:
            continue
        one = forecast(scaled(series, options))
        if one.law is not None:
            last = one.sizes[-1]
            local = last.local_batch * (last.ranks if series.kind == "strong" else 1)
            setting = replace(setting_of(last.views[0], 0.0), batch=float(f"{local:.3g}"))
            groups.setdefault((setting, series.kind), []).append((strategies[0], one))
    found = [_choice(setting, kind, _named(of)) for (setting, kind), of in groups.items() if len(of) > 1]
    return sorted(found, key=lambda choice: -max(len(known) for known in choice.by_size.values()))


def _strategies(series: Series) -> list[str]:
    """What its sizes of more than one rank are called."""
    views = [view for ranks, of in series.sizes.items() if ranks > 1 for view in of]
    return list(dict.fromkeys(view.info.strategy or "unknown" for view in views))


def _named(members: Sequence[tuple[str, Forecast]]) -> dict[str, Forecast]:
    """By strategy; by the name of the study where several have the same."""
    strategies = [strategy for strategy, _ in members]
    return {strategy if strategies.count(strategy) == 1 else one.study.series.label: one for strategy, one in members}


def _choice(setting: Setting, kind: str, members: dict[str, Forecast]) -> Choice:
    measured = {size.ranks for one in members.values() for size in one.study.sizes if size.ranks > 1}
    common = min(max(size.ranks for size in one.sizes) for one in members.values())
    peaks = {of: {name: _peaks(one, of) for name, one in members.items()} for of in (GPU, PROCESS)}
    memory_of = next((of for of in (GPU, PROCESS) if all(peaks[of].values())), "")
    by_size: dict[int, tuple[Expected, ...]] = {}
    most = setting.batch if kind == "strong" else math.inf
    for ranks in sorted(measured | {round(times * common) for times in DOUBLINGS if times * common <= most}):
        known = [
            _expected(name, one, ranks, peaks[memory_of][name] if memory_of else {}) for name, one in members.items()
        ]
        there = sorted((one for one in known if one is not None), key=lambda one: -one.throughput)
        if len(there) > 1:
            by_size[ranks] = tuple(there)
    return Choice(setting, kind, memory_of, by_size)


def _peaks(one: Forecast, of: str) -> dict[int, float]:
    """Peak memory of a rank by size; a single rank is not of the strategy."""
    seen = {size.ranks: peak_bytes(size.views, of) for size in one.study.sizes if size.ranks > 1}
    return {ranks: peak for ranks, peak in seen.items() if peak is not None}


def _expected(name: str, one: Forecast, ranks: int, peaks: dict[int, float]) -> Expected | None:
    """One study at one size; None where its law gives no number there."""
    size = next((size for size in one.study.sizes if size.ranks == ranks), None)
    joules = _joules(one.sizes[-1])
    if size is not None:
        rate = size.throughput
        low, high = (end if end is not None else rate.value for end in (rate.low, rate.high))
        return Expected(name, "measured", rate.value, low, high, peaks.get(ranks), _joules(size))
    assert one.law is not None
    asked = one.law.at(ranks)
    if asked.value is None or asked.within_80 is None or ranks < one.sizes[0].ranks:
        return None
    last = one.sizes[-1]
    power = last.throughput.value / last.ranks * joules if joules is not None else None
    energy = power * ranks / asked.value if power is not None else None
    return Expected(name, asked.trust, asked.value, *asked.within_80, memory_at(peaks, ranks), energy)


def _joules(size: Size) -> float | None:
    """Energy by sample, of all GPUs of a size together."""
    watts = [drawn_w(view) for view in size.views]
    known = [value for value in watts if value is not None]
    return float(np.mean(known)) / size.throughput.value if known and len(known) == len(watts) else None


def memory_at(peaks: dict[int, float], ranks: int) -> float | None:
    """Bytes of a rank at a size by what is the same on every rank and what they divide, neither of them negative; None for fewer than two sizes."""
    if len(peaks) < 2:
        return None
    sizes, bytes = np.array(list(peaks), dtype=np.float64), np.array(list(peaks.values()))
    whole, divided = np.linalg.lstsq(np.stack((np.ones(len(sizes)), 1 / sizes), axis=1), bytes, rcond=None)[0].tolist()
    if divided < 0:
        whole, divided = float(bytes.mean()), 0.0
    elif whole < 0:
        whole, divided = 0.0, float((bytes / sizes).sum() / (1 / sizes**2).sum())
    return float(whole + divided / ranks)


def metrics_of(choices: Sequence[Choice]) -> list[Metric]:
    """Who is expected to do most at each size that was not measured, of the largest group."""
    if not choices:
        return []
    first = choices[0]
    found = []
    for ranks, known in first.by_size.items():
        if known[0].trust != "measured":
            name, *equal = first.fastest(ranks)
            note = f"{known[0].trust}, " + (f"not told from {some(equal)}" if equal else "apart from all others")
            found.append(Metric(f"strategies.fastest_at_{ranks}", f"Fastest at {many(ranks, 'rank')}", name, note=note))
    return found


def table_of(choices: Sequence[Choice]) -> Table:
    """One row for each size and configuration, the fastest first; `fastest` says `yes`, `open` where intervals meet, or nothing."""
    columns = (
        "scaling", "batch", "ranks", "configuration", "trust", "throughput", "low", "high", "fastest", "memory_bytes", "memory_of",
        "energy_per_sample_j",
    )  # fmt: skip
    rows: list[list[object]] = []
    for choice in choices:
        for ranks, known in choice.by_size.items():
            fastest = choice.fastest(ranks)
            for one in known:
                verdict = "" if one.name not in fastest else "open" if len(fastest) > 1 else "yes"
                of = choice.memory_of if one.memory_bytes is not None else ""
                values = [one.trust, one.throughput, one.low, one.high, verdict, one.memory_bytes, of, one.energy_j]
                rows.append([choice.kind, choice.setting.batch, ranks, one.name, *values])
    return Table.of_rows(columns, rows)


def charts_of(choices: Sequence[Choice]) -> list[Chart]:
    """Throughput of a rank over sizes of the largest group, what was not measured shaded."""
    if not choices:
        return []
    choice = choices[0]
    names = list(dict.fromkeys(one.name for known in choice.by_size.values() for one in known))
    layers = [_line(choice, name) for name in names]
    measured = [ranks for ranks, known in choice.by_size.items() if all(one.trust == "measured" for one in known)]
    sizes = list(choice.by_size)
    if measured and sizes[-1] > measured[-1]:
        layers.append(Layer("not measured", [measured[-1], sizes[-1]], [None, None], style="span"))
    return [
        Chart(
            id="strategies.by_size",
            kind="lines",
            title=_title(choice),
            subtitle="Samples per second and rank of each configuration: as measured, and as its own law expects it.",
            x=Axis("ranks", scale="log2"),
            y=Axis("samples per second and rank", from_zero=True),
            layers=tuple(layers),
            how="Each configuration is a study of its own with its own law of scaling (section Scaling). Of two at a size the one is called faster "
            "if their intervals are apart: 95 % where both were measured, 80 % where one is expected.",
        )
    ]


def _line(choice: Choice, name: str) -> Layer:
    points = [(ranks, one) for ranks, known in choice.by_size.items() for one in known if one.name == name]
    return Layer(name, [ranks for ranks, _ in points], [one.throughput / ranks for ranks, one in points])


def _title(choice: Choice) -> str:
    """`ddp does most samples a second at 2 and 4 ranks; at 32 ddp+fp16 or ddp+powersgd are expected to`"""
    sizes = list(choice.by_size)
    measured = [ranks for ranks, known in choice.by_size.items() if known[0].trust == "measured"]
    last = sizes[-1]
    trust = choice.by_size[last][0].trust
    expected = _or(choice.fastest(last))
    if not measured:
        return f"At {many(last, 'rank')} {expected} is expected to do most samples a second ({trust})"
    most = _or(choice.fastest(measured[-1]))
    if most == expected:
        return (
            f"{most} does most samples a second at {many(measured[-1], 'rank')}, and is expected to at {last} ({trust})"
        )
    return f"{most} does most samples a second at {many(measured[-1], 'rank')}; at {last} it is {expected} ({trust})"


def _or(names: Sequence[str]) -> str:
    first, *others = names
    if len(names) > 3:
        return f"{first}, or one of {len(others)} others"
    return f"{', '.join(names[:-1])} or {names[-1]}" if others else first


def caveats_of(choices: Sequence[Choice]) -> list[str]:
    """What these numbers do not know."""
    if not choices:
        return []
    found = [
        "what a configuration does at a size that was not measured is expected by the law of its study alone, which section Scaling checks"
    ]
    expected = [
        one for choice in choices for known in choice.by_size.values() for one in known if one.trust != "measured"
    ]
    if any(one.memory_bytes is not None for one in expected):
        found.append(
            "memory at sizes that were not measured is a part that every rank holds and one that ranks divide, through the sizes measured: what "
            "the network library and the allocator add there is not in it"
        )
    limits = {choice.setting.batch for choice in choices if choice.kind == "strong"}
    if limits:
        samples = " and ".join(f"{batch:g}" for batch in sorted(limits))
        found.append(
            f"no size with more ranks than samples in a step ({samples}) is compared; a model has only so many layers and heads to divide, too"
        )
    return found
