"""The efficiency tree of a series by size: factors that multiply out to the measured scaling efficiency (`method` 4.5)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from scaleprof.align import RunView
from scaleprof.analyses.account.steps import samples_per_rank
from scaleprof.analyses.account.time import leaves_of
from scaleprof.analyses.account.work import work_per_sample
from scaleprof.analyses.base import MOST_IN_A_SENTENCE, Comparison, many, percent, some
from scaleprof.analyses.scaling.efficiency import ALWAYS, HOW, LABELS, WHY, share_of, useful_of
from scaleprof.analyses.scaling.series import Series, find_series
from scaleprof.analyses.scaling.study import Scaled, ScalingOptions, scaled
from scaleprof.models.efficiency import FACTORS, Balance, Scalability, balance, factors, scalability
from scaleprof.models.scaling import SAME
from scaleprof.results import Axis, Chart, Layer, Metric, Result, Table, Variant

TITLE = "Efficiency tree by size"
_NO_LOSS = 0.99
"""A factor above this share of the reference's is not worth a word."""


@dataclass(frozen=True)
class Level:
    """One size of a series: what of its measured efficiency goes where."""

    ranks: int
    efficiency: float
    """Measured, against the reference."""
    factors: dict[str, float]
    """Of this size; their product is its parallel efficiency."""
    compute: Scalability
    sampling: float
    """All steady steps against the profiled ones, so that the product closes."""
    balance: Balance | None

    @property
    def parallel(self) -> float:
        """Compute over the step."""
        return prod(self.factors.values())


def levels_of(study: Scaled) -> list[Level]:
    """Every judged size; the first is the reference. Empty where a size has no account.

    For each, `efficiency` = `compute.whole` x `parallel` over the reference's x `sampling`.
    """
    judged = [size for size in study.sizes if size.efficiency is not None]
    levels: list[Level] = []
    base = None
    for size in judged:
        samples = [local for view in size.views if (local := samples_per_rank(view)) is not None]
        accounts = [leaves for view in size.views if (leaves := leaves_of(view)) is not None]
        if len(samples) < len(size.views) or len(accounts) < len(size.views):
            return []
        here = work_per_sample(size.views, samples)
        total = {leaf: sum(one.by_leaf_ns[leaf] for one in accounts) for leaf in accounts[0].by_leaf_ns}
        tree = factors(total)
        if here is None or tree is None or size.efficiency is None:
            return []
        base = base or (here, prod(tree.values()), size.local_batch)
        alike = abs(size.local_batch / base[2] - 1) <= SAME
        compute = scalability(base[0], here, alike=alike)
        explained = compute.whole * prod(tree.values()) / base[1]
        even = [one for leaves in accounts if (one := balance(useful_of(leaves))) is not None]
        levels.append(
            Level(
                size.ranks,
                size.efficiency.value,
                tree,
                compute,
                size.efficiency.value / explained,
                even[0] if len(even) == 1 else None,
            )
        )
    return levels if len(levels) > 1 else []


def compare(views: Sequence[RunView], options: ScalingOptions) -> Result | None:
    """The tree of every series over its sizes."""
    rows: list[list[object]] = []
    parts: list[Result] = []
    caveats = []
    found: list[tuple[Series, list[Level]]] = []
    for series in find_series(views)[0]:
        levels = levels_of(scaled(series, options))
        if not levels:
            caveats.append(
                f"{series.label}: fewer than two sizes have an efficiency and a time account, so there is no tree"
            )
            continue
        rows += [_row(series, level) for level in levels]
        parts.append(_selected(series, levels))
        found.append((series, levels))
    if not rows:
        return None
    names = ("series", "ranks", "efficiency", "sampling", "compute_scalability", "mix", "speed", "concurrency", "matched_kernels",
             "parallel", *FACTORS, "load_balance", "persistent_balance", "transient_balance")  # fmt: skip
    return Result(
        name="hierarchy",
        title=TITLE,
        headline=". ".join(part.headline for part in parts) if len(parts) <= MOST_IN_A_SENTENCE else _of_many(found),
        metrics=tuple(metric for part in parts for metric in part.metrics),
        tables={"hierarchy": Table.of_rows(names, rows)},
        charts=tuple(chart for part in parts for chart in part.charts)
        if len(parts) <= MOST_IN_A_SENTENCE
        else (_side_by_side(found),),
        caveats=(*caveats, *_without_mix([(series, levels[-1]) for series, levels in found])),
        variants=tuple(Variant(part, series=series.id) for (series, _), part in zip(found, parts, strict=True))
        if len(parts) > 1
        else (),
    )


def _selected(series: Series, levels: Sequence[Level]) -> Result:
    """One series by itself."""
    headline = _headline(series, levels)
    metrics = tuple(_metrics(series, levels))
    return Result("hierarchy", TITLE, headline, metrics, charts=(_heat(series, levels, headline),))


def _of_many(found: Sequence[tuple[Series, list[Level]]]) -> str:
    """Which factor is the weakest one in how many series."""
    worst: dict[str, list[str]] = {}
    for series, levels in found:
        losses = _losses(levels)
        name = min(losses, key=lambda one: losses[one])
        if losses[name] <= _NO_LOSS:
            worst.setdefault(_why(name), []).append(series.label)
    if not worst:
        return f"In none of {len(found)} series a factor loses more than 1 %"
    most = max(worst, key=lambda why: len(worst[why]))
    return f"In {len(worst[most])} of {len(found)} series the largest factor is {most}"


