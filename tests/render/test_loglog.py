"""Charts with two logarithmic axes: ticks that can be read, marks above lines above references, nothing that has no logarithm."""

import json

import pytest

from scaleprof.render.charts import data_of, figure_of, spec_of
from scaleprof.render.palette import LIGHT
from scaleprof.results import Axis, Chart, Layer
from tests.render.made_evil import EVIL


def chart(*layers: Layer) -> Chart:
    return Chart("c", "loglog", "Title", "", Axis("size", "bytes", "log10"), Axis("speed", "GB/s", "log10"), layers)


MARKS = Layer("measured", [4096.0, 1e6, 1e9], [0.2, 15.0, 99.0], color="series-1", style="marks", text=["1", "2", "3"])
FIT = Layer("measured, fit", [4096.0, 1e9], [0.25, 95.0], color="series-1")
REFERENCE = Layer("reference", [1e3, 1e10], [0.1, 200.0], style="reference")


def test_both_axes_are_logarithmic_and_powers_of_ten_are_ticks() -> None:
    layout = spec_of(chart(MARKS, FIT))["layout"]
    assert (layout["xaxis"]["type"], layout["yaxis"]["type"]) == ("log", "log")
    assert layout["xaxis"]["ticktext"] == ["10 kB", "", "1 MB", "", "100 MB", ""]
    assert layout["xaxis"]["tickvals"] == [1e4, 1e5, 1e6, 1e7, 1e8, 1e9]
    assert layout["yaxis"]["tickvals"] == [1, 10, 100]


def test_few_decades_have_ticks_between() -> None:
    layout = spec_of(chart(Layer("a", [1e6, 2e7], [1.0, 9.0], style="marks")))["layout"]
    assert layout["yaxis"]["tickvals"] == [1, 2, 5, 10]
    assert layout["xaxis"]["ticktext"] == ["1 MB", "2 MB", "5 MB", "10 MB", "20 MB"]


def test_less_than_a_decade_has_three_ticks() -> None:
    layout = spec_of(chart(Layer("a", [1e6, 2e7], [19.4, 38.2], style="marks")))["layout"]
    assert layout["yaxis"]["tickvals"] == [20, 30, 40]


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.01], [1e-9, 1e12]])
def test_every_range_has_a_tick_and_not_too_many(values: list[float]) -> None:
    layout = spec_of(chart(Layer("a", values, values, style="marks")))["layout"]
    assert 1 <= len(layout["yaxis"]["tickvals"]) <= 6
    low, high = layout["yaxis"]["range"]
    assert low < high


def test_marks_lie_on_lines_lie_on_references_and_only_what_needs_a_name_is_in_the_legend() -> None:
    traces = spec_of(chart(MARKS, FIT, REFERENCE))["data"]
    assert [trace["name"] for trace in traces] == ["reference", "measured, fit", "measured"]
    assert [trace["mode"] for trace in traces] == ["lines", "lines", "markers"]
    assert [trace["showlegend"] for trace in traces] == [True, False, True]
    assert [trace["line"]["dash"] for trace in traces] == ["dash", "solid", "solid"]
    assert {trace["line"]["color"] for trace in traces} <= set(LIGHT.values())
    assert traces[0]["legendrank"] > traces[2]["legendrank"]


def test_what_has_no_logarithm_is_left_out() -> None:
    [trace] = spec_of(chart(Layer("a", [0.0, 10.0, 20.0, 30.0], [1.0, float("nan"), -1.0, 4.0], style="marks")))["data"]
    assert (trace["x"], trace["y"]) == ([30.0], [4.0])


def test_an_evil_name_is_no_markup_and_plotly_takes_the_figure() -> None:
    one = chart(Layer(EVIL, [1.0, 10.0], [1.0, 2.0], style="marks", text=[EVIL, EVIL]))
    assert len(figure_of(one).data) == 1
    assert "<img" not in json.dumps(spec_of(one))
    assert len(data_of(one)) == 2
