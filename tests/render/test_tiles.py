"""Which numbers are tiles, and how they read."""

import pytest

from scaleprof.render.page import banners_of
from scaleprof.render.tiles import MOST_SERIES, MOST_TILES, shown_of, tile_of
from scaleprof.results import Metric, Result, Variant
from scaleprof.run import Emulated, RunInfo


def one_series(place: int, efficiency: float) -> tuple[Metric, ...]:
    prefix = f"scaling.s{place}"
    return (
        Metric(f"{prefix}.kind", f"Kind (s{place})", "strong"),
        Metric(
            f"{prefix}.efficiency", f"Efficiency (s{place})", efficiency, "share", efficiency - 0.01, efficiency + 0.01
        ),
        Metric(f"{prefix}.speedup", f"Speedup (s{place})", 4 * efficiency, "x"),
    )


def section(*efficiencies: float) -> Result:
    series = [one_series(place, value) for place, value in enumerate(efficiencies)]
    variants = (
        Variant(Result("scaling", "Scaling", "", metrics), series=f"s{place}") for place, metrics in enumerate(series)
    )
    return Result(
        "scaling", "Scaling", "", tuple(metric for metrics in series for metric in metrics), variants=tuple(variants)
    )


def test_of_few_series_all_numbers_are_tiles() -> None:
    few = section(*[0.9] * MOST_SERIES)
    assert shown_of(few) == (list(few.metrics), "")


def test_of_many_series_the_two_ends_are_tiles_and_that_is_said() -> None:
    shown, about = shown_of(section(0.6, 0.9, 0.3, 0.7, 0.8))
    assert [metric.id for metric in shown] == ["scaling.s1.efficiency", "scaling.s2.efficiency"]
    assert about == "The two ends of 5 series. A series that is selected above shows its own numbers."


def test_of_many_series_that_are_all_alike_none_is_a_tile() -> None:
    assert shown_of(section(*[1.0] * 5)) == ((), "")


def test_of_many_numbers_of_a_run_those_with_an_interval_are_tiles() -> None:
    many = tuple(
        Metric(f"m.{place}", "M", 1.0, "", *((0.9, 1.1) if place < 3 else ())) for place in range(MOST_TILES + 1)
    )
    assert shown_of(Result("r", "R", "", many)) == (list(many[:3]), "")


@pytest.mark.parametrize(
    ("metric", "amount", "interval"),
    [
        (Metric("m", "M", -0.179, "ms"), "−0.179", ""),
        (Metric("m", "M", 1, "", 1.0, 1.0), "1", ""),
        (Metric("m", "M", 4, "", 3.0, 7.0), "4", "95 %: 3 to 7"),
        (Metric("m", "M", "-word"), "-word", ""),
    ],
)
def test_a_tile_has_a_true_minus_and_an_interval_where_there_is_one(metric: Metric, amount: str, interval: str) -> None:
    tile = tile_of(metric)
    assert tile.amount == amount
    assert tile.interval == interval


def test_what_networks_have_in_common_is_said_once() -> None:
    def banners(*links: str) -> list[str]:
        return banners_of([RunInfo("r", 2, emulated=Emulated("compute emulated", link=link)) for link in links])

    assert banners("1gbit between namespaces", "50mbit between namespaces") == [
        "Compute emulated. Network: 1gbit, 50mbit between namespaces."
    ]
    assert banners("1gbit", "50mbit between namespaces") == [
        "Compute emulated. Network: 1gbit, 50mbit between namespaces."
    ]
    assert banners("1gbit between namespaces") == ["Compute emulated. Network: 1gbit between namespaces."]
