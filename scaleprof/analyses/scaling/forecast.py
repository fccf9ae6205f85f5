"""What a study says of sizes that nobody measured: the law of its sizes, with numbers, tables and what may be wrong (`method` 5.3, 5.4).

Which law, and how far to trust it, is `models.extrapolation`; how it is drawn, `forecast_chart`; what each class of time is expected to be,
`forecast_parts`. The model by class of time is one of the laws: where another one is taken, its rows stand beside those of that one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scaleprof.analyses.base import listed, many, percent
from scaleprof.analyses.scaling.more_ranks import replays_of
from scaleprof.analyses.scaling.parts import parts_of
from scaleprof.analyses.scaling.study import Scaled, Size
from scaleprof.models import laws
from scaleprof.models.extrapolation import (
    FARTHEST,
    FEWEST_ACROSS,
    FEWEST_SIZES,
    INDICATIVE,
    PREDICTED,
    Extrapolation,
    extrapolate,
    most_ranks,
    trust_in,
)
from scaleprof.models.laws import Floats
from scaleprof.models.rivals import Measured
from scaleprof.results import Metric, Table

LEAST_SPREAD = 0.001
"""No two starts of a job agree better than this share, however alike the steps of one are."""
SHOWN = (PREDICTED, INDICATIVE / 2, INDICATIVE, 2 * INDICATIVE)
"""Sizes that are predicted, as multiples of the largest."""
MARGINAL = 0.7
"""The efficiency of a doubling that is still worth it: ranks twice as many do 1.4 times as much."""
_Z95 = 1.959964
SHORT = {
    "amdahl": "Amdahl", "logarithmic": "logarithmic", "gustafson": "Gustafson", "usl": "USL", "pmnf": "Extra-P", "components": "by class",
    "replay": "replay",
}  # fmt: skip
"""Laws in a table or a tile."""


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
        return bool(self.sizes) and all(size.nodes == 1 for size in self.sizes)


def forecast(study: Scaled) -> Forecast:
    """The law of a study's judged sizes."""
    judged = [size for size in study.sizes if size.efficiency is not None]
    if study.series.kind == "mixed":
        return Forecast(study, None, "neither the global nor the local batch is constant, so no law of scaling applies")
    if len(judged) < FEWEST_SIZES:
        return Forecast(
            study, None, f"a law needs at least {FEWEST_SIZES} sizes that can be judged, and there are {len(judged)}"
        )
    across = [size for size in judged if size.nodes > 1]
    if across and len(across) < FEWEST_ACROSS:
        last = many(across[0].ranks, "rank")
        return Forecast(
            study,
            None,
            f"only one size, {last}, lies on more than one node, and a law must not be fitted across such a break: it needs {FEWEST_ACROSS} "
            "sizes on several nodes",
        )
    used = across or judged
    spreads = _spreads(used)
    if spreads is None:
        return Forecast(study, None, "a size has no interval: a law needs at least 6 steady steps of each")
    ranks = np.array([float(size.ranks) for size in used])
    rates = np.array([size.throughput.value for size in used])
    kind = study.series.kind
    parts, replays = parts_of(kind, used, ranks / rates), replays_of(kind, used)
    measured = Measured(ranks, rates, spreads, parts, replays, study.doubt)
    aside = tuple(size.ranks for size in judged if size not in used)
    return Forecast(study, extrapolate(measured, study.series.kind), "", tuple(used), aside)


def _spreads(sizes: Sequence[Size]) -> Floats | None:
    """The standard deviation of each size's throughput as a share; None where one is not known."""
    spreads = []
    for size in sizes:
        low, high, spread = size.throughput.low, size.throughput.high, size.spread
        if spread is None:
            if low is None or high is None or low <= 0:
                return None
            spread = math.log(high / low) / (2 * _Z95)
        spreads.append(max(spread, LEAST_SPREAD))
    return np.array(spreads)


def metrics_of(one: Forecast, target: float) -> list[Metric]:
    """The law, its coefficients, and where it stops being worth while; numbers that are not reached are left out."""
    if one.law is None:
        return []
    prefix, label, law = f"scaling.{one.study.series.id}", one.study.series.label, one.law
    fitted = law.used
    sizes = f"fitted to {listed([size.ranks for size in one.sizes])} ranks"
    found = [Metric(f"{prefix}.law", f"Law of scaling ({label})", SHORT[fitted.law.id], note=sizes)]
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
    return [*found, *_knees(one, law, target), _cheapest(one)]


