"""The pictures of configurations side by side: throughput against memory, energy and time by sample; and their takeaways in words."""

from collections.abc import Sequence

from scaleprof.align import LEAVES
from scaleprof.analyses.account.time import spoken
from scaleprof.analyses.base import LEAF_COLORS, leaf_labels, percent
from scaleprof.analyses.scaling.growth import PerSample
from scaleprof.analyses.strategies.configurations import GPU, Configuration, Rivals
from scaleprof.analyses.strategies.front import HOW, SAME_MEMORY, front_of, is_on_front
from scaleprof.models.statistics import Interval
from scaleprof.results import Axis, Chart, Layer

MOST_SCATTERS = 3
"""Sizes that get a picture, the largest ones; the table has all."""
_MEMORY_WORDS = {GPU: "memory in use on the GPU", "process": "memory of the process"}
_SMALL_J = 0.1
"""Below this, energies are told in mJ."""
_SMALL_MS = 0.1
"""Below this, times of a sample are told in µs."""


def fastest_of(rivals: Rivals) -> Configuration:
    """The one with most samples a second."""
    return rivals.members[0]


def least_memory_of(rivals: Rivals) -> Configuration | None:
    """Of the front the one that needs least memory; None where there is no front."""
    front = front_of(rivals.members)
    return front[0] if front else None


def charts_of(groups: Sequence[Rivals]) -> tuple[Chart, ...]:
    """A picture of the front at each of the largest sizes, then energy and time by sample at the largest."""
    drawn = [rivals for rivals in groups if sum(one.memory_bytes is not None for one in rivals.members) > 1]
    drawn = drawn[:MOST_SCATTERS]
    names = list(dict.fromkeys(one.name for rivals in drawn for one in rivals.members))
    charts: list[Chart | None] = [_scatter(rivals, names, place) for place, rivals in enumerate(drawn)]
    charts += [_energy(groups[0]), _time(groups[0])]
    return tuple(chart for chart in charts if chart is not None)


def title_of(rivals: Rivals) -> str:
    """`fsdp2 needs 38.0 % less memory than ddp but does 57.1 % fewer samples a second at 4 ranks`"""
    fastest, least, scope = fastest_of(rivals), least_memory_of(rivals), rivals.scope
    if least is None or least.memory_bytes is None or fastest.memory_bytes is None:
        return f"{fastest.name} does most samples a second {scope}"
    saved = 1 - least.memory_bytes / fastest.memory_bytes
    if least is fastest:
        return f"{fastest.name} does most samples a second {scope}, and nothing on the front needs less memory"
    if saved < SAME_MEMORY:
        return f"{fastest.name} does most samples a second {scope}, and nothing on the front needs notably less memory"
    start = f"{least.name} needs {percent(saved)} less memory than {fastest.name}"
    if is_less(least.throughput, fastest.throughput):
        lost = 1 - least.throughput.value / fastest.throughput.value
        return f"{start} but does {percent(lost)} fewer samples a second {scope}"
    return f"{start} and is not measurably slower {scope}"


def memory_unit(rivals: Rivals) -> tuple[str, float]:
    """GB or MB, and how many bytes that is: the same for all of them."""
    most = max((one.memory_bytes or 0.0 for one in rivals.members), default=0.0)
    return ("GB", 1e9) if most >= 1e9 else ("MB", 1e6)


def is_less(one: Interval, other: Interval) -> bool:
    """Whether the one is really less: the intervals are apart."""
    return one.high is not None and other.low is not None and one.high < other.low