def _side_by_side(found: Sequence[tuple[Series, list[Level]]]) -> Chart:
    """Factors of every series at its largest size."""
    lasts = [levels[-1] for _, levels in found]
    columns = [f"{series.label} ({level.ranks})" for (series, _), level in zip(found, lasts, strict=True)]
    chart = _heat_of(columns, lasts, lasts, "hierarchy.series", _of_many(found))
    return replace(
        chart, x=Axis("series", scale="category"), subtitle=f"Every series at its largest size. {chart.subtitle}"
    )


def _row(series: Series, level: Level) -> list[object]:
    compute, even = level.compute, level.balance
    parts = [compute.whole, compute.mix, compute.speed, compute.concurrency, compute.matched]
    balances = [even.load, even.persistent, even.transient] if even is not None else [None] * 3
    return [
        series.label,
        level.ranks,
        level.efficiency,
        level.sampling,
        *parts,
        level.parallel,
        *level.factors.values(),
        *balances,
    ]


def _metrics(series: Series, levels: Sequence[Level]) -> list[Metric]:
    last = levels[-1]
    note = f"{last.ranks} against {many(levels[0].ranks, 'rank')}"
    named = {"mix": last.compute.mix, "speed": last.compute.speed, "concurrency": last.compute.concurrency}
    labels = {
        "mix": "Same kernels for a sample",
        "speed": "Speed of the same kernels",
        "concurrency": "Kernels side by side",
    }
    return [
        share_of(f"scaling.{series.id}.{name}", f"{labels[name]} ({series.label})", value, note)
        for name, value in named.items()
        if value is not None
    ]


def _losses(levels: Sequence[Level]) -> dict[str, float]:
    """Each factor of the last size over the reference's; their product with `sampling` is the efficiency."""
    first, last = levels[0], levels[-1]
    found = {name: last.factors[name] / first.factors[name] for name in FACTORS}
    return {"compute": last.compute.whole, **found}


def _why(name: str) -> str:
    return "compute per sample" if name == "compute" else WHY[name]


def _headline(series: Series, levels: Sequence[Level]) -> str:
    losses = _losses(levels)
    worst = min(losses, key=lambda name: losses[name])
    size = f"{series.title} at {many(levels[-1].ranks, 'rank')}"
    if losses[worst] > _NO_LOSS:
        return f"{size}: no factor loses more than 1 %"
    return f"{size}: of {percent(levels[-1].efficiency)} efficiency the largest factor is {_why(worst)}, {percent(losses[worst])} of the reference's"


def _heat(series: Series, levels: Sequence[Level], title: str) -> Chart:
    columns = [f"{level.ranks:,}" for level in levels]
    return _heat_of(columns, levels, levels[1:], f"hierarchy.{series.id}", title)


def _heat_of(columns: list[str], levels: Sequence[Level], compared: Sequence[Level], id: str, title: str) -> Chart:
    """Factors, a column for each of these levels; what is 1 everywhere is left out, and what is unknown of those that are no reference."""
    rows: dict[str, list[float | None]] = {"Scaling efficiency": [level.efficiency for level in levels]}
    rows["Compute scalability"] = [level.compute.whole for level in levels]
    for name, label in (("mix", "  same kernels"), ("speed", "  their speed"), ("concurrency", "  side by side")):
        if any(getattr(level.compute, name) is not None for level in compared):
            rows[label] = [getattr(level.compute, name) for level in levels]
    rows["Parallel efficiency"] = [level.parallel for level in levels]
    for name in FACTORS:
        if name in ALWAYS or any(level.factors[name] < 1 for level in levels):
            rows[f"  {LABELS[name].lower()}"] = [level.factors[name] for level in levels]
            if name == "wait" and any(level.balance for level in levels):
                rows["    load balance"] = [level.balance.load if level.balance else None for level in levels]
    return Chart(
        id=id,
        kind="heatmap",
        title=title,
        subtitle="Each number is a factor; efficiency = compute scalability x parallel efficiency over the reference's.",
        x=Axis("ranks", scale="category"),
        y=Axis("", scale="category"),
        layers=(Layer("efficiency", columns, list(rows), z=list(rows.values()), style="factors"),),
        how=HOW
        + " Compute scalability: compute per sample of the reference over this size's; same kernels: how much of it is more kernels for a sample.",
        z=Axis("efficiency", "share"),
    )


def _without_mix(found: Sequence[tuple[Series, Level]]) -> list[str]:
    """Series in which more work and slower work cannot be told apart, and why."""
    said = [
        f"{series.label}: only {percent(last.compute.matched)} of the kernels' time is in both sizes, too little to say how fast they are"
        for series, last in found
        if last.compute.mix is None and last.compute.matched is not None
    ]
    blind = [series.label for series, last in found if last.compute.mix is None and last.compute.matched is None]
    if blind:
        named = some(blind, what="series")
        said.append(
            f"{named}: more work and slower work are not told apart, because a rank takes another number of samples than in the reference "
            "and operations were not counted, or kernels are not known"
        )
    return said


HIERARCHY = Comparison("hierarchy", compare, ScalingOptions)
