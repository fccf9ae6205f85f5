"""A report goes through JSON and comes back the same; its tables and figures are found by name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scaleprof.errors import BrokenFile
from scaleprof.results import Report, SeriesOfRuns, Table, Variant
from tests.render.made import REPORTS, minimal, single, study


@pytest.mark.parametrize("name", REPORTS)
def test_a_saved_report_is_loaded_as_it_was(name: str, tmp_path: Path) -> None:
    report = REPORTS[name]()
    report.save(tmp_path / "report.json")
    loaded = Report.load(tmp_path / "report.json")
    assert loaded.to_dict() == report.to_dict()


def selectable() -> Report:
    """A report whose first section reads otherwise where a series or a run is selected."""
    report = study()
    first, *rest = report.comparison
    alone = replace(first, charts=tuple(replace(chart, id=f"{chart.id}.of-weak") for chart in first.charts))
    variants = (Variant(alone, series="weak"), Variant(replace(first, headline="Of one run."), run=1))
    return replace(
        report,
        comparison=(replace(first, variants=variants), *rest),
        series=(SeriesOfRuns("weak", "weak scaling", (0, 1)),),
    )


def test_what_can_be_selected_is_saved_and_loaded(tmp_path: Path) -> None:
    report = selectable()
    report.save(tmp_path / "report.json")
    loaded = Report.load(tmp_path / "report.json")
    assert loaded.series == report.series
    assert [(one.series, one.run, one.result.headline) for one in loaded.comparison[0].variants] == [
        ("weak", None, report.comparison[0].headline),
        ("", 1, "Of one run."),
    ]
    assert loaded.to_dict() == report.to_dict()


def test_figures_of_what_can_be_selected_are_found_by_their_names() -> None:
    report = selectable()
    [chart, *_] = report.comparison[0].charts
    found = list(report.figures)
    assert chart.id in found
    assert f"{chart.id}.of-weak" in found
    assert f"{report.runs[1].info.name}/{chart.id}" in found


def test_a_loaded_report_renders_alike(tmp_path: Path) -> None:
    report = study()
    report.save(tmp_path / "report.json")
    loaded = Report.load(tmp_path / "report.json")
    assert loaded.to_html() == report.to_html()
    assert loaded.to_markdown() == report.to_markdown()


def test_the_meaning_of_a_heatmaps_color_is_kept(tmp_path: Path) -> None:
    single().save(tmp_path / "report.json")
    charts = [chart for section in Report.load(tmp_path / "report.json").runs[0].sections for chart in section.charts]
    heat = next(chart for chart in charts if chart.kind == "heatmap")
    assert heat.z is not None
    assert heat.z.unit == "share"
    assert all(chart.z is None for chart in charts if chart.kind != "heatmap")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": "other"}',
        '{"format": "scaleprof-report"}',
        '{"format": "scaleprof-report", "runs": 3}',
    ],
)
def test_a_file_that_is_no_report_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(BrokenFile, match=r"report\.json"):
        Report.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match="absent"):
        Report.load(tmp_path / "absent.json")


def test_a_number_that_is_none_comes_back_absent(tmp_path: Path) -> None:
    REPORTS["evil"]().save(tmp_path / "report.json")
    found = Report.load(tmp_path / "report.json").metric("n")
    assert found is not None
    assert found.value is None


def test_metrics_are_found_by_id() -> None:
    report = study()
    found = report.metric("scaling.strong.efficiency")
    assert found is not None
    assert found.value == pytest.approx(0.678, abs=1e-3)
    assert report.metric("nothing") is None
    in_run = report.runs[2].metric("time.overlap_ratio")
    assert in_run is not None
    assert in_run.value == 0.412
    assert minimal().metric("step.time_ms") is None


def test_tables_of_runs_are_joined_with_their_run_in_front() -> None:
    report = study()
    assert next(iter(report.tables)) == "grouping"
    frame = report.tables["steps"]
    assert list(frame.columns[:3]) == ["run", "world_size", "step"]
    assert len(frame) == 6 * 24
    assert len(report.tables["scaling"]) == 6
    assert len(report.tables["grouping"]) == 14
    with pytest.raises(KeyError, match="there are: grouping"):
        report.tables["nothing"]


def test_figures_are_found_by_run_and_id() -> None:
    report = study()
    assert "scaling.efficiency" in report.figures
    assert len(report.figures) == len(list(report.figures))
    figure = report.figures["strong-4/ranks.heatmap"]
    assert figure.data[0].type == "heatmap"
    assert "Rank 1 is busy longest" in figure.layout.title.text


def test_columns_of_a_table_are_equally_long() -> None:
    with pytest.raises(AssertionError, match="different lengths"):
        Table({"a": [1], "b": [1, 2]})


def test_json_holds_no_number_that_json_does_not_know() -> None:
    for make in REPORTS.values():
        json.dumps(make().to_dict(), allow_nan=False)
