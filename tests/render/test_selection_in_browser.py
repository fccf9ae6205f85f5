"""What a reader selects: every section follows, the numbers shown are those of the report's JSON, and the address brings it back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scaleprof.pipeline import Options, analyze
from scaleprof.render.tiles import tile_of
from scaleprof.results import Finding, Metric, Report
from tests.render.in_browser import IN_BROWSER, Opener, draw_all

pytestmark = IN_BROWSER
SAMPLES = Path(__file__).parent.parent.parent / "sample_traces"


@pytest.fixture(scope="module")
def report() -> Report:
    """Two series of three sizes, one rank in both; a finding about a rank is added to the largest run."""
    found = analyze(
        [*SAMPLES.glob("emulated-ddp-strong-*"), *SAMPLES.glob("emulated-ddp-weak-*")], options=Options("serial")
    )
    assert [one.id for one in found.series] == ["emulated-ddp-strong", "emulated-ddp-weak"]
    place = place_of(found, "emulated-ddp-weak", 4)
    finding = Finding("made", "Rank 2 is late", "high", "Made.", "made", 0.2, "ceiling", see="ranks", rank=2, step=12)
    run = found.runs[place]
    sections = tuple(
        replace(one, findings=(finding, *one.findings)) if one.name == "findings" else one for one in run.sections
    )
    runs = [replace(run, sections=sections) if run is one else one for one in found.runs]
    return replace(found, runs=tuple(runs))


@pytest.fixture(scope="module")
def url(report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("selection") / "report.html"
    file.write_text(report.to_html(), encoding="utf-8")
    return f"file://{file}"


def place_of(report: Report, series: str, size: int) -> int:
    [one] = [one for one in report.series if one.id == series]
    return next(place for place in one.runs if report.runs[place].info.world_size == size)


def shown(page: Any, selector: str) -> list[str]:
    """The texts of what can be seen."""
    return [one.strip().replace("\xa0", " ") for one in page.locator(f"{selector}:visible").all_inner_texts()]


def tile(page: Any, label: str, within: str) -> str:
    [found] = [text for text in shown(page, f"{within} .tile") if text.startswith(label)]
    return found


def said(metric: Metric | None) -> str:
    assert metric is not None
    one = tile_of(metric)
    return f"{one.amount}\n{one.unit}" if one.unit else one.amount


def test_a_series_puts_its_own_numbers_in_every_section(opened: Opener, report: Report, url: str) -> None:
    page, seen = opened("", url=url)
    assert shown(page, "h1") == [report.verdict]
    first = report.runs[int(page.input_value("#run-select"))]
    assert f"Run {first.info.name}, in" in shown(page, "#overview figcaption p")[0]
    assert said(first.metric("step.throughput")) in tile(page, "Throughput", "#overview")
    assert len(shown(page, "#scaling tbody tr")) == 6

    for series in report.series:
        page.select_option("#series-select", series.id)
        run = report.runs[int(page.input_value("#run-select"))]
        [variant] = [one for one in report.comparison[0].variants if one.run == report.runs.index(run)]
        assert shown(page, "h1") == [variant.result.headline]
        rows = shown(page, "#scaling tbody tr")
        assert len(rows) == 3
        assert all(row.startswith(series.label) for row in rows)
        value = report.metric(f"scaling.{series.id}.efficiency")
        assert said(value) in tile(page, "Efficiency (", "#scaling")
        assert said(run.metric("step.throughput")) in tile(page, "Throughput", "#overview")
        for section in ("#scaling", "#hierarchy", "#growth"):
            titles = shown(page, f"{section} .chart-title")
            assert titles
            assert all(series.label in title for title in titles), titles
        assert f"series={series.id}" in page.url
    draw_all(page)
    page.select_option("#series-select", "")
    assert shown(page, "h1") == [report.verdict]
    assert "series" not in page.url
    assert seen.unexpected == []


def test_a_size_of_the_series_is_a_run_with_numbers_of_its_own(opened: Opener, report: Report, url: str) -> None:
    page, _ = opened("", url=url)
    page.select_option("#series-select", "emulated-ddp-weak")

    labels = page.eval_on_selector_all("#run-select option:not([hidden])", "all => all.map((one) => one.textContent)")
    assert labels == ["1 rank", "2 ranks", "4 ranks"]
    run = report.runs[place_of(report, "emulated-ddp-weak", 2)]
    page.select_option("#run-select", str(report.runs.index(run)))
    assert said(run.metric("step.throughput")) in tile(page, "Throughput", "#overview")
    assert said(run.metric("step.time_ms")) in tile(page, "Step time", "#overview")
    assert shown(page, ".run h2")[0] == run.label
    again, _ = opened("", url=url, at=page.url.partition("report.html")[2])
    assert again.input_value("#series-select") == "emulated-ddp-weak"
    assert shown(again, "h1") == shown(page, "h1")


def test_an_address_whose_run_is_not_in_its_series_shows_the_run(opened: Opener, report: Report, url: str) -> None:
    page, seen = opened("", url=url, at="#scaling?series=emulated-ddp-weak&run=emulated-ddp-strong-n2")
    run = report.runs[place_of(report, "emulated-ddp-strong", 2)]
    assert (page.input_value("#series-select"), page.input_value("#run-select")) == ("", str(report.runs.index(run)))
    assert shown(page, ".run h2")[0] == run.label
    assert seen.unexpected == []


def test_a_rank_and_a_step_are_marked_looked_up_and_kept_in_the_address(
    opened: Opener, report: Report, url: str
) -> None:
    page, seen = opened("", url=url)
    draw_all(page)
    frames = (
        "() => Array.from(document.querySelectorAll('.run.selected .plot')).filter((plot) => plot.layout && plot.layout.meta)"
        ".flatMap((plot) => plot.layout.shapes || []).filter((shape) => shape.type === 'rect' && shape.x0 === -0.5).map((shape) => shape.y0)"
    )
    before = page.evaluate(frames)
    page.fill("#rank-select", "3")
    page.press("#rank-select", "Enter")
    page.wait_for_function("() => location.hash.includes('rank=3')")
    box = page.locator(".run.selected .marked")
    assert "Rank 3 of this run" in box.inner_text()
    place = int(page.locator(".run.selected").get_attribute("data-run"))
    [ranks] = [section for section in report.runs[place].sections if section.name == "ranks"]
    busy = float(ranks.tables["ranks"]["busy_ms"][3])
    assert f"{busy:.1f}" in box.inner_text()
    marked = page.locator(".run.selected tr.marked-row").all_inner_texts()
    assert marked
    draw_all(page)
    page.wait_for_function(f"(count) => ({frames})().length === count", arg=len(before) + 1)
    assert sorted(page.evaluate(frames)) == sorted([*before, 2.5])
    page.fill("#rank-select", "17")
    page.press("#rank-select", "Enter")
    page.wait_for_function("() => document.getElementById('rank-select').getAttribute('aria-invalid') === 'true'")
    assert "rank=3" in page.url
    page.fill("#rank-select", "")
    page.press("#rank-select", "Enter")
    page.wait_for_function("() => !location.hash.includes('rank=')")
    assert not box.is_visible()
    assert seen.unexpected == []


def test_a_finding_leads_to_its_evidence_with_the_rank_and_the_step(opened: Opener, report: Report, url: str) -> None:
    place = place_of(report, "emulated-ddp-weak", 4)
    page, _ = opened("", url=url)
    page.select_option("#run-select", str(place))
    page.locator(".findings li:visible", has_text="Rank 2 is late").locator("a.button").click()
    assert page.input_value("#rank-select") == "2"
    assert page.input_value("#step-select") == "12"
    assert page.evaluate("() => location.hash").startswith(f"#run-{place}-ranks?")
    again, _ = opened("", url=url, at=page.url.partition("report.html")[2])
    again.wait_for_function("() => document.querySelector('.run.selected .marked h3')")
    assert again.input_value("#rank-select") == "2"


def test_a_click_on_a_cell_or_a_row_selects(opened: Opener, url: str) -> None:
    page, _ = opened("", url=url)
    draw_all(page)
    page.evaluate(
        "() => { const plot = Array.from(document.querySelectorAll('.run.selected .plot')).find((plot) => plot.layout && plot.layout.meta);"
        " plot.emit('plotly_click', { points: [{ data: { type: 'heatmap' }, x: 1, y: 2 }] }); }"
    )
    assert page.input_value("#rank-select") == "2"
    assert page.input_value("#step-select") != ""
    page.locator(".run.selected section[data-name=ranks] details.table > summary .table-title").first.click()
    page.locator(".run.selected section[data-name=ranks] [data-table] tbody tr").first.click()
    assert page.input_value("#rank-select") == "0"


def test_where_the_step_goes_can_be_read_in_percent(opened: Opener, url: str) -> None:
    page, seen = opened("", url=url)
    draw_all(page)
    page.locator("#growth button[data-form=shares]:visible").first.click()
    plot = "document.getElementById(document.querySelector('#growth button[data-form=shares][aria-pressed=true]').dataset.of)"
    page.wait_for_function(f"() => /share/i.test({plot}.layout.yaxis.title.text)")
    sums = page.evaluate(
        f"() => {plot}.data[0].y.map((_, place) => {plot}.data.reduce((sum, trace) => sum + trace.y[place], 0))"
    )
    assert sums == pytest.approx([100.0] * 3)
    page.locator("#growth button[data-form=figure]:visible").first.click()
    page.wait_for_function("() => !document.querySelector('#growth button[data-form=shares][aria-pressed=true]')")
    assert seen.unexpected == []
