"""A plain table as a study: curves, kinds, spreads and classes of time, against answers on paper."""

import math
from dataclasses import dataclass, field

import pytest

from scaleprof.analyses.scaling.measured_table import DOUBT, conclude
from scaleprof.analyses.scaling.study import ScalingOptions
from scaleprof.errors import InputError
from scaleprof.results import Result


@dataclass(frozen=True)
class Line:
    """A measurement; a line of Amdahl's law with a serial fraction of 5 % unless it says otherwise."""

    ranks: int
    throughput: float | None = None
    step_s: float | None = None
    series: str = ""
    nodes: int = 0
    local_batch: float | None = None
    global_batch: float | None = None
    parts_s: dict[str, float] = field(default_factory=dict)
    line: int = 7


def amdahl(ranks: int) -> float:
    return 100 * ranks / (0.95 + 0.05 * ranks)


LINES = [Line(n, amdahl(n)) for n in (1, 2, 4, 8)]


def section(lines: list[Line], **stated: str) -> Result:
    _, found = conclude(lines, stated.get("kind"), ScalingOptions(), name="jobs")  # type: ignore[arg-type]
    return found


def row(result: Result, table: str, place: int = 0) -> dict[str, object]:
    return {name: column[place] for name, column in result.tables[table].columns.items()}


def test_a_table_says_what_a_recorded_study_says() -> None:
    overview, found = conclude(LINES, None, ScalingOptions(), name="jobs")
    assert found.headline == "jobs keeps 74.1 % efficiency at 8 ranks (against 1 rank), below the target of 80.0 %"
    assert row(found, "scaling", 3)["efficiency"] == pytest.approx(1 / 1.35)
    first = row(found, "prediction")
    assert (first["law"], first["ranks"], first["trust"], first["step_ms"]) == ("Amdahl", 16, "predicted", None)
    assert (first["throughput"], first["efficiency"]) == pytest.approx((amdahl(16), 1 / 1.75))
    metrics = {metric.id: metric for metric in overview.metrics}
    assert metrics["prediction.jobs.efficiency"].value == first["efficiency"]
    assert metrics["scaling.jobs.law"].value == "Amdahl"
    assert metrics["scaling.jobs.cheapest"].value == 1
    assert overview.headline.endswith(" at 16 ranks is predicted.")
    assert [chart.id for chart in found.charts] == ["scaling.throughput", "scaling.efficiency"]
    assert {layer.style for layer in found.charts[1].layers} >= {"fit", "predicted", "marks"}


def test_the_kind_of_study_follows_from_the_batches() -> None:
    weak = [Line(n, step_s=0.1 * (0.95 + 0.05 * n), local_batch=32) for n in (1, 2, 4, 8)]
    strong = [Line(n, step_s=0.1 * (0.95 / n + 0.05), global_batch=32) for n in (1, 2, 4, 8)]
    for lines, kind, step_ms in ((weak, "weak", 175.0), (strong, "strong", 100 * (0.95 / 16 + 0.05))):
        found = section(lines)
        assert row(found, "scaling")["kind"] == kind
        assert row(found, "scaling", 3)["efficiency"] == pytest.approx(1 / 1.35)
        assert row(found, "prediction")["step_ms"] == pytest.approx(step_ms, rel=1e-6)
    mixed = [Line(n, amdahl(n), global_batch=10 * n**0.5) for n in (1, 2, 4, 8)]
    assert "prediction" not in section(mixed).tables
    assert row(section(mixed, kind="weak"), "prediction")["efficiency"] == pytest.approx(1 / 1.75)


def test_step_times_alone_need_their_batch_or_a_word_on_it() -> None:
    lines = [Line(n, step_s=0.1 * (0.95 + 0.05 * n)) for n in (1, 2, 4, 8)]
    with pytest.raises(InputError, match=r"line 7: a step time says nothing .* --kind weak"):
        section(lines)
    assert row(section(lines, kind="weak"), "scaling", 3)["efficiency"] == pytest.approx(1 / 1.35)
    assert row(section(lines, kind="strong"), "scaling", 3)["speedup"] == pytest.approx(1 / 1.35)


