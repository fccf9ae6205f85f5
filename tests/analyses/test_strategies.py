"""Configurations side by side: words and pictures from numbers on paper, and the recorded study of strategies."""

from pathlib import Path

import pytest

from scaleprof import Report, analyze
from scaleprof.analyses.scaling.study import ScalingOptions
from scaleprof.analyses.strategies.charts import charts_of, title_of
from scaleprof.analyses.strategies.configurations import Configuration, Rivals, Setting
from scaleprof.analyses.strategies.strategies import conclude
from scaleprof.results import Chart, Result
from tests.analyses.test_configurations import job
from tests.analyses.test_front import made

SAMPLES = Path(__file__).parent.parent.parent / "sample_traces"


def rivals(*members: Configuration, ranks: int = 4, kind: str = "process") -> Rivals:
    fastest_first = sorted(members, key=lambda one: -one.throughput.value)
    return Rivals(Setting("net", "float32", "cpu", "", 16), ranks, tuple(fastest_first), kind)


def test_the_title_says_what_less_memory_costs() -> None:
    ddp, fsdp2 = made("ddp", 100, 500), made("fsdp2", 43, 310)
    assert (
        title_of(rivals(ddp, fsdp2))
        == "fsdp2 needs 38.0 % less memory than ddp but does 57.0 % fewer samples a second at 4 ranks"
    )
    near = made("fsdp2", 99, 310)
    assert (
        title_of(rivals(ddp, near)) == "fsdp2 needs 38.0 % less memory than ddp and is not measurably slower at 4 ranks"
    )
    worse = made("fsdp2", 43, 600)
    assert (
        title_of(rivals(ddp, worse))
        == "ddp does most samples a second at 4 ranks, and nothing on the front needs less memory"
    )
    same = made("fsdp2", 99, 497)
    assert title_of(rivals(ddp, same)) == (
        "ddp does most samples a second at 4 ranks, and nothing on the front needs notably less memory"
    )
    assert (
        title_of(rivals(made("ddp", 100, None), made("fsdp2", 43, None), kind=""))
        == "ddp does most samples a second at 4 ranks"
    )


def test_the_picture_has_a_point_each_and_a_front_that_only_rises() -> None:
    members = made("fast", 100, 500), made("lean", 60, 300), made("as lean", 59, 320), made("worse", 40, 400)
    [chart] = charts_of([rivals(*members)])
    assert (chart.kind, chart.x.unit, chart.y.unit, chart.id) == ("scatter", "MB", "samples/s", "strategies.memory_4")
    drawn = {layer.name: layer for layer in chart.layers}
    assert (drawn["fast"].x, drawn["fast"].y, drawn["fast"].low, drawn["fast"].high) == ([500], [100], [99], [101])
    assert {name: layer.text for name, layer in drawn.items() if layer.text} == {
        "fast": [""], "lean": [""], "as lean": [""], "worse": ["beaten"],
    }  # fmt: skip
    assert (drawn["front"].x, drawn["front"].y, drawn["front"].style) == ([300, 500], [60, 100], "reference")


def test_a_configuration_keeps_its_place_in_the_pictures_of_all_sizes() -> None:
    four, two = (
        rivals(made("a", 100, 2000), made("b", 50, 1500)),
        rivals(made("c", 70, 1800), made("b", 40, 1000), ranks=2),
    )
    charts = charts_of([four, two])
    assert [[layer.name for layer in chart.layers if layer.style != "reference"] for chart in charts] == [
        ["a", "b", "c"]
    ] * 2
    assert charts[0].layers[2].x == []
    assert charts[0].layers[0].x == [2.0], "GB"
    assert len(charts_of([four] * 5)) == 3


def test_energy_is_compared_where_its_intervals_are_apart() -> None:
    def energy(*members: Configuration) -> Chart:
        return next(chart for chart in charts_of([rivals(*members)]) if chart.id == "strategies.energy")

    apart = energy(made("a", 100, 300, joules=2.0), made("b", 50, 200, joules=1.0), made("c", 50, 200))
    assert apart.title == "b needs 50.0 % less energy a sample than a at 4 ranks"
    assert (apart.layers[0].x, apart.layers[0].y, apart.y.unit) == (["b", "a"], [1.0, 2.0], "J")
    close = energy(made("a", 100, 300, joules=0.011), made("b", 50, 200, joules=0.010))
    assert close.title == "Energy a sample differs by nothing measurable at 4 ranks, least with b and most with a"
    assert close.layers[0].y == [10, 11], "mJ"
    assert not [
        chart for chart in charts_of([rivals(made("a", 9, 9, joules=1.0), made("b", 5, 5))]) if chart.kind == "bars"
    ]