def _cheapest(one: Forecast) -> Metric:
    """The measured size at which a sample takes the least time of ranks: what a job costs where ranks are paid by the hour."""
    least = min(one.study.sizes, key=lambda size: size.ranks / size.throughput.value)
    dearest = max(one.study.sizes, key=lambda size: size.ranks / size.throughput.value)
    saved = 1 - least.ranks / least.throughput.value / (dearest.ranks / dearest.throughput.value)
    note = f"of those measured: {percent(saved)} less time of ranks a sample than at {dearest.ranks}"
    id, label = f"scaling.{one.study.series.id}.cheapest", f"Cheapest size ({one.study.series.label})"
    return Metric(id, label, least.ranks, note=note)


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
        if id == "peak" and law.used.law in (laws.AMDAHL, laws.LOGARITHMIC, laws.GUSTAFSON):
            continue  # under these throughput never falls
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
    """Every study at some multiples of its largest size: efficiency and step time, with 95 % and 80 % intervals of the efficiency.

    Where the classes of time are known and another law is taken, what the model by class says follows. Step times are left out where the batch is
    not known.
    """
    columns = (
        "series",
        "law",
        "ranks",
        "trust",
        "throughput",
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
        rows += _predicted(one, one.law)
        by_class = by_components(one.law)
        if by_class is not None and one.law.used.law.id != "components":
            rows += _predicted(one, by_class)
    return Table.of_rows((*columns, "from_80_share", "to_80_share"), rows)


def by_components(law: Extrapolation) -> Extrapolation | None:
    """The same study with the model by class of time in use, alone; None where the classes are not known."""
    return replace(law, used=law.components, others=(), held_out=()) if law.components else None


def _predicted(one: Forecast, law: Extrapolation) -> list[list[object]]:
    rows: list[list[object]] = []
    for times in SHOWN:
        ranks = round(times * law.largest)
        asked = law.at(ranks)
        if asked.value is None or asked.within_80 is None:
            continue
        efficiencies = [end / (one.rate * ranks) for end in (asked.value, *asked.within_95, *asked.within_80)]
        steps = _steps_ms(one, ranks, (asked.value, asked.within_95[1], asked.within_95[0]))
        label, short = one.study.series.label, SHORT[law.used.law.id]
        rows.append([label, short, ranks, asked.trust, asked.value, *steps, *efficiencies])
    return rows


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
        for check in one.law.held_out:
            asked = check.prediction
            assert asked.value is not None
            ends = (asked.value, asked.within_95[1], asked.within_95[0], check.measured)
            rows.append(
                [
                    one.study.series.label, SHORT[check.law.id], "yes" if check.law.id == one.law.used.law.id else "",
                    listed([size.ranks for size in one.sizes[:-1]]), ranks, *_steps_ms(one, ranks, ends),
                    check.measured / asked.value - 1, _where(check.is_inside),
                ]
            )  # fmt: skip
    return Table.of_rows(columns, rows)


def _steps_ms(one: Forecast, ranks: int, rates: Sequence[float]) -> list[float | None]:
    """Step times at so many ranks for some throughputs; None where the batch is not known."""
    last = one.sizes[-1]
    samples = last.local_batch * (last.ranks if one.study.series.kind == "strong" else ranks)
    return [samples * 1e3 / rate if samples else None for rate in rates]


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
    if law.is_held and law.used.law.id != "components":
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
    used = one.law.used.law
    fitted = (
        "through what was measured there: bytes and hops of its collectives as rings have them, compute as the batch has it, what hides behind "
        "what as its graph has it, and late ranks as late as they were"
        if used.id == "replay"
        else "least squares of the logarithms of the residuals, a size counting by its ranks, coefficients not negative"
    )
    alike = f" The band spans {' and '.join(others)} as well, which the sizes do not rule out." if others else ""
    return (
        f"Line: {used.formula}, {fitted}. From four sizes on the law is taken that predicts each size best from the smaller ones; of three the "
        "replay of the largest, if that of the smaller one predicted it better than Amdahl's law. Band, for what would be measured: a "
        f"bootstrap (seeded) over the uncertainty of each size and what the law misses.{alike} Up to {PREDICTED} times the largest size is called "
        f"predicted, up to {INDICATIVE} times indicative, beyond that speculative; beyond {FARTHEST} times there is none. No band is a guarantee."
    )