def test_repeats_give_the_spread_of_all_sizes() -> None:
    """Two repeats 2 % apart at each of three sizes: sigma of one is 0.02 / sqrt(2), of a mean of two half of 0.02."""
    off = (math.exp(0.01), math.exp(-0.01))
    lines = [Line(n, amdahl(n) * by) for n in (1, 2, 4) for by in off] + [Line(8, amdahl(8))]
    found = section(lines)
    assert [row(found, "scaling", place)["runs"] for place in range(4)] == [2, 2, 2, 1]
    [efficiency] = [metric for metric in found.metrics if metric.id == "scaling.jobs.efficiency"]
    sigma = math.hypot(0.02 / math.sqrt(2), 0.01)
    assert efficiency.low == pytest.approx(float(efficiency.value) * math.exp(-1.959964 * sigma))
    assert not [text for text in found.caveats if "measured twice" in text]


def test_without_repeats_a_size_is_doubted() -> None:
    found = section(LINES)
    assert any(f"taken to lie {100 * DOUBT:.0f} % off its law" in text for text in found.caveats)
    first = row(found, "prediction")
    assert first["efficiency_low"] < 0.95 * first["efficiency"] < first["efficiency"] < first["efficiency_high"]  # type: ignore[operator]
    [efficiency] = [metric for metric in found.metrics if metric.id == "scaling.jobs.efficiency"]
    assert efficiency.low is None


def test_curves_are_told_apart_by_name_and_by_batch() -> None:
    lines = [Line(n, amdahl(n), series=name) for name in ("a", "A") for n in (1, 2, 4)] + [
        Line(4, 10.0, series="alone")
    ]
    found = section(lines)
    assert {metric.id for metric in found.metrics} >= {"scaling.a.law", "scaling.a-2.law"}
    assert any("alone: a single size" in text for text in found.caveats)
    assert not found.variants
    assert [chart.id for chart in found.charts][2:] == ["scaling.a.efficiency", "scaling.a-2.efficiency"]
    batches = [Line(n, amdahl(n), local_batch=batch) for batch in (16, 32) for n in (1, 2, 4)]
    assert list(dict.fromkeys(section(batches).tables["scaling"]["series"])) == ["batch 16", "batch 32"]


def test_sizes_on_one_node_are_set_aside_where_others_lie_on_several() -> None:
    lines = [Line(n, amdahl(n) if n < 8 else 0.5 * amdahl(n), nodes=max(n // 4, 1)) for n in (1, 2, 4, 8, 16)]
    found = section(lines)
    assert row(found, "prediction")["throughput"] == pytest.approx(0.5 * amdahl(32), rel=1e-6)
    assert any("3 sizes on one node (1, 2, 4 ranks)" in text for text in found.caveats)
    apart = section([*lines, Line(16, 0.5 * amdahl(16), nodes=2)])
    assert any("measured on 2, 4 nodes and taken as repeats" in text for text in apart.caveats)


def test_classes_of_time_make_the_model_by_class() -> None:
    """Local batch 1; a ring all-reduce whose step is 40 (N - 1) / N ms, 100 ms of compute."""
    lines = [
        Line(n, step_s=0.1 + 0.04 * (n - 1) / n, local_batch=1, parts_s={"transfer": 0.04 * (n - 1) / n})
        for n in (2, 4, 8, 16)
    ]
    found = section(lines)
    measured, predicted = row(found, "components"), row(found, "components", 1)
    assert (measured["trust"], measured["ranks"], predicted["ranks"]) == ("measured", 16, 32)
    assert (measured["compute_ms"], measured["exposed_transfer_ms"]) == pytest.approx((100, 37.5))
    assert (predicted["compute_ms"], predicted["exposed_transfer_ms"]) == pytest.approx((100, 38.75))
    assert predicted["ms_per_sample"] == pytest.approx(138.75)
    assert row(found, "prediction")["law"] == "by class"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([Line(4, 10.0), Line(4, 11.0)], r"every curve has a single size \(4 ranks\); a prediction needs 3 sizes"),
        ([Line(n, 10.0 * n, parts_s={"wait": 1.0}) for n in (1, 2)], "line 7: has classes of time"),
        ([Line(n, step_s=1.0, local_batch=1, parts_s={"wait": 1.5}) for n in (1, 2)], "wait are longer than the step"),
    ],
)
def test_what_makes_no_study_is_refused_in_a_sentence(lines: list[Line], said: str) -> None:
    with pytest.raises(InputError, match=said):
        section(lines)


def test_two_sizes_are_compared_and_not_extrapolated() -> None:
    found = section(LINES[:2])
    assert row(found, "scaling", 1)["efficiency"] == pytest.approx(1 / 1.05)
    assert any("a law needs at least 3 sizes" in text for text in found.caveats)
