"""How well the job scales: throughput, speedup, efficiency with intervals and Karp-Flatt, by series and size, and what larger sizes would do."""

from collections.abc import Sequence
from dataclasses import replace

from scaleprof.align import RunView
from scaleprof.analyses.base import MOST_IN_A_SENTENCE, Comparison, many, percent
from scaleprof.analyses.scaling.forecast import (
    Forecast,
    caveats_of,
    forecast,
    held_out_table,
    metrics_of,
    prediction_table,
)
from scaleprof.analyses.scaling.forecast_chart import with_law
from scaleprof.analyses.scaling.forecast_parts import components_table
from scaleprof.analyses.scaling.series import find_series
from scaleprof.analyses.scaling.study import Scaled, ScalingOptions, scaled
from scaleprof.models.statistics import Interval
from scaleprof.results import Axis, Chart, Layer, Metric, Result, Table, Variant

_NO_CHANGE = 0.005
"""Of the throughput of a rank: so little more or less is not worth a number."""


def conclude(views: Sequence[RunView], options: ScalingOptions) -> Result | None:
    """Every series by size."""
    if len(views) < 2:
        return None
    found, caveats = find_series(views)
    studies = [scaled(series, options) for series in found]
    if not studies:
        return (
            Result("scaling", "Scaling", "No two runs here scale one another", caveats=tuple(caveats))
            if caveats
            else None
        )
    return conclude_studies(studies, caveats, options)


def conclude_studies(studies: Sequence[Scaled], caveats: Sequence[str], options: ScalingOptions) -> Result:
    """The section of these studies, one at least, however they were measured."""
    forecasts = [forecast(study) for study in studies]
    metrics = [metric for one in forecasts for metric in _metrics(one, options)]
    caveats = [*caveats, *(caveat for study in studies for caveat in _caveats(study)), *_against_communicating(studies)]
    caveats += caveats_of(forecasts)
    tables = {
        "scaling": _table(studies),
        "prediction": prediction_table(forecasts),
        "components": components_table(forecasts),
        "held_out": held_out_table(forecasts),
    }
    return Result(
        name="scaling",
        title="Scaling",
        headline=_of_many(studies, options)
        if len(studies) > MOST_IN_A_SENTENCE
        else ". ".join(_headline(study, options) for study in studies),
        metrics=tuple(metrics),
        tables={name: table for name, table in tables.items() if len(table)},
        charts=_charts(studies, options) if len(studies) > 1 else _charts_of(forecasts[0], options),
        caveats=tuple(dict.fromkeys(caveats)),
        variants=tuple(_selected(one, options) for one in forecasts) if len(studies) > 1 else (),
    )


def _selected(one: Forecast, options: ScalingOptions) -> Variant:
    """One series by itself."""
    id = one.study.series.id
    charts = tuple(
        replace(chart, id=chart.id.replace("scaling.", f"scaling.{id}.")) for chart in _charts_of(one, options)
    )
    alone = Result("scaling", "Scaling", _headline(one.study, options), tuple(_metrics(one, options)), charts=charts)
    return Variant(alone, series=id)


def _charts_of(one: Forecast, options: ScalingOptions) -> tuple[Chart, ...]:
    """The charts of one series, with its law."""
    return tuple(with_law(chart, one) for chart in _charts([one.study], options))


def _headline(study: Scaled, options: ScalingOptions) -> str:
    name = study.series.title
    if study.series.kind != "unknown" and study.series.kind not in name.lower():
        name += f" ({study.series.kind} scaling)"
    name += " scaling" if name.lower() in ("strong", "weak") else ""
    largest = study.largest
    if largest is None or largest.efficiency is None:
        return f"{name}: no efficiency verdict, see what may be wrong"
    against = "above" if largest.efficiency.value >= options.target else "below"
    return (
        f"{name} keeps {percent(largest.efficiency.value)} efficiency at {many(largest.ranks, 'rank')} "
        f"(against {many(study.reference or 1, 'rank')}), {against} the target of {percent(options.target)}"
    )


def _of_many(studies: Sequence[Scaled], options: ScalingOptions) -> str:
    """The most and the least efficient series, and how many reach the target; each has its own row in the table."""
    judged = [
        (study.largest.efficiency.value, study) for study in studies if study.largest and study.largest.efficiency
    ]
    if not judged:
        return f"{len(studies)} series: no efficiency verdict, see what may be wrong"
    (least, worst), (most, best) = min(judged, key=lambda one: one[0]), max(judged, key=lambda one: one[0])
    above = sum(value >= options.target for value, _ in judged)
    return (
        f"{len(studies)} series: {best.series.label} keeps the most efficiency, {percent(most)}, {worst.series.label} the least, {percent(least)}; "
        f"{above} of {len(judged)} reach the target of {percent(options.target)}"
    )


