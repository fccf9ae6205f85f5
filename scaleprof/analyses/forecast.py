"""What a study says of sizes that nobody measured: the law of its sizes, with numbers, tables and what may be wrong (`method` 5.3, 5.4).

Which law, and how far to trust it, is `models.extrapolation`; how it is drawn, `forecast_chart`. This is the law of whole steps. A model by class
of time, which knows what a larger size changes, predicts into the same table: its rows would stand beside these under a law of their own.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.analyses.base import listed, many, percent
from scaleprof.analyses.study import Scaled, Size
from scaleprof.models import laws
from scaleprof.models.extrapolation import (
    FARTHEST,
    FEWEST_ACROSS,
    FEWEST_SIZES,
    INDICATIVE,
    PREDICTED,
    Extrapolation,
    Measured,
    extrapolate,
    most_ranks,
    trust_in,
)
from scaleprof.models.laws import Floats
from scaleprof.results import Metric, Table

LEAST_SPREAD = 0.001
"""No two starts of a job agree better than this share, however alike the steps of one are."""
SHOWN = (PREDICTED, INDICATIVE / 2, INDICATIVE, 2 * INDICATIVE)
"""Sizes that are predicted, as multiples of the largest."""
MARGINAL = 0.7
"""The efficiency of a doubling that is still worth it: ranks twice as many do 1.4 times as much."""
_Z95 = 1.959964
_SHORT = {"amdahl": "Amdahl", "logarithmic": "logarithmic", "gustafson": "Gustafson", "usl": "USL"}


@dataclass(frozen=True)
class Forecast:
    """A study with its law, or the reason why it gets none."""

    study: Scaled
    law: Extrapolation | None
    refused: str
    """Empty where there is a law."""
    sizes: tuple[Size, ...] = ()
    """Those that the law was fitted to."""
    set_aside: tuple[int, ...] = ()
    """Judged sizes on one node, where larger ones lie on several."""

    @property
    def rate(self) -> float:
        """Throughput of one rank at the reference: what efficiencies are against."""
        return next(
            size.throughput.value / size.ranks for size in self.study.sizes if size.ranks == self.study.reference
        )

    @property
    def is_on_one_node(self) -> bool:
        """Whether no size that the law was fitted to crosses a link between nodes."""
        return bool(self.sizes) and all(_nodes(size) == 1 for size in self.sizes)


def forecast(study: Scaled) -> Forecast:
    """The law of a study's judged sizes."""
    judged = [size for size in study.sizes if size.efficiency is not None]
    if study.series.kind == "mixed":
        return Forecast(study, None, "neither the global nor the local batch is constant, so no law of scaling applies")
    if len(judged) < FEWEST_SIZES:
        return Forecast(
            study, None, f"a law needs at least {FEWEST_SIZES} sizes that can be judged, and there are {len(judged)}"
        )
    across = [size for size in judged if _nodes(size) > 1]
    if across and len(across) < FEWEST_ACROSS:
        last = many(across[0].ranks, "rank")
        return Forecast(
            study,
            None,
            f"only one size, {last}, lies on more than one node, and a law must not be fitted across such a break: it needs {FEWEST_ACROSS} "
            "sizes on several nodes",
        )
    used = across or judged
    measured = _measured(used)
    if measured is None:
        return Forecast(study, None, "a size has no interval: a law needs at least 6 steady steps of each")
    aside = tuple(size.ranks for size in judged if size not in used)
    return Forecast(study, extrapolate(measured, study.series.kind), "", tuple(used), aside)


def _nodes(size: Size) -> int:
    """How many nodes a size lies on; 0 where nobody knows."""
    return max(view.info.nodes or 0 for view in size.views)


def _measured(sizes: Sequence[Size]) -> Measured | None:
    spreads = []
    for size in sizes:
        low, high = size.throughput.low, size.throughput.high
        if low is None or high is None or low <= 0:
            return None
        spreads.append(max(math.log(high / low) / (2 * _Z95), LEAST_SPREAD))
    ranks = np.array([float(size.ranks) for size in sizes])
    return Measured(ranks, np.array([size.throughput.value for size in sizes]), np.array(spreads))