def amount(value: float) -> str:
    """Three significant digits, none after the point from a hundred on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _scatter(rivals: Rivals, names: Sequence[str], place: int) -> Chart:
    known = {one.name: one for one in rivals.members if one.memory_bytes is not None}
    unit, size = memory_unit(rivals)
    layers = [_point(name, known.get(name), rivals, size) for name in names]
    corners = _corners(front_of(rivals.members))
    if len(corners) > 1:
        x, y = [memory / size for memory, _ in corners], [rate for _, rate in corners]
        layers.append(Layer("front", x, y, style="reference"))
    return Chart(
        id=f"strategies.memory_{rivals.ranks}" + (f"_{place + 1}" if rivals.label else ""),
        kind="scatter",
        title=title_of(rivals),
        subtitle=f"Throughput against the {_MEMORY_WORDS[rivals.memory_of]}, the most of any rank. Up and to the left is better; "
        "the dashed line is the front, upright bars are 95 % intervals.",
        x=Axis("peak memory of a rank", unit),
        y=Axis("throughput", "samples/s"),
        layers=tuple(layers),
        how=f"Throughput: samples of all ranks in a step over the mean time of the steady steps. Memory: the largest sample of any rank. {HOW}",
    )


def _point(name: str, one: Configuration | None, rivals: Rivals, size: float) -> Layer:
    """A configuration as one point; without any at a size where it was not measured, so that its colour stays its own."""
    if one is None or one.memory_bytes is None:
        return Layer(name, [], [])
    low, high = one.throughput.low, one.throughput.high
    return Layer(
        name,
        [one.memory_bytes / size],
        [one.throughput.value],
        [low] if low is not None else None,
        [high] if high is not None else None,
        text=["beaten" if is_on_front(one, rivals.members) is False else ""],
    )


def _corners(front: Sequence[Configuration]) -> list[tuple[float, float]]:
    """Memory and the most throughput that one gets with so much of it, where that rises."""
    corners: list[tuple[float, float]] = []
    for one in front:
        if one.memory_bytes is not None and (not corners or one.throughput.value > corners[-1][1]):
            corners.append((one.memory_bytes, one.throughput.value))
    return corners


def by_energy(rivals: Rivals) -> list[tuple[str, Interval]]:
    """Name and J by sample of those whose energy is known, the least first."""
    known = [(one.name, one.energy_j) for one in rivals.members if one.energy_j is not None]
    return sorted(known, key=lambda pair: pair[1].value)


def energy_unit(known: Sequence[tuple[str, Interval]]) -> tuple[str, float]:
    """J or mJ, and how many of them one J is."""
    return ("mJ", 1e3) if known[-1][1].value < _SMALL_J else ("J", 1.0)


def _energy(rivals: Rivals) -> Chart | None:
    known = by_energy(rivals)
    if len(known) < 2:
        return None
    (thrifty, least), (hungry, most) = known[0], known[-1]
    unit, factor = energy_unit(known)
    title = f"{thrifty} needs {percent(1 - least.value / most.value)} less energy a sample than {hungry} {rivals.scope}"
    if not is_less(least, most):
        title = (
            f"Energy a sample differs by nothing measurable {rivals.scope}, least with {thrifty} and most with {hungry}"
        )
    return Chart(
        id="strategies.energy",
        kind="bars",
        title=title,
        subtitle="Energy of all GPUs by sample, over the steady steps.",
        x=Axis("configuration", scale="category"),
        y=Axis("energy per sample", unit, from_zero=True),
        layers=(
            Layer("energy per sample", [name for name, _ in known], [energy.value * factor for _, energy in known]),
        ),
        how="Mean power of every GPU between samples inside steady steps, from its energy counter where it has one, times the mean step time, "
        "over the samples of all ranks in a step; its interval is that of the step time. A GPU that several ranks share counts once.",
    )


def _time(rivals: Rivals) -> Chart | None:
    accounts = [(one.name, one.account) for one in rivals.members if one.account is not None]
    if len(accounts) < 2:
        return None
    accounts.sort(key=lambda pair: pair[1].tau_ms)
    names = [name for name, _ in accounts]
    unit, factor = _time_unit(accounts)
    labels = leaf_labels(*(account.by_leaf_ms for _, account in accounts))
    return Chart(
        id="strategies.time",
        kind="stacked_bars",
        title=_time_title(accounts, labels, rivals.scope),
        subtitle=f"{unit} per sample and rank by class, over the profiled steady steps: what is not compute is lost.",
        x=Axis("configuration", scale="category"),
        y=Axis("time per sample and rank", unit, from_zero=True),
        layers=tuple(
            Layer(label, names, [account.by_leaf_ms[leaf] * factor for _, account in accounts], color=LEAF_COLORS[leaf])
            for leaf, label in labels.items()
        ),
        how="The time account of every rank over its profiled steps, divided by the samples of a rank: those of the job in a step over the number of "
        "ranks. The parts add up to the whole exactly.",
    )


def _time_title(accounts: Sequence[tuple[str, PerSample]], labels: dict[str, str], scope: str) -> str:
    """What the slowest one loses most to, beside all that the fastest one loses."""
    (first, quick), (last, slow) = accounts[0], accounts[-1]
    worst = max((leaf for leaf in LEAVES if leaf != "compute"), key=lambda leaf: slow.by_leaf_ms[leaf])
    unit, factor = _time_unit(accounts)

    def of(ms: float) -> str:
        return f"{amount(ms * factor)} {unit}"

    return (
        f"Of {of(slow.tau_ms)} a sample {last} loses {of(slow.by_leaf_ms[worst])} to {spoken(labels[worst])} {scope}; "
        f"{first} loses {of(quick.tau_ms - quick.by_leaf_ms['compute'])} of {of(quick.tau_ms)} in all"
    )


def _time_unit(accounts: Sequence[tuple[str, PerSample]]) -> tuple[str, float]:
    """ms or µs, and how many of them one ms is."""
    return ("µs", 1e3) if accounts[-1][1].tau_ms < _SMALL_MS else ("ms", 1.0)
