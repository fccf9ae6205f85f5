"""Configurations that can be held against one another: runs of one model, precision, device, network, world size and global batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from scaleprof.align import RunView
from scaleprof.analyses.account.steps import samples_per_rank, steady_times_ms
from scaleprof.analyses.base import many, run_name
from scaleprof.analyses.machine.power import drawn_w
from scaleprof.analyses.scaling.growth import PerSample, per_sample
from scaleprof.analyses.scaling.series import find_series
from scaleprof.analyses.scaling.study import ScalingOptions, pooled, scaled
from scaleprof.models.scaling import SAME
from scaleprof.models.statistics import Interval, function_interval

GPU, PROCESS = "GPU", "process"
_COUNTERS = {GPU: "gpu_memory_mb", PROCESS: "rss_mb"}
"""What memory is of, to the counter of the hardware fact."""


@dataclass(frozen=True)
class Setting:
    """What configurations must have in common to be compared, the world size apart."""

    model: str
    precision: str
    device: str
    link: str
    batch: float
    """Samples of all ranks in a step."""


@dataclass(frozen=True)
class Configuration:
    """One configuration at one world size, its repeats together."""

    name: str
    strategy: str
    views: tuple[RunView, ...]
    step_ms: Interval
    throughput: Interval
    efficiency: Interval | None
    memory_bytes: float | None
    """The most that any rank was seen to use."""
    energy_j: Interval | None
    """By sample, of all GPUs together; its interval is that of the step time."""
    account: PerSample | None


@dataclass(frozen=True)
class Rivals:
    """Configurations of one setting and world size, the fastest first."""

    setting: Setting
    ranks: int
    members: tuple[Configuration, ...]
    memory_of: str
    """`GPU` or `process`: what is known of all members that have any memory; empty where none has."""
    label: str = ""
    """What tells the setting from the others in the report; empty where it is the only one."""

    @property
    def scope(self) -> str:
        """`at 4 ranks`, with the setting where there are several."""
        return f"at {many(self.ranks, 'rank')}" + (f" ({self.label})" if self.label else "")


@dataclass(frozen=True)
class _Kept:
    """One run and what decides with which others it is compared."""

    view: RunView
    setting: Setting
    words: str
    """Its strategy, and its mesh where it has one of several dimensions."""


@dataclass
class Found:
    """The groups of a report, the largest world size first and of one size the most configurations."""

    rivals: list[Rivals] = field(default_factory=list)
    blind: list[str] = field(default_factory=list)
    """Runs whose samples per step nobody knows."""
    alone: list[str] = field(default_factory=list)
    """Runs that no other configuration can be compared with."""


def find_rivals(views: Sequence[RunView], options: ScalingOptions) -> Found:
    """Every group of at least two configurations, and the runs that are in none."""
    found = Found()
    groups: dict[tuple[Setting, int], list[_Kept]] = {}
    for view in views:
        local = samples_per_rank(view)
        if local is None:
            found.blind.append(run_name(view.info))
        elif len(steady_times_ms(view)):
            kept = _Kept(view, setting_of(view, local), words_of(view))
            key = next((one for one in groups if _is_same(one, kept)), (kept.setting, view.info.world_size))
            groups.setdefault(key, []).append(kept)
    efficiencies = _efficiencies(views, options)
    for (setting, ranks), members in groups.items():
        named = _named(members)
        if _is_compared(members):
            found.rivals.append(_rivals(setting, ranks, named, efficiencies))
        else:
            found.alone += [run_name(one.view.info) for one in members]
    found.rivals.sort(key=lambda one: (-one.ranks, -len(one.members)))
    labels = _labels([one.setting for one in found.rivals])
    found.rivals = [replace(one, label=labels[one.setting]) for one in found.rivals]
    return found


def setting_of(view: RunView, local: float) -> Setting:
    """What a run has in common with others that it is compared with; `local` samples a rank takes in a step."""
    info = view.info
    link = info.emulated.link if info.emulated is not None else ""
    device = info.device_name or info.device or ""
    return Setting(info.model or "", info.precision or "", device, link or "", local * info.world_size)


def _is_same(key: tuple[Setting, int], kept: _Kept) -> bool:
    one, other = key[0], kept.setting
    least, most = sorted((one.batch, other.batch))
    alike = (one.model, one.precision, one.device, one.link) == (other.model, other.precision, other.device, other.link)
    return alike and key[1] == kept.view.info.world_size and most <= least * (1 + SAME)


def words_of(view: RunView) -> str:
    """The strategy of a run, with its mesh where that has several dimensions."""
    mesh = {name: size for name, size in (view.info.mesh or {}).items() if size > 1}
    shape = " × ".join(f"{name} {size}" for name, size in mesh.items())
    return (view.info.strategy or "unknown") + (f" ({shape})" if len(mesh) > 1 else "")


def _named(members: Sequence[_Kept]) -> dict[str, list[_Kept]]:
    """Configuration to its repeats: a strategy, or the name of the run where several of one strategy have different names.

    The mesh is said where the strategy alone does not tell two configurations apart.
    """
    words = {one.words for one in members}
    named: dict[str, list[_Kept]] = {}
    for one in members:
        strategy = one.view.info.strategy or "unknown"
        alike = {other.view.info.name for other in members if other.words == one.words}
        several = len([word for word in words if word.partition(" (")[0] == strategy]) > 1
        name = one.view.info.name if len(alike) > 1 else one.words if several else strategy
        named.setdefault(name, []).append(one)
    return named


def _is_compared(members: Sequence[_Kept]) -> bool:
    """Whether there are two strategies, or two names within one study: studies of one strategy are no rivals."""
    names = {(one.view.info.series, one.view.info.name) for one in members}
    studies = [series for series, _ in names]
    return len({one.words for one in members}) > 1 or len(set(studies)) < len(studies)


def _rivals(
    setting: Setting,
    ranks: int,
    named: Mapping[str, Sequence[_Kept]],
    efficiencies: Mapping[int, Interval],
) -> Rivals:
    views = {name: tuple(one.view for one in members) for name, members in named.items()}
    seen = {kind: {name: peak_bytes(of, kind) for name, of in views.items()} for kind in (GPU, PROCESS)}
    kind = next((kind for kind in (GPU, PROCESS) if any(value is not None for value in seen[kind].values())), "")
    members = [_measured(name, of, efficiencies, seen[kind][name] if kind else None) for name, of in views.items()]
    members.sort(key=lambda one: -one.throughput.value)
    return Rivals(setting, ranks, tuple(members), kind)


def _measured(
    name: str,
    views: tuple[RunView, ...],
    efficiencies: Mapping[int, Interval],
    memory_bytes: float | None,
) -> Configuration:
    times = [steady_times_ms(view) for view in views]
    step_ms = function_interval(times, pooled)
    watts = [drawn_w(view) for view in views]
    known = [value for value in watts if value is not None]
    batch = float(np.mean([(samples_per_rank(view) or 0.0) * view.info.world_size for view in views]))
    return Configuration(
        name=name,
        strategy=views[0].info.strategy or "",
        views=views,
        step_ms=step_ms,
        throughput=function_interval(times, lambda means: batch * 1e3 / pooled(means)),
        efficiency=efficiencies.get(id(views[0])),
        memory_bytes=memory_bytes,
        energy_j=_scaled(step_ms, float(np.mean(known)) / 1e3 / batch) if len(known) == len(views) else None,
        account=per_sample(views[0].info.world_size, views),
    )


def _scaled(value: Interval, factor: float) -> Interval:
    low, high = (end * factor if end is not None else None for end in (value.low, value.high))
    return Interval(value.value * factor, low, high)


def peak_bytes(views: Sequence[RunView], kind: str) -> float | None:
    """The largest sample of any rank and repeat; None where a run has none."""
    peaks = []
    for view in views:
        tables = [table for table in view.fact("hardware").values() if _COUNTERS[kind] in table.columns]
        seen = [np.asarray(table[_COUNTERS[kind]], dtype=np.float64) for table in tables]
        known = [float(values[np.isfinite(values)].max()) for values in seen if np.isfinite(values).any()]
        if not known:
            return None
        peaks.append(max(known))
    return max(peaks) * 1e6


def _efficiencies(views: Sequence[RunView], options: ScalingOptions) -> dict[int, Interval]:
    """Scaling efficiency by the identity of a run, where it is in one series alone."""
    found: dict[int, list[Interval]] = {}
    for series in find_series(views)[0]:
        for size in scaled(series, options).sizes:
            if size.efficiency is not None:
                for view in size.views:
                    found.setdefault(id(view), []).append(size.efficiency)
    return {key: values[0] for key, values in found.items() if len(values) == 1}


def _labels(settings: Sequence[Setting]) -> dict[Setting, str]:
    """What tells each setting from the others, in as few words as do; empty where there is one alone."""
    parts = {
        setting: (
            setting.model,
            setting.link or "network as it is",
            setting.precision,
            setting.device,
            f"{setting.batch:,.4g} samples a step",
        )
        for setting in settings
    }
    needed = list(range(5))
    for place in (4, 3, 2, 0, 1):
        rest = [one for one in needed if one != place]
        if len({tuple(part[one] for one in rest) for part in parts.values()}) == len(parts):
            needed = rest
    return {setting: ", ".join(part[place] for place in needed if part[place]) for setting, part in parts.items()}
