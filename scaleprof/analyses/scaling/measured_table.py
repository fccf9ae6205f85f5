"""A plain table of measurements as a scaling study: its curves by size, with the same law, numbers and charts as a study that was recorded."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np

from scaleprof.analyses.base import MOST_IN_A_SENTENCE, listed, many, percent, some
from scaleprof.analyses.scaling.scaling import conclude_studies
from scaleprof.analyses.scaling.series import Series
from scaleprof.analyses.scaling.study import Scaled, ScalingOptions, Size
from scaleprof.errors import InputError
from scaleprof.models import scaling as law
from scaleprof.models.components import Part
from scaleprof.models.extrapolation import FEWEST_SIZES
from scaleprof.models.scaling import SAME, Kind
from scaleprof.models.statistics import Interval
from scaleprof.results import Metric, Result

UNREPEATED = 0.01
"""What a measurement varies by at least, as a share, where none was made twice."""
DOUBT = 0.05
"""What a size lies off any law, as a share, until the sizes tell: 2 % in published benchmarks, 7 to 13 % on a shared cloud
(`python -m benchmarks.predictions`)."""
MOST_CURVES = 8
"""Curves that are drawn with their law, each by itself."""
Stated = Literal["strong", "weak"]
_Z95 = 1.959964
_OVERVIEW = ("efficiency", "knee", "cheapest", "peak", "law")
"""Numbers of the section that stand on the first page, by the end of their ids."""
_MOST_TILES = 8


class Row(Protocol):
    """One measurement (`readers.tables.measurements`): throughput or step time is known, batches, nodes (0) and classes of time may not be."""

    @property
    def line(self) -> int: ...
    @property
    def series(self) -> str: ...
    @property
    def ranks(self) -> int: ...
    @property
    def throughput(self) -> float | None: ...
    @property
    def step_s(self) -> float | None: ...
    @property
    def nodes(self) -> int: ...
    @property
    def local_batch(self) -> float | None: ...
    @property
    def global_batch(self) -> float | None: ...
    @property
    def parts_s(self) -> Mapping[str, float]: ...


def conclude(rows: Sequence[Row], kind: Stated | None, options: ScalingOptions, *, name: str) -> tuple[Result, ...]:
    """The first page and the section `scaling` of a table; `name` is its only curve's; `kind` is what the caller says of all its curves.

    InputError where a curve has a single size, or step times alone that nobody says the batch of.
    """
    studies, caveats = [], []
    for label, of_curve in _curves(rows):
        study, said = _study(label or name, of_curve, kind, options)
        studies.append(study)
        caveats += said
    if all(len(study.sizes) < 2 for study in studies):
        ranks = studies[0].sizes[0].ranks
        raise InputError(
            f"{name}: every curve has a single size ({many(ranks, 'rank')}); a prediction needs {FEWEST_SIZES} sizes of one curve, each a line"
        )
    alone = [study for study in studies if len(study.sizes) < 2]
    caveats += (
        [f"{some([one.series.label for one in alone])}: a single size, which scales with nothing"] if alone else []
    )
    section = conclude_studies(
        _told_apart([study for study in studies if study not in alone]), list(dict.fromkeys(caveats)), options
    )
    return _overview(section), _with_curves(section)


def _with_curves(section: Result) -> Result:
    """The section with what would be shown where one series is selected: there are no runs to select by."""
    each = [chart for one in section.variants for chart in one.result.charts if chart.id.endswith(".efficiency")]
    return replace(section, charts=(*section.charts, *each[:MOST_CURVES]), variants=())


def _batch(row: Row) -> float | None:
    """Samples a rank takes in a step."""
    if row.local_batch is not None:
        return row.local_batch
    return None if row.global_batch is None else row.global_batch / row.ranks


def _curves(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Rows by what names their curve; and by the batch of a rank where sizes were measured with several and neither batch is constant."""
    found = []
    for label in dict.fromkeys(row.series for row in rows):
        mine = [row for row in rows if row.series == label]
        batches = [_batch(row) for row in mine]
        known = [batch for batch in batches if batch is not None]
        whole = [batch * row.ranks for batch, row in zip(batches, mine, strict=True) if batch is not None]
        sizes = Counter(row.ranks for row in mine)
        if len(known) < len(mine) or law.is_constant(known) or law.is_constant(whole) or max(sizes.values()) == 1:
            found.append((label, mine))
            continue
        for batch in sorted(set(known)):
            found.append((f"{label} batch {batch:g}".strip(), [row for row in mine if _batch(row) == batch]))
    return found


