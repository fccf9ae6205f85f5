"""Points over two amounts: drawn where they are, each with its interval, a colour and shape of its own and its name beside it."""

import json
from itertools import combinations
from typing import Any

import pytest

from scaleprof.render.charts import data_of, figure_of, spec_of
from scaleprof.render.figures.scatter import LEFT, RIGHT, SIZE, WIDTHS
from scaleprof.render.palette import LIGHT
from scaleprof.results import Axis, Chart, Layer
from tests.render.made_scatter import FRONT, POINTS, scatter_chart

Box = tuple[float, float, float, float]


def labels_of(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name to its label."""
    return {label["text"].split("</b>")[0].removeprefix("<b>"): label for label in spec["layout"]["annotations"]}


def marks_of(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {trace["name"]: trace for trace in spec["data"] if trace["mode"] == "markers"}


def test_every_point_lies_where_it_was_measured_with_its_interval() -> None:
    spec = spec_of(scatter_chart())
    marks = marks_of(spec)
    assert {name: (mark["x"], mark["y"]) for name, mark in marks.items()} == {
        name: ([memory], [rate]) for name, (memory, rate, _, _) in POINTS.items()
    }
    assert marks["tp"]["error_y"]["array"] == [pytest.approx(1.8)]
    assert marks["tp"]["error_y"]["arrayminus"] == [pytest.approx(1.8)]
    assert len(figure_of(scatter_chart()).data) == len(spec["data"])
    json.dumps(spec, allow_nan=False)


def test_the_front_is_a_stepped_line_under_the_points() -> None:
    line = spec_of(scatter_chart())["data"][0]
    assert (line["x"], line["y"]) == FRONT
    assert (line["line"]["shape"], line["line"]["dash"], line["mode"]) == ("hv", "dash", "lines")


def test_no_two_points_have_both_colour_and_shape_alike() -> None:
    marks = marks_of(spec_of(scatter_chart()))
    looks = [(mark["marker"]["color"], mark["marker"]["symbol"]) for mark in marks.values()]
    assert len(set(looks)) == len(POINTS)
    assert {color for color, _ in looks} <= set(LIGHT.values())


def test_a_point_looks_the_same_where_others_are_missing() -> None:
    whole, part = marks_of(spec_of(scatter_chart())), marks_of(spec_of(scatter_chart(names=("tp", "fsdp2"))))
    assert set(part) == {"tp", "fsdp2"}
    assert all(part[name]["marker"] == whole[name]["marker"] for name in part)


def test_what_is_beaten_is_said_beside_its_name() -> None:
    labels = labels_of(spec_of(scatter_chart()))
    assert set(labels) == set(POINTS)
    assert labels["fsdp2"]["text"] == "<b>fsdp2</b> beaten"
    assert labels["ddp"]["text"] == "<b>ddp</b>"
    assert labels["fsdp2"]["font"]["color"] != labels["ddp"]["font"]["color"]


@pytest.mark.parametrize("width", WIDTHS)
def test_labels_are_free_of_one_another_and_of_the_points_at_every_width(width: int) -> None:
    spec = spec_of(scatter_chart())
    height = spec["layout"]["height"] - spec["layout"]["margin"]["t"] - spec["layout"]["margin"]["b"]

    def place(x: float, y: float) -> tuple[float, float]:
        ends = [spec["layout"][axis]["range"] for axis in ("xaxis", "yaxis")]
        return (x - ends[0][0]) / (ends[0][1] - ends[0][0]) * width, (y - ends[1][0]) / (
            ends[1][1] - ends[1][0]
        ) * height

    boxes: list[Box] = []
    for label in spec["layout"]["annotations"]:
        x, y = place(label["x"], label["y"])
        x, y = x + label.get("xshift", label.get("ax", 0)), y + label.get("yshift", -label.get("ay", 0))
        wide = len(label["text"].replace("<b>", "").replace("</b>", "")) * 6.9
        left = {"left": x, "right": x - wide, "center": x - wide / 2}[label["xanchor"]]
        assert left >= -LEFT and left + wide <= width + RIGHT
        boxes.append((left, left + wide, y - 8, y + 8))
    points = [place(memory, rate) for memory, rate, _, _ in POINTS.values()]
    half = SIZE / 2
    for one, other in combinations(boxes, 2):
        assert not _overlap(one, other)
    for box in boxes:
        assert not any(_overlap(box, (x - half, x + half, y - half, y + half)) for x, y in points)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def test_names_are_no_markup_and_one_point_alone_can_be_drawn() -> None:
    chart = Chart("c", "scatter", "T", "", Axis("x"), Axis("y"), (Layer("a<b>c</b>", [1.0], [2.0], text=["<i>"]),))
    spec = spec_of(chart)
    assert spec["layout"]["annotations"][0]["text"] == "<b>a&lt;b&gt;c&lt;/b&gt;</b> &lt;i&gt;"
    assert spec["data"][0]["name"] == "a&lt;b&gt;c&lt;/b&gt;"
    low, high = spec["layout"]["xaxis"]["range"]
    assert low < 1 < high
    assert "error_y" not in spec["data"][0]


def test_the_data_has_a_row_for_every_point_and_corner() -> None:
    table = data_of(scatter_chart())
    assert len(table) == len(POINTS) + len(FRONT[0])
    assert list(table.columns) == ["series", "peak memory of a rank", "throughput (samples/s)", "low", "high"]
