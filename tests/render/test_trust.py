"""How the law of a study is drawn: solid where it was measured, dashed and dotted beyond, and each piece named."""

import math

from scaleprof.render.charts import data_of, spec_of
from scaleprof.results import Axis, Chart, Layer

RANKS = [1.0, 1.41, 2.0, 2.83, 4.0]


def chart() -> Chart:
    layers = [
        Layer("Amdahl's law", RANKS, [1.0, 0.95, 0.9, 0.8, 0.7], [0.9] * 5, [1.1] * 5, style="fit"),
        Layer("predicted", [4, 6, 8], [0.7, 0.6, 0.5], [0.6, 0.5, 0.4], [0.8, 0.7, 0.6], style="predicted"),
        Layer("indicative", [8, 16, 32], [0.5, 0.4, 0.3], [0.4, 0.2, 0.1], [0.6, 0.5, 0.5], style="indicative"),
        Layer("speculative", [32, 45, 64], [0.3, 0.25, 0.2], [0.1] * 3, [0.5] * 3, style="speculative"),
        Layer("measured", [1, 2, 4], [1.0, 0.9, 0.7], [1.0, 0.89, 0.68], [1.0, 0.91, 0.72], style="marks"),
        Layer("target", [1, 2, 4], [0.8] * 3, style="reference"),
    ]
    return Chart(
        "c", "lines", "t", "s", Axis("ranks", scale="log2"), Axis("efficiency", "share", from_zero=True), tuple(layers)
    )


def test_each_piece_has_its_stroke_shade_and_name() -> None:
    spec = spec_of(chart())
    strokes = {trace["name"]: trace["line"]["dash"] for trace in spec["data"] if "hovertemplate" in trace}
    assert strokes == {"predicted": "solid", "indicative": "dash", "speculative": "dot", "measured": "solid"}
    shades = [shape for shape in spec["layout"]["shapes"] if shape["type"] == "rect"]
    assert [(shade["x0"], shade["x1"]) for shade in shades] == [(4, 8), (8, 32), (32, 64)]
    assert [shade["opacity"] for shade in shades] == sorted(shade["opacity"] for shade in shades)
    places = {text["text"]: text["x"] for text in spec["layout"]["annotations"]}
    assert places["indicative"] == math.log10(16)  # the middle of 8 and 32, as an exponent
    assert not any(trace["showlegend"] for trace in spec["data"])


def test_what_was_measured_is_points_with_their_intervals() -> None:
    [measured] = [trace for trace in spec_of(chart())["data"] if trace["name"] == "measured"]
    assert measured["mode"] == "markers"
    assert measured["error_y"]["array"] == [0.0, 1.0, 2.0]


def test_ticks_stand_at_sizes_and_their_doublings() -> None:
    assert spec_of(chart())["layout"]["xaxis"]["tickvals"] == [1, 2, 4, 8, 16, 32, 64]


def test_the_data_has_whole_sizes_only() -> None:
    table = data_of(chart())
    assert [x for name, x in zip(table["series"], table["ranks"], strict=True) if name == "Amdahl's law"] == [1, 2, 4]
