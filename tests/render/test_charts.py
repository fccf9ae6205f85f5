"""Charts as figures: plotly takes them, text is inert, and the data table keeps every number."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from scaleprof.render.charts import data_of, figure_of, has_something_to_draw, in_shares, plotly_version, spec_of
from scaleprof.render.palette import LIGHT
from scaleprof.results import Axis, Chart, Layer, Report
from tests.render.made import REPORTS
from tests.render.made_comparison import overview, scaling_charts
from tests.render.made_evil import EVIL, evil_charts
from tests.render.made_runs import ranks_section, stacked


def charts_of(report: Report) -> Iterator[Chart]:
    for section in [*report.comparison, *(section for run in report.runs for section in run.sections)]:
        yield from section.charts


def chart(kind: str, *layers: Layer, x: Axis | None = None, y: Axis | None = None) -> Chart:
    return Chart("c", kind, "Title", "", x or Axis("x"), y or Axis("y", from_zero=True), layers)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", REPORTS)
def test_plotly_accepts_every_figure(name: str) -> None:
    for one in charts_of(REPORTS[name]()):
        figure = figure_of(one)
        assert len(figure.data) == len(spec_of(one)["data"])
        json.dumps(spec_of(one), allow_nan=False)
    assert plotly_version()


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)


def test_no_string_of_a_trace_is_markup_for_plotly() -> None:
    for one in evil_charts():
        for text in strings(spec_of(one)):
            bare = (
                text.replace("<b>", "")
                .replace("</b>", "")
                .replace("<br>", "")
                .replace("<extra>", "")
                .replace("</extra>", "")
            )
            assert "<" not in bare, text


def test_only_palette_colors_are_drawn() -> None:
    def colors(value: object) -> Iterator[str]:
        return (text for text in strings(value) if text.startswith("#"))

    for one in charts_of(REPORTS["study"]()):
        assert set(colors(spec_of(one))) <= set(LIGHT.values())


def test_a_waterfall_hangs_each_bar_on_the_one_before() -> None:
    [losses] = overview().charts
    [trace] = spec_of(losses)["data"]
    assert trace["type"] == "bar"
    # Exposed memory is zero and not drawn.
    assert spec_of(losses)["layout"]["yaxis"]["ticktext"] == [
        "4 ranks paid for",
        "Exposed communication",
        "Idle",
        "Useful work",
    ]
    assert trace["base"][:2] == [0, 4]
    assert trace["base"][2] == pytest.approx(trace["base"][1] + trace["x"][1], rel=1e-5)
    assert trace["base"][3] == 0
    assert trace["x"][3] == pytest.approx(trace["base"][2] + trace["x"][2], rel=1e-5)
    assert trace["marker"]["color"] == [LIGHT[name] for name in ("total", "exposed_comm", "idle", "compute")]
    assert spec_of(losses)["layout"]["annotations"][1]["text"] == "<b>−1.02</b>  25.4 %"


def test_a_last_change_that_is_no_sum_hangs_too() -> None:
    [trace] = spec_of(chart("waterfall", Layer("w", ["whole", "part"], [4.0, -1.0])))["data"]
    assert trace["base"] == [0, 4]


def test_sizes_are_ticks_of_a_logarithmic_axis_and_lines_are_labelled_at_their_ends() -> None:
    figure = spec_of(scaling_charts()[1])
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert figure["layout"]["xaxis"]["ticktext"] == ["1", "2", "4"]
    assert not figure["layout"]["showlegend"]
    texts = [label["text"] for label in figure["layout"]["annotations"]]
    assert texts == ["target 80 %", "<b>strong scaling</b>", "<b>weak scaling</b>"]
    [target] = figure["layout"]["shapes"]
    assert (target["y0"], target["line"]["dash"]) == (80, "dash")
    assert [trace["fill"] for trace in figure["data"] if "fill" in trace] == ["toself", "toself"]


def test_labels_at_the_ends_do_not_overlap() -> None:
    layers = [Layer(f"rank {rank}", [0, 1], [1.0, 1.0 + rank / 1000]) for rank in range(8)]
    layout = spec_of(chart("lines", *layers))["layout"]
    height = layout["height"] - layout["margin"]["t"] - layout["margin"]["b"]
    places = sorted(label["y"] * height for label in layout["annotations"])
    assert all(after - before >= 15.9 for before, after in pairwise(places))
    assert places[-1] <= height + 0.1


def test_of_very_many_lines_the_two_ends_are_named_and_the_others_stand_back() -> None:
    layers = [Layer(f"series {place}", [1, 2], [10.0, 10.0 - place], [9.0] * 2, [11.0] * 2) for place in range(12)]
    figure = spec_of(chart("lines", *layers[1:], layers[0]))
    assert not figure["layout"]["showlegend"]
    assert [label["text"] for label in figure["layout"]["annotations"]] == ["<b>series 11</b>", "<b>series 0</b>"]
    aside = [trace for trace in figure["data"] if trace["line"]["color"] == LIGHT["muted"]]
    assert [trace["name"] for trace in aside] == [f"series {place}" for place in range(1, 11)]
    assert all(trace["mode"] == "lines" and trace["hovertemplate"] for trace in aside)
    assert sum("fill" in trace for trace in figure["data"]) == 2, "only the ends have bands"
    assert figure["data"][-1]["name"] == "series 0", "the ends lie on top"


def test_a_warm_up_step_does_not_press_the_steady_ones_to_the_ground() -> None:
    steady = Layer("steady", [2, 3], [15.0, 14.5])
    figure = spec_of(chart("lines", steady, Layer("left out", [0, 1], [315.0, 20.0], color="muted")))
    high = figure["layout"]["yaxis"]["range"][1]
    assert 15 < high < 50
    marks = figure["data"][1]
    assert (marks["y"], marks["customdata"]) == ([high, 20], [315, 20])
    assert marks["marker"]["symbol"] == ["triangle-up-open", "circle-open"]
    assert "customdata" in marks["hovertemplate"]
    near = spec_of(chart("lines", steady, Layer("left out", [0, 1], [40.0, 20.0], color="muted")))
    assert near["layout"]["yaxis"]["range"][1] > 40
    assert near["data"][1]["y"] == [40, 20]


def test_very_many_bars_are_solid_and_named_by_number() -> None:
    ranks = [f"rank {rank}" for rank in range(1024)]
    figure = spec_of(
        chart(
            "stacked_bars",
            Layer("a", ranks, [1.0] * 1024),
            Layer("b", ranks, [0.5] * 1024),
            x=Axis("rank", scale="category"),
        )
    )
    axis = figure["layout"]["xaxis"]
    assert (axis["ticktext"][:2], axis["tickangle"], figure["layout"]["bargap"]) == (["0", "40"], 0, 0)
    assert figure["data"][0]["marker"]["line"]["width"] == 0
    few = spec_of(chart("stacked_bars", Layer("a", ["1 rank", "2 ranks"], [1.0, 2.0]), Layer("b", ["1 rank"], [1.0])))
    assert few["layout"]["xaxis"]["ticktext"] == ["1 rank", "2 ranks"]


def test_bandwidths_are_drawn_in_the_unit_that_they_are_told_in() -> None:
    slow = chart(
        "lines",
        Layer("l", [0.01, 0.05], [0.02, None], [0.01, None], [0.03, None]),
        x=Axis("bus", "GB/s"),
        y=Axis("link", "GB/s"),
    )
    trace = spec_of(slow)["data"][-1]
    assert (trace["x"], trace["y"]) == ([10, 50], [20, None])
    assert spec_of(slow)["layout"]["xaxis"]["title"]["text"] == "Bus (MB/s)"
    assert spec_of(slow)["layout"]["yaxis"]["title"]["text"] == "Link (MB/s)"
    fast = chart("lines", Layer("l", [0.01, 12.0], [1.0, 2.0]), x=Axis("bus", "GB/s"))
    assert spec_of(fast)["data"][-1]["x"] == [0.01, 12]
    assert data_of(slow).columns["bus"] == [0.01, 0.05]


def test_lines_that_end_apart_get_a_legend_and_left_out_points_are_marks() -> None:
    figure = spec_of(
        chart("lines", Layer("steady", [3, 4], [1.0, 1.0]), Layer("left out", [0, 1], [2.0, 2.0], color="muted"))
    )
    assert figure["layout"]["showlegend"]
    assert figure["data"][1]["mode"] == "markers"


def test_few_steps_are_ticks_themselves() -> None:
    assert spec_of(chart("lines", Layer("steady", [10], [14.5]), x=Axis("step")))["layout"]["xaxis"]["tickvals"] == [10]


def test_labels_of_one_chart_share_a_unit() -> None:
    figure = spec_of(
        stacked("s", "t", ["1 rank", "2 ranks"], [(1613.2, 0.0, 0.0, 12.4), (800.0, 40.0, 0.0, 10.0)], "ranks")
    )
    assert [label["text"] for label in figure["layout"]["annotations"]] == ["<b>1,626 ms</b>", "<b>850 ms</b>"]
    assert figure["data"][0]["text"] == ["1,613", "800"]


def test_shares_are_drawn_in_percent_and_kept_as_they_are_in_the_data() -> None:
    efficiency = scaling_charts()[1]
    strong = next(trace for trace in spec_of(efficiency)["data"] if trace["name"] == "strong scaling")
    assert strong["y"][0] == 100
    table = data_of(efficiency)
    assert table["efficiency (share)"][0] == 1.0
    assert list(table.columns) == ["series", "ranks", "efficiency (share)", "low", "high"]


def test_stacks_carry_their_sums_and_drop_classes_without_time() -> None:
    one = stacked("s", "t", ["1 rank", "2 ranks"], [(400.0, 0.0, 0.0, 12.4), (200.0, 20.0, 0.0, 10.0)], "ranks")
    figure = spec_of(one)
    assert [trace["name"] for trace in figure["data"]] == ["Compute", "Exposed communication", "Idle"]
    assert [label["text"] for label in figure["layout"]["annotations"]] == ["<b>412 ms</b>", "<b>230 ms</b>"]
    assert figure["data"][0]["text"] == ["400", "200"]
    assert figure["data"][2]["text"] == ["", ""]
    assert figure["data"][0]["orientation"] == "v"
    assert (
        spec_of(stacked("s", "t", ["rank 0", "rank 1"], [(1.0, 1.0, 0.0, 0.0)] * 2, "rank"))["data"][0]["orientation"]
        == "h"
    )


def test_names_that_look_like_numbers_keep_their_places() -> None:
    figure = spec_of(chart("bars", Layer("n", ["7", "3", "7.5"], [1.0, 2.0, 3.0])))
    assert figure["layout"]["xaxis"]["ticktext"] == ["7", "3", "7.5"]
    assert figure["data"][0]["x"] == [0, 1, 2]


def test_a_deviation_has_a_neutral_middle_and_far_cells_do_not_wash_it_out() -> None:
    [heat] = ranks_section("strong", 4).charts
    trace = spec_of(heat)["data"][0]
    assert trace["zmin"] == -trace["zmax"]
    assert trace["colorscale"][2] == [0.5, LIGHT["middle"]]
    assert trace["z"][0][5] is None
    cells: list[list[float | None]] = [[0.01] * 99 + [5.0]]
    figure = spec_of(chart("heatmap", Layer("h", list(range(100)), ["rank 0"], z=cells)))
    assert figure["data"][0]["zmax"] < 1
    assert "beyond" in figure["layout"]["annotations"][0]["text"]


def test_many_ranks_draw_without_texts() -> None:
    names = [f"rank {rank}" for rank in range(1024)]
    figure = spec_of(
        chart("stacked_bars", Layer("Compute", names, [1.0] * 1024), Layer("Idle", names, [0.2] * 1024), x=Axis("rank"))
    )
    assert len(figure["layout"]["xaxis"]["ticktext"]) <= 30
    assert figure["layout"]["annotations"] == []


def test_a_chart_without_values_is_not_drawn() -> None:
    assert not has_something_to_draw(chart("lines"))
    assert not has_something_to_draw(chart("bars", Layer("n", ["a"], [None])))
    assert not has_something_to_draw(chart("heatmap", Layer("n", [], [], z=[])))


def test_the_data_of_a_heatmap_has_a_row_per_cell() -> None:
    [heat] = ranks_section("strong", 2).charts
    table = data_of(heat)
    assert list(table.columns) == ["rank", "step", "from the median"]
    assert len(table) == 48
    assert EVIL in data_of(evil_charts()[0]).columns


def test_a_sum_stands_beside_every_bar_inside_the_axis() -> None:
    # One ulp of rounding beyond the end of the axis, and plotly leaves an annotation out.
    sums = [63.921_640_125, 63.921_712_5, 63.921_77, 63.921_801_375]
    names = [f"rank {rank}" for rank in range(4)]
    spec = spec_of(stacked("t", "T", names, [(40.0, total - 40.0, 0.0, 0.0) for total in sums], "rank"))
    low, high = spec["layout"]["xaxis"]["range"]
    assert len(spec["layout"]["annotations"]) == 4
    assert all(low <= annotation["x"] <= high for annotation in spec["layout"]["annotations"])


def test_segments_have_the_decimals_of_the_sum() -> None:
    spec = spec_of(stacked("t", "T", ["1 rank"], [(40.0, 8.159, 14.75, 0.0)], "ranks"))
    assert [trace["text"] for trace in spec["data"]] == [["40.0"], ["8.2"], ["14.8"]]


def test_a_heatmap_has_margins_marks_and_says_what_a_place_is() -> None:
    [heat] = ranks_section("strong", 4).charts
    figure = spec_of(heat)
    _, steady, grey, means, rings = figure["data"]
    assert [trace["type"] for trace in figure["data"]] == ["heatmap", "bar", "bar", "bar", "scatter"]
    assert (steady["x"], grey["x"]) == (list(range(3, 24)), [0, 1, 2])
    assert grey["marker"]["color"] == LIGHT["line"]
    assert (means["y"], means["x"]) == ([0, 1, 2, 3], [0.0, 9.0, 0.0, 0.0])
    assert (rings["x"], rings["y"]) == ([7], [1])
    layout = figure["layout"]
    [veil] = layout["shapes"]
    assert (veil["x0"], veil["x1"]) == (-0.5, 2.5)
    assert layout["meta"]["ranks"] == [0, 1, 2, 3]
    assert layout["meta"]["steps"] == list(range(24))
    assert layout["meta"]["order"] == [1, 0, 2, 3]
    # The cells end where the bars beside them begin, and under the bars above them.
    assert layout["xaxis"]["domain"][1] < layout["xaxis2"]["domain"][0]
    assert layout["yaxis"]["domain"][1] < layout["yaxis2"]["domain"][0]
    assert [label["text"] for label in layout["annotations"] if label.get("name") == "row"] == [
        "0.0 %",
        "+9.0 %",
        "0.0 %",
        "0.0 %",
        "rank 1, step 7: +11.0 %",
    ]


def test_columns_that_do_not_count_do_not_stretch_the_colors() -> None:
    cells: list[list[float | None]] = [[0.5, 0.1, -0.1, 0.1]]
    grey = Layer("not steady", [0], [9.0], color="muted", style="above")
    figure = spec_of(
        chart("heatmap", Layer("h", [0, 1, 2, 3], ["rank 0"], z=cells), grey, x=Axis("step"), y=Axis("rank"))
    )
    assert figure["data"][0]["zmax"] == 0.1


def tree() -> Chart:
    rows: dict[str, list[float | None]] = {
        "Scaling efficiency": [1.0, 0.684],
        "Parallel efficiency": [0.98, 0.67],
        "  wait efficiency": [1.0, None],
    }
    layer = Layer("efficiency", ["1", "4"], list(rows), z=list(rows.values()), style="factors")
    axes = {"x": Axis("ranks", scale="category"), "y": Axis("", scale="category"), "z": Axis("efficiency", "share")}
    return Chart("hierarchy.ddp", "heatmap", "Title", "", layers=(layer,), **axes)  # type: ignore[arg-type]


def test_factors_are_printed_in_a_tree_and_all_tables_share_their_colors() -> None:
    figure = spec_of(tree())
    [trace] = figure["data"]
    assert trace["text"] == [["100.0 %", "68.4 %"], ["98.0 %", "67.0 %"], ["100.0 %", ""]]
    assert not trace["showscale"]
    assert (trace["zmin"], trace["zmax"]) == (0.5, 1.2)
    assert [round(0.5 + 0.7 * at, 6) for at, shade in trace["colorscale"] if shade == LIGHT["loss-0"]] == [1.0, 1.02]
    head, first, _, third = figure["layout"]["annotations"]
    assert (head["text"], first["text"], third["text"]) == ("Ranks", "<b>Scaling efficiency</b>", "wait efficiency")
    assert third["xshift"] - first["xshift"] == 16
    assert figure["layout"]["height"] == 3 * 27 + 38


def test_long_heads_of_a_table_are_slanted() -> None:
    names = [f"emulated-ddp-syncbn-{number} (4)" for number in range(12)]
    cells: list[list[float | None]] = [[0.9] * 12]
    layout = spec_of(chart("heatmap", Layer("h", list(names), ["Scaling efficiency"], z=cells, style="factors")))[
        "layout"
    ]
    assert layout["xaxis"]["tickangle"] == -35
    assert layout["margin"]["t"] > 100


def test_a_span_is_shaded_and_drawn_as_no_line() -> None:
    figure = spec_of(
        chart(
            "lines",
            Layer("rank 0", [0, 1, 2], [1.0, 2.0, 1.0]),
            Layer("profiled steps", [0.5, 1.5], [None, None], style="span"),
        )
    )
    assert len(figure["data"]) == 1
    [span] = figure["layout"]["shapes"]
    assert (span["x0"], span["x1"], span["type"]) == (0.5, 1.5, "rect")
    assert figure["layout"]["annotations"][-1]["text"] == "profiled steps"


def test_stacked_times_can_be_shown_as_shares_of_their_bars() -> None:
    layers = (Layer("compute", ["a", "b"], [30.0, 5.0]), Layer("idle", ["a", "b"], [10.0, 15.0]))
    chart = Chart("x", "stacked_bars", "t", "", Axis("run", scale="category"), Axis("time", "ms"), layers)
    shares = in_shares(chart)
    assert shares is not None
    assert [layer.y for layer in shares.layers] == [[0.75, 0.25], [0.25, 0.75]]
    assert shares.y.unit == "share"
    assert in_shares(replace(chart, kind="bars")) is None
    assert in_shares(replace(chart, y=Axis("bytes", "bytes"))) is None
    for bad in ([-1.0, 1.0], [0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]):
        assert in_shares(replace(chart, layers=(replace(layers[0], y=bad),))) is None