def _study(label: str, rows: Sequence[Row], stated: Stated | None, options: ScalingOptions) -> tuple[Scaled, list[str]]:
    """A curve with its sizes, and what was assumed of it."""
    kind = stated or _kind(rows)
    by_size = {ranks: [row for row in rows if row.ranks == ranks] for ranks in sorted({row.ranks for row in rows})}
    rates = {ranks: [_rate(row, kind, label) for row in repeats] for ranks, repeats in by_size.items()}
    spread, caveats = _spread(rates), []
    for ranks, repeats in by_size.items():
        nodes = sorted({row.nodes for row in repeats})
        if len(nodes) > 1:
            caveats.append(
                f"series {label}, {many(ranks, 'rank')}: measured on {listed(nodes)} nodes and taken as repeats; say series=... to keep them apart"
            )
    if spread is None:
        caveats.append(
            f"no size was measured twice, so nobody knows what a measurement varies by: a size is taken to lie {100 * DOUBT:.0f} % off its "
            "law until the sizes tell better"
        )
    reference = next(iter(by_size)) if len(by_size) > 1 else None
    sizes = [_size(ranks, by_size[ranks], rates, spread, reference) for ranks in by_size]
    series = Series(_slug(label), label, kind, {}, is_named=True)
    return Scaled(series, tuple(sizes), reference, DOUBT if spread is None else 0.0), caveats


def _kind(rows: Sequence[Row]) -> Kind:
    """By the batches; where they are not known, neither is the kind of study."""
    local = [_batch(row) for row in rows]
    known = [batch for batch in local if batch is not None]
    if len(known) < len(rows):
        return "unknown"
    return law.kind_of(known, [batch * row.ranks for batch, row in zip(known, rows, strict=True)])


def _rate(row: Row, kind: Kind, label: str) -> float:
    """Throughput of all ranks; in steps of one rank or of all of them where no batch is known."""
    if row.throughput is not None:
        return row.throughput
    assert row.step_s is not None
    batch = _batch(row)
    if batch is not None:
        return batch * row.ranks / row.step_s
    if kind == "unknown":
        raise InputError(
            f"line {row.line}: a step time says nothing of throughput without its batch; add a column of batches "
            "(local_batch or global_batch), or say --kind weak (each rank's batch stays) or --kind strong (the global batch stays)"
        )
    return (row.ranks if kind == "weak" else 1) / row.step_s


def _spread(rates: Mapping[int, Sequence[float]]) -> float | None:
    """The standard deviation of one measurement as a share, pooled over all sizes; None where no size was measured twice."""
    logs = [np.log(values) for values in rates.values() if len(values) > 1]
    freedom = sum(len(values) - 1 for values in logs)
    if not freedom:
        return None
    return math.sqrt(sum(float(((values - values.mean()) ** 2).sum()) for values in logs) / freedom)


def _size(
    ranks: int, rows: Sequence[Row], rates: Mapping[int, Sequence[float]], spread: float | None, reference: int | None
) -> Size:
    own = _of_mean(spread, len(rows))
    rate = float(np.mean(rates[ranks]))
    batch, steps = _mean(_batch(row) for row in rows), [row.step_s for row in rows if row.step_s is not None]
    step_s = float(np.mean(steps)) if steps else batch * ranks / rate if batch else math.nan
    efficiency = speedup = karp_flatt = None
    if reference is not None:
        base = float(np.mean(rates[reference]))
        value = law.efficiency(rate, ranks, base, reference)
        other = _of_mean(spread, len(rates[reference]))
        both = None if own is None or other is None else math.hypot(own, other)
        efficiency = _interval(value, both) if ranks != reference else Interval(1.0, None, None)
        speedup, karp_flatt = law.speedup(rate, base), law.karp_flatt(rate, ranks, base, reference)
    parts = _parts(rows)
    return Size(
        ranks=ranks,
        views=(),
        local_batch=batch or 0.0,
        step_ms=_interval(1e3 * step_s, own),
        throughput=_interval(rate, own),
        runq=None,
        refused="",
        efficiency=efficiency,
        speedup=speedup,
        karp_flatt=karp_flatt,
        compute_share=parts["compute"] / sum(parts.values()) if parts else None,
        compute_scalability=None,
        sampling=None,
        runs=len(rows),
        nodes=max(row.nodes for row in rows),
        spread=UNREPEATED if own is None else own,
        parts=parts,
    )


