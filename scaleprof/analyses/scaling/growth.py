"""What grows with the size: ms per sample and rank by class, and their exact differences between two sizes (`method` 4.5)."""

from collections.abc import Sequence
from dataclasses import dataclass

from scaleprof.align import LEAVES, RunView
from scaleprof.align.waiting import PARTS
from scaleprof.analyses.account.steps import samples_per_rank
from scaleprof.analyses.account.time import NEGLIGIBLE, Leaves, leaves_of, spoken
from scaleprof.analyses.base import LEAF_COLORS, MOST_IN_A_SENTENCE, Comparison, duration, leaf_labels, many, percent
from scaleprof.analyses.scaling.series import Series, find_series
from scaleprof.analyses.scaling.study import Scaled, ScalingOptions, scaled
from scaleprof.results import Axis, Chart, Layer, Metric, Result, Table, Variant

_SUM_TOLERANCE = 1e-12
_NEXT_TO_NOTHING = 0.0005
"""A share that would be shown as zero."""
TITLE = "What grows with the size"
_NO_MORE = 0.01
"""Growth of a sample's cost that is not worth a word."""


@dataclass(frozen=True)
class PerSample:
    """One size: ms per sample and rank, whole and by leaf; the leaves sum to the whole."""

    ranks: int
    step_ms: float
    tau_ms: float
    by_leaf_ms: dict[str, float]
    method: str

    @property
    def exposed_ms(self) -> float:
        """Exposed communication, all parts together."""
        return sum(self.by_leaf_ms[part] for part in PARTS)


_Grown = tuple[Series, PerSample, PerSample]
"""A series with its smallest and its largest size."""


def per_sample(ranks: int, views: Sequence[RunView]) -> PerSample | None:
    """The account of one size per sample, over all its repeats; None where a repeat has no account."""
    window = rows = 0
    samples = 0.0
    by_leaf = dict.fromkeys(LEAVES, 0)
    method = ""
    for view in views:
        leaves: Leaves | None = leaves_of(view)
        local = samples_per_rank(view)
        if leaves is None or not local:
            return None
        window += leaves.window_ns
        rows += len(leaves.rows)
        samples += local * len(leaves.rows)
        by_leaf = {leaf: by_leaf[leaf] + leaves.by_leaf_ns[leaf] for leaf in LEAVES}
        method = leaves.method
    assert sum(by_leaf.values()) == window, "the leaves must add up to the steps"
    scale = 1e6 * samples
    return PerSample(
        ranks, window / rows / 1e6, window / scale, {leaf: ns / scale for leaf, ns in by_leaf.items()}, method
    )


def conclude(views: Sequence[RunView], options: ScalingOptions) -> Result | None:
    """Growth of every series between its smallest and its largest size."""
    tables: list[list[object]] = []
    grown: list[_Grown] = []
    parts: list[Result] = []
    caveats = []
    for series in find_series(views)[0]:
        study = scaled(series, options)
        sizes = [size for ranks, repeats in series.sizes.items() if (size := per_sample(ranks, repeats)) is not None]
        if len(sizes) < 2:
            caveats.append(f"{series.label}: fewer than two sizes have a time account, so there is no growth")
            continue
        if len({size.method for size in sizes}) > 1:
            caveats.append(
                f"{series.label}: the sizes measured compute in different ways, so part of the growth is the method's"
            )
        first, last = sizes[0], sizes[-1]
        assert abs(sum(growth(first, last).values()) - (last.tau_ms - first.tau_ms)) <= _SUM_TOLERANCE * last.tau_ms
        tables += [_row(series, first, size) for size in sizes]
        grown.append((series, first, last))
        parts.append(_selected(series, sizes))
        caveats += _unsound(study)
    if not tables:
        return None
    named = _named(grown)
    columns = ["series", "ranks", "step_ms", "ms_per_sample", "exposed_comm_ms", *(f"{leaf}_ms" for leaf in LEAVES)]
    columns += ["growth_ms", "exposed_comm_growth_ms", *(f"{leaf}_growth_ms" for leaf in LEAVES)]
    return Result(
        name="growth",
        title=TITLE,
        headline=_headline_of_all(grown),
        metrics=tuple(metric for part in parts for metric in part.metrics),
        tables={"growth": Table.of_rows(columns, tables)},
        charts=tuple(chart for one, part in zip(grown, parts, strict=True) if one in named for chart in part.charts),
        caveats=tuple(caveats),
        variants=tuple(Variant(part, series=series.id) for (series, _, _), part in zip(grown, parts, strict=True))
        if len(parts) > 1
        else (),
    )


def _selected(series: Series, sizes: Sequence[PerSample]) -> Result:
    """One series by itself."""
    first, last = sizes[0], sizes[-1]
    metric = Metric(
        f"growth.{series.id}.ms_per_sample",
        f"Growth ({series.label})",
        last.tau_ms - first.tau_ms,
        "ms",
        note=f"per sample and rank, {last.ranks} against {many(first.ranks, 'rank')}",
        better="lower",
    )
    charts = (_by_size(series, sizes), _waterfall(series, first, last))
    return Result("growth", TITLE, _headline(series, first, last), (metric,), charts=charts)


def growth(first: PerSample, last: PerSample) -> dict[str, float]:
    """By leaf, the ms per sample and rank that the larger size adds; they sum to the whole difference."""
    return {leaf: last.by_leaf_ms[leaf] - first.by_leaf_ms[leaf] for leaf in LEAVES}