def test_a_section_of_two_jobs() -> None:
    """60 ms of compute and 20 ms blocked in a step of 100 or 200 ms, 8 samples a rank."""
    result = conclude([job("ddp"), job("fsdp2", step=200, memory=(90, 80))], ScalingOptions())
    assert result is not None
    table = dict(result.tables["strategies"].columns)
    assert table["configuration"] == ["ddp", "fsdp2"]
    assert table["throughput"] == pytest.approx([160, 80])
    assert table["peak_memory_bytes"] == [120e6, 90e6]
    assert table["on_front"] == [True, True]
    assert table["energy_per_sample_j"] == [None, None]
    metrics = {metric.id: (metric.value, metric.note) for metric in result.metrics}
    assert metrics == {
        "strategies.fastest": ("ddp", "160 samples/s at 2 ranks"),
        "strategies.least_memory": ("fsdp2", "90 MB a rank at 2 ranks"),
    }
    time = result.charts[-1]
    assert time.title == "Of 25 ms a sample fsdp2 loses 15 ms to idle time at 2 ranks; ddp loses 5 ms of 12.5 ms in all"
    assert [sum(values) for values in zip(*(layer.y for layer in time.layers), strict=True)] == pytest.approx(
        [12.5, 25]
    )
    assert not result.findings
    assert any("RSS" in caveat for caveat in result.caveats)
    assert any("power was not recorded" in caveat for caveat in result.caveats)
    assert any("ran once" in caveat for caveat in result.caveats)


def test_one_run_or_one_configuration_makes_no_section() -> None:
    assert conclude([job("ddp")], ScalingOptions()) is None
    assert conclude([job("ddp"), job("ddp", ranks=4)], ScalingOptions()) is None


def test_what_cannot_be_known_is_said() -> None:
    views = [job("ddp", memory=()), job("fsdp2", samples=8), job("single", ranks=1), job("zero", samples=float("nan"))]
    result = conclude(views, ScalingOptions())
    assert result is not None
    assert "memory of ddp was not recorded" in result.caveats
    assert any(caveat.startswith("single (1 rank) is not compared: no other") for caveat in result.caveats)
    assert any(
        caveat == "zero (2 ranks) is not compared: its samples per step are unknown" for caveat in result.caveats
    )
    assert [chart.kind for chart in result.charts] == ["stacked_bars"], "one point is no picture"


def section(report: Report) -> Result:
    return next(section for section in report.comparison if section.name == "strategies")


@pytest.fixture(scope="module")
def emulated() -> Report:
    """All recorded strategies, and the studies of strong and weak scaling of another model."""
    return analyze(sorted(SAMPLES.glob("emulated-*")))


def test_the_recorded_strategies_are_compared_at_their_sizes(emulated: Report) -> None:
    table = emulated.tables["strategies"].set_index(["configuration", "ranks"])
    assert len(table) == 17
    four = table.xs(4, level="ranks")
    assert set(four.index) == {
        "ddp", "ddp+fp16", "ddp+powersgd", "ddp+syncbn", "fsdp2", "fsdp2+tp", "pp-1f1b", "pp-gpipe", "tp",
    }  # fmt: skip
    assert four["throughput"]["ddp+powersgd"] == pytest.approx(32.7, abs=0.1)
    assert four["throughput"]["fsdp2"] == pytest.approx(11.9, abs=0.1)
    assert list(four.index[~four["on_front"].astype(bool)]) == ["ddp+syncbn", "fsdp2+tp", "fsdp2"]
    assert set(four["memory_of"]) == {"process"}
    assert four["peak_memory_bytes"].between(250e6, 400e6).all()
    assert four["efficiency"]["ddp"] == pytest.approx(0.684, abs=0.001)


def test_where_each_recorded_strategy_loses_its_time(emulated: Report) -> None:
    """1,600 ms of compute for 16 samples: 100 ms a sample and rank, whatever the strategy."""
    result = section(emulated)
    assert [chart.kind for chart in result.charts] == ["scatter", "scatter", "stacked_bars", "lines"]
    assert result.charts[2].title == (
        "Of 337 ms a sample fsdp2 loses 194 ms to exposed transfer at 4 ranks; ddp+powersgd loses 22 ms of 122 ms in all"
    )
    compute = next(layer for layer in result.charts[2].layers if layer.name == "Compute")
    assert compute.y == pytest.approx([100] * 9, rel=0.02)
    assert result.headline == (
        "pp-1f1b needs 16.9 % less memory than ddp+powersgd but does 26.3 % fewer samples a second at 4 ranks"
    )
    fastest = emulated.metric("strategies.fastest")
    assert fastest is not None
    assert fastest.value == "ddp+powersgd"
    assert fastest.note == "32.7 samples/s at 4 ranks, not measurably more than ddp+fp16"
    assert any(caveat.startswith("the compute of these runs is emulated") for caveat in result.caveats)


def test_two_ranks_on_one_gpu_have_its_memory_and_energy_once() -> None:
    """From the energy counter of the one H200 between the two samples: 107.3 J in 0.589 s, a step of 16.7 ms for 4,096 samples."""
    report = analyze(sorted(SAMPLES.glob("nccl-*")))
    table = report.tables["strategies"].set_index("configuration")
    assert set(table.index) == {"ddp+fp16", "nccl-ddp-light", "nccl-ddp-timeline", "nccl-late-timeline"}
    assert table["peak_memory_bytes"]["nccl-ddp-timeline"] == pytest.approx(4054646784)
    expected = (8670.468 - 8563.137) / (75.301825748 - 74.713156564) * 16.6865e-3 / 4096
    assert table["energy_per_sample_j"]["nccl-ddp-timeline"] == pytest.approx(expected, rel=1e-3)
    assert not table["on_front"]["nccl-late-timeline"]
    caveats = section(report).caveats
    assert any("ranks 0, 1 share a GPU" in caveat for caveat in caveats)
    assert any(caveat.startswith("energy of nccl-ddp-light, nccl-late-timeline is unknown") for caveat in caveats)
    assert report.metric("strategies.least_energy") is None, "the intervals overlap"