def _of_mean(spread: float | None, count: int) -> float | None:
    return None if spread is None else spread / math.sqrt(count)


def _interval(value: float, spread: float | None) -> Interval:
    """A value with its 95 % interval by a standard deviation as a share; without one where that is not known."""
    if spread is None or math.isnan(value):
        return Interval(value, None, None)
    return Interval(value, value * math.exp(-_Z95 * spread), value * math.exp(_Z95 * spread))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _parts(rows: Sequence[Row]) -> dict[Part, float] | None:
    """Mean seconds of a step by class: those with a column, and what is left of the step: compute, or idle where compute has a column.

    InputError for classes that are longer than the step, or of a step that is not known.
    """
    if not rows[0].parts_s:
        return None
    left_to: Part = "idle" if "compute" in rows[0].parts_s else "compute"
    found: dict[Part, float] = {}
    for row in rows:
        if row.step_s is None:
            raise InputError(
                f"line {row.line}: has classes of time ({', '.join(row.parts_s)}) but no step time to divide; add a column of step times"
            )
        rest = row.step_s - sum(row.parts_s.values())
        if rest < -SAME * row.step_s:
            raise InputError(
                f"line {row.line}: {' and '.join(row.parts_s)} are longer than the step they are a part of; correct one of these columns"
            )
        stated = {**row.parts_s, left_to: row.parts_s.get(left_to, 0.0) + max(rest, 0.0)}
        for name, seconds in stated.items():
            part: Part = name  # type: ignore[assignment]
            found[part] = found.get(part, 0.0) + seconds / len(rows)
    return found


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", label.lower()).strip("-") or "series"


def _told_apart(studies: Sequence[Scaled]) -> list[Scaled]:
    """The same with ids that no two curves share."""
    seen: Counter[str] = Counter()
    found = []
    for study in studies:
        seen[study.series.id] += 1
        place = seen[study.series.id]
        id = study.series.id if place == 1 else f"{study.series.id}-{place}"
        found.append(replace(study, series=replace(study.series, id=id)))
    return found


def _overview(section: Result) -> Result:
    """The first page: what a table answers first, and what twice its largest size would do."""
    order = {name: place for place, name in enumerate(_OVERVIEW)}
    found = [metric for metric in section.metrics if metric.id.rpartition(".")[2] in order]
    found.sort(key=lambda metric: order[metric.id.rpartition(".")[2]])
    twice = _at_twice(section)
    said = [
        f"{row['series']}: {percent(row['efficiency'])} efficiency ({percent(row['efficiency_low'])} to {percent(row['efficiency_high'])}) "
        f"at {many(row['ranks'], 'rank')} is {row['trust']}"
        for row in twice
    ]
    headline = (
        f"{section.headline}. {'. '.join(said)}." if 0 < len(said) <= MOST_IN_A_SENTENCE else f"{section.headline}."
    )
    return Result("overview", "Overview", headline, (*map(_expected, twice), *found)[:_MOST_TILES])


def _at_twice(section: Result) -> list[dict[str, Any]]:
    """The first line that the table of predictions has of each series: the law in use, at twice the largest size."""
    if "prediction" not in section.tables:
        return []
    table = section.tables["prediction"]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows()]
    return list({row["series"]: row for row in reversed(rows)}.values())[::-1]


def _expected(row: Mapping[str, Any]) -> Metric:
    id, label = f"prediction.{_slug(row['series'])}.efficiency", f"Efficiency expected ({row['series']})"
    low, high = row["efficiency_low"], row["efficiency_high"]
    note = f"at {many(row['ranks'], 'rank')}: {row['trust']} by the law {row['law']}"
    return Metric(id, label, row["efficiency"], "share", low, high, note, "higher")
