"""What a study says of larger sizes: its law in numbers, tables and charts, and where it says nothing and why."""

from collections.abc import Sequence

import numpy as np
import pytest

from scaleprof.align import RunView
from scaleprof.analyses.scaling import scaling
from scaleprof.analyses.scaling.forecast import Forecast, forecast
from scaleprof.analyses.scaling.series import find_series
from scaleprof.analyses.scaling.study import ScalingOptions, scaled
from scaleprof.pipeline import analyze
from scaleprof.results import Result, Table
from tests.analyses.test_scaling import starved
from tests.making import make_view, regular_job
from tests.test_samples import SAMPLES

MS = 1_000_000


def run(
    ranks: int,
    step_ms: float,
    *,
    samples: float = 16,
    steps: int = 8,
    info: dict[str, str] | None = None,
    nodes: int | None = None,
) -> RunView:
    """A run of equal steps: what a rank takes in each is known exactly."""
    step = round(step_ms * MS)
    job = regular_job(ranks, step=step, compute=step // 2, blocked=step // 4, samples=samples, steps=steps)
    return make_view(job, name=f"run-{ranks}-{step_ms}", nodes=nodes, **(info or {}))


def weak(times_ms: dict[int, float], *, steps: int = 8, **info: str) -> list[RunView]:
    return [run(ranks, time, steps=steps, info=info) for ranks, time in times_ms.items()]


LINE = {ranks: 100.0 * (0.95 + 0.05 * ranks) for ranks in (1, 2, 4, 8)}
"""Amdahl's law with a serial fraction of 5 %."""


def forecast_of(views: Sequence[RunView]) -> Forecast:
    [series], _ = find_series(views)
    return forecast(scaled(series, ScalingOptions()))


def concluded(views: Sequence[RunView]) -> Result:
    result = scaling.conclude(views, ScalingOptions())
    assert result is not None
    return result


def test_a_line_gives_its_serial_fraction_and_its_knee() -> None:
    result = concluded(weak(LINE))
    metrics = {metric.id.removeprefix("scaling.weak."): metric for metric in result.metrics}
    assert metrics["law"].value == "Amdahl"
    assert metrics["law"].note == "fitted to 1, 2, 4, 8 ranks"
    fraction = metrics["serial_fraction"]
    assert fraction.value == pytest.approx(0.05, rel=1e-6)
    assert fraction.low is not None and fraction.high is not None
    assert fraction.low < 0.05 < fraction.high < 0.06
    # 1 / (0.95 + 0.05 N) >= 0.8 up to 6; twice as many ranks do 1.4 times as much up to (0.95 + 0.1 N) <= (0.95 + 0.05 N) / 0.7.
    assert metrics["knee"].value in (5, 6)
    assert metrics["knee_marginal"].value == 14
    assert metrics["knee_marginal"].note == "beyond the sizes measured: predicted"
    assert not {"sigma", "kappa", "peak"} & set(metrics)


def of_law(name: str, table: Table) -> Table:
    """The rows of one law."""
    return Table.of_rows(list(table.columns), [row for row in table.rows() if row[1] == name])


def test_predictions_are_tabled_with_their_trust() -> None:
    table = of_law("Amdahl", concluded(weak(LINE)).tables["prediction"])
    assert table["ranks"] == [16, 32, 64, 128]
    assert table["trust"] == ["predicted", "indicative", "indicative", "speculative"]
    assert table["efficiency"] == pytest.approx([1 / (0.95 + 0.05 * n) for n in (16, 32, 64, 128)], rel=1e-6)
    assert table["step_ms"] == pytest.approx([100 * (0.95 + 0.05 * n) for n in (16, 32, 64, 128)], rel=1e-6)
    columns = ("efficiency_low", "from_80_share", "efficiency", "to_80_share", "efficiency_high")
    for row in zip(*(table[name] for name in columns), strict=True):
        assert list(row) == sorted(row)


def test_steps_of_a_strong_study_shrink_as_ranks_take_less() -> None:
    views = [run(n, 400 / n * (0.95 + 0.05 * n), samples=64 / n) for n in (1, 2, 4)]
    table = concluded(views).tables["prediction"]
    assert table["ranks"][0] == 8
    assert table["step_ms"][0] == pytest.approx(400 / 8 * (0.95 + 0.05 * 8), rel=1e-6)


def test_the_largest_size_is_held_out_and_a_miss_is_a_caveat() -> None:
    table = concluded(weak(LINE)).tables["held_out"]
    row = {name: column[0] for name, column in table.columns.items()}
    assert (row["law"], row["used"], row["fitted_to"], row["ranks"]) == ("Amdahl", "yes", "1, 2, 4", 8)
    assert row["predicted_ms"] == pytest.approx(row["measured_ms"]) == pytest.approx(135)
    assert (row["interval"], row["error_share"]) == ("inside", pytest.approx(0, abs=1e-6))
    missed = concluded(weak({1: 100, 2: 100, 4: 150}))
    row = {name: column[0] for name, column in missed.tables["held_out"].columns.items()}
    assert (row["interval"], row["error_share"]) == ("outside", pytest.approx(-1 / 3, rel=1e-6))
    assert any(
        "fitted to 1, 2 ranks, Amdahl's law says a step of 4 ranks takes 33.3 % less" in text for text in missed.caveats
    )


def test_one_series_shows_its_law_and_several_do_not() -> None:
    throughput, efficiency = concluded(weak(LINE)).charts
    styles = [layer.style for layer in efficiency.layers]
    assert styles == ["fit", "predicted", "indicative", "speculative", "marks", "reference"]
    fit, predicted, indicative, speculative, measured, _ = efficiency.layers
    assert measured.x == [1, 2, 4, 8]
    assert (predicted.x[0], predicted.x[-1], indicative.x[-1], speculative.x[-1]) == (8, 16, 64, 128)
    assert fit.y[-1] == pytest.approx(1 / 1.35, rel=1e-6)
    assert efficiency.title.startswith("Weak efficiency is 74.1 % at 8 ranks; at 64 ranks 24 % (")
    assert efficiency.title.endswith(" %) is indicative")
    assert throughput.title == (
        "Weak: a rank does 25.9 % less at 8 than at 1; Amdahl's law is within 0.1 % of every size, and within 0.1 % of 8 ranks when fitted to "
        "the smaller ones"
    )
    several = concluded([*weak(LINE, series="one"), *weak({n: time + 1 for n, time in LINE.items()}, series="two")])
    assert {layer.style for chart in several.charts for layer in chart.layers} == {"", "reference"}
    assert {
        layer.style for variant in several.variants for chart in variant.result.charts for layer in chart.layers
    } == {*styles}


def test_the_universal_law_has_its_own_numbers() -> None:
    times = {n: 100 * (1 + 0.03 * (n - 1) + 0.003 * n * (n - 1)) for n in (1, 2, 4, 8, 16)}
    metrics = {metric.id.removeprefix("scaling.weak."): metric for metric in concluded(weak(times)).metrics}
    assert metrics["law"].value == "USL"
    assert metrics["sigma"].value == pytest.approx(0.03, rel=1e-4)
    assert metrics["kappa"].value == pytest.approx(0.003, rel=1e-4)
    assert metrics["peak"].value == 18  # sqrt(0.97 / 0.003) = 17.98
    assert "serial_fraction" not in metrics


def refusal(views: Sequence[RunView]) -> str:
    one = forecast_of(views)
    assert one.law is None
    result = concluded(views)
    assert "prediction" not in result.tables
    assert {layer.style for chart in result.charts for layer in chart.layers} <= {"", "reference"}
    assert any(one.refused in caveat for caveat in result.caveats)
    return one.refused


def test_two_sizes_are_too_few_and_sizes_without_cores_do_not_count() -> None:
    said = "a law needs at least 3 sizes that can be judged, and there are 2"
    assert refusal(weak({1: 100, 2: 110})) == said
    views = weak({1: 100, 2: 110, 4: 130})
    assert refusal([*views[:2], starved(views[2], 0.25)]) == said


def test_a_mixed_study_and_one_of_few_steps_get_no_law() -> None:
    mixed = [run(n, 100, samples=samples, info={"series": "odd"}) for n, samples in ((1, 16), (2, 12), (4, 9))]
    assert "neither the global nor the local batch" in refusal(mixed)
    assert "6 steady steps" in refusal(weak({1: 100, 2: 110, 4: 130}, steps=4))


def on_nodes(nodes: dict[int, int]) -> list[RunView]:
    return [run(ranks, 100.0 + 5 * ranks + 30 * (count > 1), nodes=count) for ranks, count in nodes.items()]


def test_no_law_goes_across_a_break_of_the_topology() -> None:
    said = refusal(on_nodes({2: 1, 4: 1, 8: 1, 16: 2}))
    assert said.startswith("only one size, 16 ranks, lies on more than one node")
    beyond = forecast_of(on_nodes({4: 1, 8: 1, 16: 2, 32: 4}))
    assert beyond.law is not None
    assert [size.ranks for size in beyond.sizes] == [16, 32]
    assert beyond.set_aside == (4, 8)
    assert beyond.law.at(64).value == pytest.approx(64 * 16 / 0.450, rel=1e-6)
    within = concluded(on_nodes({1: 1, 2: 1, 4: 1}))
    assert any("all sizes lie on one node" in caveat for caveat in within.caveats)


def test_series_refused_for_one_reason_are_one_sentence() -> None:
    views = [view for name in ("a", "b") for view in weak({1: 100, 2: 110 + len(name)}, series=name)]
    caveats = [caveat for caveat in concluded(views).caveats if "a law needs" in caveat]
    assert caveats == [
        "2 series (a, b): no size beyond the measured ones is predicted: a law needs at least 3 sizes that can be judged, and there are 2"
    ]


def test_of_three_recorded_sizes_the_replay_stands_where_it_predicted_the_largest_better_than_the_line() -> None:
    report = analyze([SAMPLES / name for name in sorted(path.name for path in SAMPLES.glob("emulated-ddp-strong-*"))])
    [section] = [section for section in report.comparison if section.name == "scaling"]
    metrics = {metric.id.rpartition(".")[2]: metric.value for metric in section.metrics}
    assert metrics["law"] == "replay"
    table = of_law("replay", section.tables["prediction"])
    assert table["trust"] == ["predicted", "indicative", "indicative", "speculative"]
    assert np.all(np.diff(table["efficiency"]) < 0)
    held_out = section.tables["held_out"]
    missed = {law: abs(error) for law, error in zip(held_out["law"], held_out["error_share"], strict=True)}
    # A single rank says nothing of communication, so a line through 1 and 2 knows too little; the run of 2 ranks knows what it sends.
    assert missed["replay"] < 0.03 < 0.15 < missed["Amdahl"]
    assert list(held_out["used"][:2]) == ["yes", ""]
    assert any("all sizes lie on one node" in caveat for caveat in section.caveats)