def _metrics(one: Forecast, options: ScalingOptions) -> list[Metric]:
    """The numbers of a series, those of its law last."""
    return [*_measured(one.study), *metrics_of(one, options.target)]


def _measured(study: Scaled) -> list[Metric]:
    prefix, largest = f"scaling.{study.series.id}", study.largest
    label = study.series.label
    metrics = [Metric(f"{prefix}.kind", f"Kind of study ({label})", study.series.kind)]
    metrics = metrics if study.series.kind != "unknown" else []
    if largest is None or largest.efficiency is None:
        return metrics
    trend = tuple(size.efficiency.value for size in study.sizes if size.efficiency)
    note = f"{largest.ranks} against {many(study.reference or 1, 'rank')}"
    value = largest.efficiency
    metrics.append(
        Metric(
            f"{prefix}.efficiency",
            f"Efficiency ({label})",
            value.value,
            "share",
            value.low,
            value.high,
            note,
            "higher",
            trend,
        )
    )
    if largest.speedup is not None:
        metrics.append(
            Metric(f"{prefix}.speedup", f"Speedup ({label})", largest.speedup, "x", note=note, better="higher")
        )
    if largest.karp_flatt is not None:
        metrics.append(
            Metric(f"{prefix}.karp_flatt", f"Karp-Flatt serial fraction ({label})", largest.karp_flatt, note=note)
        )
    if largest.compute_scalability is not None:
        metrics.append(
            Metric(
                f"{prefix}.compute_scalability",
                f"Compute scalability ({label})",
                largest.compute_scalability,
                "share",
                note=note,
            )
        )
    if largest.sampling is not None:
        metrics.append(
            Metric(
                f"{prefix}.sampling", f"All steps against profiled ones ({label})", largest.sampling, "share", note=note
            )
        )
    return metrics


def _caveats(study: Scaled) -> list[str]:
    label = f"series {study.series.label}"
    caveats = [
        f"{label}, {many(size.ranks, 'rank')}: no efficiency verdict, {size.refused}"
        for size in study.sizes
        if size.refused
    ]
    smallest = study.sizes[0].ranks
    if study.reference is None:
        caveats.append(f"{label}: fewer than two sizes can be judged, so there is no efficiency")
    elif study.reference != smallest:
        caveats.append(
            f"{label}: {many(study.reference, 'rank')} is the reference because {many(smallest, 'rank')} could not be judged"
        )
    if study.series.kind == "mixed":
        caveats.append(
            f"{label}: neither the global nor the local batch is constant: only the efficiency of the throughput has a meaning"
        )
    return caveats


def _against_communicating(studies: Sequence[Scaled]) -> list[str]:
    """What the efficiency is against the smallest size that communicates, where the reference is one rank."""
    found = []
    for study in studies:
        sizes = [size for size in study.sizes if size.ranks > 1 and size.efficiency]
        if study.reference == 1 and len(sizes) > 1 and sizes[-1].efficiency and sizes[0].efficiency:
            found.append((sizes[-1].efficiency.value / sizes[0].efficiency.value, study.series.label, sizes))
    if len(found) > MOST_IN_A_SENTENCE:
        (least, worst, _), (most, best, _) = min(found, key=lambda one: one[0]), max(found, key=lambda one: one[0])
        return [
            f"one rank communicates with nobody; against their next size the efficiency of {len(found)} series is "
            f"{percent(least)} ({worst}) to {percent(most)} ({best})"
        ]
    return [
        f"series {label}: one rank communicates with nobody; against {many(sizes[0].ranks, 'rank')} the efficiency at "
        f"{sizes[-1].ranks} is {percent(value)}"
        for value, label, sizes in found
    ]


def _table(studies: Sequence[Scaled]) -> Table:
    columns = (
        "series", "kind", "ranks", "runs", "local_batch", "step_ms", "step_low_ms", "step_high_ms", "throughput", "speedup",
        "efficiency", "efficiency_low", "efficiency_high", "karp_flatt", "compute_share", "compute_scalability", "sampling",
        "runq_share", "note",
    )  # fmt: skip
    rows = []
    for study in studies:
        for size in study.sizes:
            efficiency = size.efficiency
            rows.append(
                [
                    study.series.label, study.series.kind, size.ranks, size.runs, size.local_batch or None, size.step_ms.value,
                    size.step_ms.low, size.step_ms.high, size.throughput.value, size.speedup,
                    efficiency.value if efficiency else None, efficiency.low if efficiency else None,
                    efficiency.high if efficiency else None, size.karp_flatt, size.compute_share, size.compute_scalability,
                    size.sampling, size.runq, size.refused,
                ]
            )  # fmt: skip
    return Table.of_rows(columns, rows)