def _row(series: Series, first: PerSample, size: PerSample) -> list[object]:
    added = growth(first, size)
    leaves = [size.by_leaf_ms[leaf] for leaf in LEAVES]
    exposed = size.exposed_ms
    row = [series.label, size.ranks, size.step_ms, size.tau_ms, exposed, *leaves]
    return [*row, size.tau_ms - first.tau_ms, exposed - first.exposed_ms, *added.values()]


def _name(series: Series) -> str:
    """`Weak scaling`; a name that somebody gave stays as it is."""
    return series.title + (" scaling" if series.label in ("strong", "weak") else "")


def _headline(series: Series, first: PerSample, last: PerSample) -> str:
    added = growth(first, last)
    total = last.tau_ms - first.tau_ms
    worst = max(added, key=lambda leaf: added[leaf])
    name = _name(series)
    if total <= _NO_MORE * first.tau_ms:
        return f"{name}: a sample costs a rank no more at {last.ranks} than at {many(first.ranks, 'rank')}"
    return (
        f"{name}: a sample costs a rank {duration(total)} ({percent(total / first.tau_ms)}) more at {last.ranks} than at "
        f"{many(first.ranks, 'rank')}, {duration(added[worst])} of it {spoken(leaf_labels(first.by_leaf_ms, last.by_leaf_ms)[worst])}"
    )


def _named(grown: Sequence[_Grown]) -> Sequence[_Grown]:
    """Every series if they are few, else those that grow most and least, by share."""
    if len(grown) <= MOST_IN_A_SENTENCE:
        return grown
    ordered = sorted(grown, key=lambda one: one[2].tau_ms / one[1].tau_ms)
    return ordered[-1], ordered[0]


def _headline_of_all(grown: Sequence[_Grown]) -> str:
    if len(grown) <= MOST_IN_A_SENTENCE:
        return ". ".join(_headline(*one) for one in grown)
    most, least = _named(grown)
    named = f"Of {len(grown)} series, {most[0].label} grows most and {least[0].label} least"
    return f"{named}. {_headline(*most)}. {_headline(*least)}"


def _exposed_title(label: str, first: PerSample, last: PerSample) -> str:
    """How the share of exposed communication changes from the smallest to the largest size, and what most of it is there."""
    before, after = (size.exposed_ms / size.tau_ms for size in (first, last))
    if max(before, after) < NEGLIGIBLE:
        return f"{label}: exposed communication takes less than {percent(NEGLIGIBLE)} of the step at every size"
    start = percent(before) if before >= _NEXT_TO_NOTHING else "next to nothing"
    title = f"{label}: exposed communication goes from {start} to {percent(after)} of the step"
    part = max(PARTS, key=lambda one: last.by_leaf_ms[one])
    name = leaf_labels(last.by_leaf_ms).get(part, "")
    if after < NEGLIGIBLE or part == "exposed_untold":
        return title
    short = {"exposed_transfer": "transfer", "exposed_wait": "waiting for slow ranks"}.get(part, spoken(name))
    return f"{title}, most of it {short}" if 2 * last.by_leaf_ms[part] > last.exposed_ms else title


def _by_size(series: Series, sizes: Sequence[PerSample]) -> Chart:
    names = [many(size.ranks, "rank") for size in sizes]
    factor = [size.step_ms / size.tau_ms for size in sizes]
    labels = leaf_labels(*(size.by_leaf_ms for size in sizes))
    return Chart(
        id=f"growth.{series.id}.by_size",
        kind="stacked_bars",
        title=_exposed_title(_name(series), sizes[0], sizes[-1]),
        subtitle="Mean ms per step by class, all ranks; the parts add up to the step exactly.",
        x=Axis("ranks", scale="category"),
        y=Axis("time per step", "ms", from_zero=True),
        layers=tuple(
            Layer(
                label_of_leaf,
                names,
                [size.by_leaf_ms[leaf] * by for size, by in zip(sizes, factor, strict=True)],
                color=LEAF_COLORS[leaf],
            )
            for leaf, label_of_leaf in labels.items()
        ),
        how="The account of every rank and profiled steady step, summed in integer ns and divided by the number of rank-steps.",
    )


def _waterfall(series: Series, first: PerSample, last: PerSample) -> Chart:
    added = growth(first, last)
    labels = leaf_labels(first.by_leaf_ms, last.by_leaf_ms)
    names = [
        f"at {many(first.ranks, 'rank')}",
        *labels.values(),
        f"at {many(last.ranks, 'rank')}",
    ]
    values = [first.tau_ms, *(added[leaf] for leaf in labels), last.tau_ms]
    colors = [LEAF_COLORS[leaf] for leaf in labels]
    return Chart(
        id=f"growth.{series.id}.waterfall",
        kind="waterfall",
        title=_headline(series, first, last),
        subtitle="ms per sample and rank: what each class adds between the smallest and the largest size. It adds up exactly.",
        x=Axis("", scale="category"),
        y=Axis("time per sample and rank", "ms", from_zero=True),
        layers=(Layer("ms per sample and rank", names, values, text=["total", *colors, "total"]),),
        how="tau = T / B, the step time over the samples a rank takes in it; tau_N - tau_0 is the sum over the classes of the change of (class / B).",
    )


def _unsound(study: Scaled) -> list[str]:
    return [
        f"series {study.series.label}, {many(size.ranks, 'rank')}: its times are shown, but {size.refused}"
        for size in study.sizes
        if size.refused
    ]


GROWTH = Comparison("growth", conclude, ScalingOptions)