def metrics_of(one: Forecast, target: float) -> list[Metric]:
    """The law, its coefficients, and where it stops being worth while; numbers that are not reached are left out."""
    if one.law is None:
        return []
    prefix, label, law = f"scaling.{one.study.series.id}", one.study.series.label, one.law
    fitted = law.used
    sizes = f"fitted to {listed([size.ranks for size in one.sizes])} ranks"
    found = [Metric(f"{prefix}.law", f"Law of scaling ({label})", _SHORT[fitted.law.id], note=sizes)]
    reference = float(one.study.reference or 1)
    numbers: dict[str, tuple[str, Callable[[Floats], Floats]]] = {}
    if fitted.law is laws.AMDAHL:
        numbers["serial_fraction"] = ("Serial fraction of the law", lambda c: laws.serial_fraction(c, reference))
    elif fitted.law is laws.GUSTAFSON:
        numbers["serial_fraction"] = (
            "Scaled serial fraction of the law",
            lambda c: laws.scaled_serial_fraction(c, reference),
        )
    elif fitted.law is laws.USL:
        numbers["sigma"] = ("Contention", lambda c: laws.usl_parameters(c)[0])
        numbers["kappa"] = ("Coherence", lambda c: laws.usl_parameters(c)[1])
    for id, (words, function) in numbers.items():
        low, high = np.quantile(function(fitted.draws), [0.025, 0.975])
        value = float(function(fitted.fitted.coefficients))
        found.append(Metric(f"{prefix}.{id}", f"{words} ({label})", value, "", float(low), float(high), better="lower"))
    return [*found, *_knees(one, law, target)]


def _knees(one: Forecast, law: Extrapolation, target: float) -> list[Metric]:
    """The most ranks that keep the target, the most before a doubling is not worth it, and those with the highest throughput."""
    prefix, label = f"scaling.{one.study.series.id}", one.study.series.label

    def keeps(curve: laws.Law, coefficients: Floats, ranks: Floats) -> NDArray[np.bool_]:
        return np.asarray(curve.throughput(coefficients, ranks) / ranks >= target * one.rate)

    def doubles(curve: laws.Law, coefficients: Floats, ranks: Floats) -> NDArray[np.bool_]:
        more = curve.throughput(coefficients, 2 * ranks) / (2 * curve.throughput(coefficients, ranks))
        return np.asarray(more >= MARGINAL)

    def rises(curve: laws.Law, coefficients: Floats, ranks: Floats) -> NDArray[np.bool_]:
        return np.asarray(curve.throughput(coefficients, ranks + 1) > curve.throughput(coefficients, ranks))

    wanted = (
        ("knee", f"Ranks that keep {percent(target).replace('.0 ', ' ')}", keeps, 0),
        ("knee_marginal", "Ranks worth doubling", doubles, 0),
        ("peak", "Ranks with the highest throughput", rises, 1),
    )
    found = []
    for id, words, holds, more in wanted:
        if id == "peak" and law.used.law is not laws.USL:
            continue  # under the other laws throughput never falls
        value, (low, high) = most_ranks(law, holds)
        if value:
            trust = trust_in(value, law.largest)
            note = "within the sizes measured" if trust == "measured" else f"beyond the sizes measured: {trust}"
            found.append(
                Metric(
                    f"{prefix}.{id}",
                    f"{words} ({label})",
                    int(value) + more,
                    "",
                    low + more,
                    high + more,
                    note,
                    "higher",
                )
            )
    return found


def prediction_table(forecasts: Sequence[Forecast]) -> Table:
    """Every study at some multiples of its largest size: efficiency and step time, with 95 % and 80 % intervals of the efficiency."""
    columns = (
        "series",
        "law",
        "ranks",
        "trust",
        "step_ms",
        "step_low_ms",
        "step_high_ms",
        "efficiency",
        "efficiency_low",
        "efficiency_high",
    )
    rows = []
    for one in forecasts:
        if one.law is None:
            continue
        for times in SHOWN:
            ranks = round(times * one.law.largest)
            asked = one.law.at(ranks)
            if asked.value is None or asked.within_80 is None:
                continue
            per_rank = one.rate * ranks
            spans = [asked.value, *asked.within_95, *asked.within_80]
            efficiencies = [value / per_rank for value in spans]
            step = _step_ms(one, ranks)
            rows.append(
                [
                    one.study.series.label, _SHORT[one.law.used.law.id], ranks, asked.trust, step / asked.value,
                    step / asked.within_95[1], step / asked.within_95[0], *efficiencies,
                ]
            )  # fmt: skip
    return Table.of_rows((*columns, "from_80_share", "to_80_share"), rows)


