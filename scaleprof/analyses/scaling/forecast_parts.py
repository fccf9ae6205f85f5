"""What each class of time is expected to be at sizes that nobody measured, beside what it is at the largest one that somebody did."""

from collections.abc import Sequence

from scaleprof.align import LEAVES
from scaleprof.analyses.scaling.forecast import SHOWN, Forecast, by_components
from scaleprof.analyses.scaling.parts import LEAF_OF_PART
from scaleprof.models.components import times_at
from scaleprof.models.extrapolation import Extrapolation
from scaleprof.results import Table

COLUMNS = ("series", "ranks", "trust", "ms_per_sample", "ms_per_sample_low", "ms_per_sample_high")


def components_table(forecasts: Sequence[Forecast]) -> Table:
    """ms per sample and rank by class at the largest size, as measured, and at larger ones; with the 95 % interval of their sum."""
    rows: list[list[object]] = []
    for one in forecasts:
        by_class = by_components(one.law) if one.law else None
        if by_class is not None:
            rows += _rows(one.study.series.label, by_class)
    return Table.of_rows((*COLUMNS, *(f"{leaf}_ms" for leaf in LEAVES)), rows)


def _rows(label: str, law: Extrapolation) -> list[list[object]]:
    parts = law.measured.parts
    assert parts is not None
    last = {LEAF_OF_PART[name]: 1e3 * float(times[-1]) for name, times in parts.times.items()}
    rows: list[list[object]] = [
        [
            label,
            round(law.largest),
            "measured",
            sum(last.values()),
            None,
            None,
            *(last.get(leaf, 0.0) for leaf in LEAVES),
        ]
    ]
    for times in SHOWN:
        ranks = round(times * law.largest)
        asked = law.at(ranks)
        if asked.value is None:
            continue
        by_part = times_at(law.used.fitted.coefficients, parts, ranks)
        of_leaf = {LEAF_OF_PART[name]: 1e3 * seconds for name, seconds in by_part.items()}
        spans = [1e3 * ranks / rate for rate in (asked.value, asked.within_95[1], asked.within_95[0])]
        rows.append([label, ranks, asked.trust, *spans, *(of_leaf.get(leaf, 0.0) for leaf in LEAVES)])
    return rows