def _charts(studies: Sequence[Scaled], options: ScalingOptions) -> tuple[Chart, ...]:
    throughput, efficiency = [], []
    for place, study in enumerate(studies, 1):
        sizes = study.sizes
        per_rank = [size.throughput.value / size.ranks for size in sizes]
        throughput.append(
            Layer(
                study.series.label,
                [size.ranks for size in sizes],
                per_rank,
                *_band([(size.throughput, size.ranks) for size in sizes]),
                color=f"series-{place}",
            )
        )
        judged = [size for size in sizes if size.efficiency is not None]
        values = [size.efficiency for size in judged if size.efficiency is not None]
        if len(judged) > 1:
            efficiency.append(
                Layer(
                    study.series.label,
                    [size.ranks for size in judged],
                    [value.value for value in values],
                    *_band([(value, 1) for value in values]),
                    color=f"series-{place}",
                )
            )
    axis = Axis("ranks", scale="log2")
    charts = [
        Chart(
            "scaling.throughput",
            "lines",
            _throughput_title(studies),
            "Samples per second and rank. A flat line is perfect scaling; bands are 95 % intervals.",
            axis,
            Axis("samples per second and rank", from_zero=True),
            tuple(throughput),
            how="Samples of all ranks in a step over the mean time of all steady steps, divided by the ranks. Intervals: moving-block bootstrap.",
        )
    ]
    if efficiency:
        every = sorted({x for layer in efficiency for x in layer.x})
        efficiency.append(Layer("target", every, [options.target] * len(every), style="reference"))
        charts.append(
            Chart(
                "scaling.efficiency",
                "lines",
                _of_many(studies, options)
                if len(studies) > MOST_IN_A_SENTENCE
                else ". ".join(title for study in studies if (title := _efficiency_title(study))),
                f"Throughput per rank against the smallest judged size; the dashed line is the target of {percent(options.target)}.",
                axis,
                Axis("efficiency", "share", from_zero=True),
                tuple(efficiency),
                how="E = (X_N / N) / (X_0 / N_0), X the throughput over all steady steps. Strong: the global batch is constant; weak: the local one. "
                "The interval resamples both sizes in moving blocks. Karp-Flatt: (1/S - 1/p) / (1 - 1/p), p = N / N_0.",
            )
        )
    return tuple(charts)


def _band(values: Sequence[tuple[Interval, int]]) -> tuple[list[float] | None, list[float] | None]:
    """Lower and upper ends, each divided; a point without an interval stands for itself; None where no point has one."""
    if all(value.low is None for value, _ in values):
        return None, None
    low = [(value.value if value.low is None else value.low) / by for value, by in values]
    high = [(value.value if value.high is None else value.high) / by for value, by in values]
    return low, high


def _throughput_title(studies: Sequence[Scaled]) -> str:
    changes = [(_change_of_a_rank(study), study) for study in studies]
    if len(changes) > MOST_IN_A_SENTENCE:
        ends = (min(changes, key=lambda one: one[0]), max(changes, key=lambda one: one[0]))
        changes = list(ends)
    parts = []
    for change, study in changes:
        first, last = study.sizes[0].ranks, study.sizes[-1].ranks
        way = f"{percent(abs(change))} {'less' if change < 0 else 'more'} at {last} than"
        way = f"as much at {last} as" if abs(change) < _NO_CHANGE else way
        parts.append(f"{study.series.title}: a rank does {way} at {first}")
    return "; ".join(parts)


def _change_of_a_rank(study: Scaled) -> float:
    """By how much the throughput of one rank changes from the smallest to the largest size."""
    first, last = study.sizes[0], study.sizes[-1]
    return last.throughput.value / last.ranks / (first.throughput.value / first.ranks) - 1


def _efficiency_title(study: Scaled) -> str:
    largest = study.largest
    if largest is None or largest.efficiency is None:
        return ""
    return f"{study.series.title} efficiency is {percent(largest.efficiency.value)} at {many(largest.ranks, 'rank')}"


SCALING = Comparison("scaling", conclude, ScalingOptions)