def held_out_table(forecasts: Sequence[Forecast]) -> Table:
    """Every law fitted to all sizes but the largest, and its step time there beside the measured one."""
    columns = (
        "series", "law", "used", "fitted_to", "ranks", "predicted_ms", "predicted_low_ms", "predicted_high_ms", "measured_ms", "error_share",
        "interval",
    )  # fmt: skip
    rows = []
    for one in forecasts:
        if one.law is None:
            continue
        ranks = one.sizes[-1].ranks
        step = _step_ms(one, ranks)
        for check in one.law.held_out:
            asked = check.prediction
            assert asked.value is not None
            rows.append(
                [
                    one.study.series.label, _SHORT[check.law.id], "yes" if check.law is one.law.used.law else "",
                    listed([size.ranks for size in one.sizes[:-1]]), ranks, step / asked.value, step / asked.within_95[1],
                    step / asked.within_95[0], step / check.measured, check.measured / asked.value - 1, _where(check.is_inside),
                ]
            )  # fmt: skip
    return Table.of_rows(columns, rows)


def _step_ms(one: Forecast, ranks: int) -> float:
    """What to divide by a throughput to have the step time at so many ranks."""
    last = one.sizes[-1]
    samples = last.local_batch * (last.ranks if one.study.series.kind == "strong" else ranks)
    return samples * 1e3


def _where(is_inside: bool) -> str:
    return "inside" if is_inside else "outside"


def caveats_of(forecasts: Sequence[Forecast]) -> list[str]:
    """Why studies have no law, and what the law of the others does not know; studies with the same reason in one sentence."""
    shared: dict[str, list[str]] = {}
    alone = []
    for one in forecasts:
        label = one.study.series.label
        if one.law is None:
            shared.setdefault(f"no size beyond the measured ones is predicted: {one.refused}", []).append(label)
            continue
        if one.is_on_one_node:
            words = "all sizes lie on one node, so the law knows nothing of links between nodes"
            shared.setdefault(words, []).append(label)
        alone += _of_law(one, one.law)
    return [f"{_series(labels)}: {words}" for words, labels in shared.items()] + alone


def _of_law(one: Forecast, law: Extrapolation) -> list[str]:
    label, found = one.study.series.label, []
    name = law.used.law.name
    if one.set_aside:
        ranks = many(len(one.set_aside), "size")
        found.append(
            f"series {label}: {ranks} on one node ({listed(one.set_aside)} ranks) is not used for the law of those on several"
        )
    check = law.held_out[0] if law.held_out else None
    if check is not None and not check.is_inside:
        off = 1 / (1 + check.error) - 1
        found.append(
            f"series {label}: fitted to {listed([size.ranks for size in one.sizes[:-1]])} ranks, {name} says a step of "
            f"{one.sizes[-1].ranks} ranks takes {percent(abs(off))} {'less' if off < 0 else 'more'} than it does, outside the 95 % interval: what it "
            "says of larger sizes may miss by more than its band"
        )
    if law.is_held:
        found.append(
            f"series {label}: a coefficient of {name} would be negative and is held at 0, since a rank does more the more ranks there are"
        )
    return found


def _series(labels: Sequence[str]) -> str:
    return f"series {labels[0]}" if len(labels) == 1 else f"{len(labels)} series ({', '.join(labels)})"


def how(one: Forecast) -> str:
    """How the line and its band are computed."""
    assert one.law is not None
    others = [other.law.name for other in one.law.others]
    alike = f" The band spans {' and '.join(others)} as well, which the sizes do not rule out." if others else ""
    return (
        f"Line: {one.law.used.law.formula}, least squares of relative residuals, coefficients not negative; from four sizes on another law takes its "
        "place where it misses the largest size, left out, and the other one does not. Band: a bootstrap (seeded) over the uncertainty of each size "
        f"and what the law misses.{alike} Up to {PREDICTED} times the largest size is called predicted, up to {INDICATIVE} times indicative, beyond "
        f"that speculative; beyond {FARTHEST} times there is no number. No band is a guarantee."
    )
