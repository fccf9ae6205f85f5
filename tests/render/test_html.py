"""The page without a browser: its structure, what it forbids, and that every string is inert."""

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from scaleprof.render.charts import spec_of
from scaleprof.render.html import render_html
from scaleprof.render.page import selected_run
from scaleprof.render.remarks import findings_of
from scaleprof.results import Axis, Chart, Finding, Layer, Report, Result, Variant
from tests.render.made import REPORTS, evil, minimal, study
from tests.render.made_evil import EVIL

BUDGET = 5_000_000


class Page(HTMLParser):
    """Tags with their attributes, texts and scripts of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._in = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts.append(data)
        elif self._in != "style":
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.tags if "id" in attributes]


def island(source: str, id: str) -> str:
    found = re.search(rf'id="{id}">([^<]*)<', source)
    assert found
    return gzip.decompress(base64.b64decode(found[1])).decode()


def data(source: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(island(source, "data-gz"))
    return content


def test_the_study_has_its_sections_in_order_and_every_id_once() -> None:
    page = Page(render_html(study()))
    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections[:4] == ["overview", "scaling", "growth", "run-0-time"]
    assert sections[-3:] == ["methods", "caveats", "glossary"]
    assert len(page.ids) == len(set(page.ids))
    links = {str(attributes["href"]) for attributes in page.all("a")}
    assert {link[1:] for link in links} <= set(page.ids)
    assert all(link.startswith("#") for link in links)


def test_the_largest_run_is_selected_first() -> None:
    page = Page(render_html(study()))
    runs = [
        attributes for tag, attributes in page.tags if tag == "div" and str(attributes.get("class")).startswith("run")
    ]
    assert [run["data-run"] for run in runs if run["class"] == "run selected"] == ["2"]
    assert [option["data-key"] for option in page.all("option")][:3] == ["strong-1", "strong-2", "strong-4"]


def test_every_plot_has_a_name_and_a_figure() -> None:
    source = render_html(study())
    plots = [attributes for _, attributes in Page(source).tags if attributes.get("class") == "plot"]
    charts = data(source)["charts"]
    assert len(plots) == len(charts) > 10
    assert all(plot["role"] == "img" and plot["aria-labelledby"] for plot in plots)
    assert {str(plot["id"]) for plot in plots} == set(charts)


def test_the_policy_allows_exactly_the_three_scripts() -> None:
    source = render_html(study())
    page = Page(source)
    policy = next(
        str(meta["content"]) for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    )
    own = [
        script for script, attributes in zip(page.scripts, page.all("script"), strict=True) if "type" not in attributes
    ]
    expected = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in [*own, island(source, "plotly-gz")]
    }
    assert len(own) == 2
    assert set(re.findall(r"'sha256-[^']+'", policy)) == expected
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy


def test_nothing_in_the_page_points_outside() -> None:
    for attributes in (attributes for make in REPORTS.values() for _, attributes in Page(render_html(make())).tags):
        for name in ("src", "href", "action", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith("#"), (name, value)


def test_evil_strings_stay_text() -> None:
    source = render_html(evil())
    page = Page(source)
    assert not page.all("img")
    assert len(page.all("script")) == 5
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert EVIL in "".join(page.texts)
    assert "void gemm<4, float>(x) && a<b>c</b>" in "".join(page.texts)


@pytest.mark.parametrize("name", REPORTS)
def test_what_is_shown_later_holds_nothing_that_would_end_it(name: str) -> None:
    source = render_html(REPORTS[name]())
    later = re.findall(r'<noscript class="later">(.*?)</noscript>', source, re.DOTALL)
    assert not [part for part in later if re.search(r"</?(?:no)?script", part)]
    hidden = [run.info.name for run in REPORTS[name]().runs][1:]
    assert len(later) >= 2 * len(hidden)  # each run and its links
    assert source.count("<noscript") == source.count("</noscript") == len(later)


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_is_within_its_budget_and_the_same_again(name: str) -> None:
    source = render_html(REPORTS[name]())
    assert len(source.encode()) < BUDGET
    assert source == render_html(REPORTS[name]())


@pytest.mark.parametrize("name", REPORTS)
def test_no_text_shows_a_missing_value(name: str) -> None:
    words = " ".join(Page(render_html(REPORTS[name]())).texts).replace("NaN metric", "")
    assert not re.search(r"\b(NaN|nan|None|null|undefined|inf)\b", words)


def test_emulated_and_synthetic_runs_say_so() -> None:
    assert (
        'role="note">Compute emulated, communication real. Network: 200mbit between namespaces.</div>'
        in render_html(study())
    )
    assert 'role="note">Synthetic data' in render_html(evil())
    assert 'class="banner"' not in render_html(minimal())


def test_a_report_with_next_to_nothing_still_is_a_page() -> None:
    page = Page(render_html(minimal()))
    assert [attributes["id"] for attributes in page.all("section")] == [
        "overview",
        "run-0-kernels",
        "methods",
        "caveats",
        "glossary",
    ]
    text = " ".join(page.texts)
    assert "No step was found." in text
    assert "scaleprof analyze PATH" in text
    assert not page.all("select")


def test_a_caveat_said_in_many_places_stands_once_with_the_places() -> None:
    source = render_html(study())
    section = source[source.index('<section id="caveats"') : source.index('<section id="glossary"')]
    assert section.count("the profiler started") == 1
    assert "strong-1, strong-2, strong-4 and 3 more" in section


def test_words_of_the_glossary_are_links_with_a_note() -> None:
    page = Page(render_html(study()))
    terms = {str(attributes["href"]) for attributes in page.all("a") if attributes.get("class") == "term"}
    assert {"#term-efficiency", "#term-karp-flatt", "#term-exposed-communication", "#term-run-queue-wait"} <= terms


def test_numbers_behind_charts_and_tables_are_unrounded() -> None:
    content = data(render_html(study()))
    scaling = next(table for table in content["tables"].values() if table["name"] == "scaling")
    assert scaling["columns"][0] == "series"
    assert scaling["values"][5][2] == pytest.approx(152.0)
    assert {len(column) for column in scaling["values"]} == {6}


def test_bars_that_lie_become_no_thicker_beside_a_higher_chart() -> None:
    def of(kind: str, names: list[str]) -> Chart:
        axes = (Axis("configuration", scale="category"), Axis("time", "ms"))
        return Chart(kind, kind, kind, "", *axes, (Layer("a", names, [1.0] * len(names)),))  # type: ignore[arg-type]

    def thickness(figure: dict[str, Any]) -> float:
        layout = figure["layout"]
        room = layout["height"] - layout["margin"]["t"] - layout["margin"]["b"]
        return float(room / len(figure["data"][0]["y"]) * (1 - layout["bargap"]))

    low, high = of("bars", ["one configuration", "two"]), of("lines", ["1", "2"])
    charts = (low, replace(high, x=Axis("x"), layers=(Layer("a", [1, 2], [1.0, 2.0]),)))
    report = Report("r", "", (), (Result("section", "Section", "", charts=charts),))
    figures = [one["figure"] for one in data(render_html(report))["charts"].values() if "figure" in one]
    shipped = json.loads(island(render_html(report), "figures-gz"))["figures"]
    assert not figures
    beside, other = (shipped[key]["figure"] for key in ("chart-0", "chart-1"))
    assert beside["layout"]["height"] == other["layout"]["height"] == 300
    assert thickness(beside) == pytest.approx(thickness(spec_of(low)), rel=0.01)


def about_strong_2() -> Report:
    """The study, its first page about a run that is not the largest; a finding of that run, and a class of time that only a variant draws."""
    report = study()
    first, *rest = report.comparison
    charts = (
        replace(chart, layers=tuple(replace(one, color="exposed_memory") for one in chart.layers))
        for chart in first.charts
    )
    own = replace(first, charts=tuple(charts))
    variants = (Variant(own, run=0), Variant(first, run=1))
    run = report.runs[1]
    finding = Finding("made", "Made", "high", "", "", see=run.sections[-1].name, rank=0)
    sections = (replace(run.sections[0], findings=(finding,)), *run.sections[1:])
    runs = [replace(run, sections=sections) if place == 1 else one for place, one in enumerate(report.runs)]
    return replace(report, runs=tuple(runs), comparison=(replace(first, variants=variants), *rest))


def test_the_run_of_the_first_page_is_selected_first() -> None:
    assert selected_run(about_strong_2()) == 1
    assert selected_run(study()) == 2


def test_a_finding_leads_to_the_section_with_its_evidence() -> None:
    report = about_strong_2()
    [found] = [one for one in findings_of(report, [run.label for run in report.runs]) if one.finding.id == "made"]
    assert found.anchor == f"run-1-{report.runs[1].sections[-1].name}"
    page = Page(render_html(report))
    leading = [link for link in page.all("a") if link.get("href") == f"#{found.anchor}"]
    assert [link["data-rank"] for link in leading if "data-rank" in link] == ["0"]


def test_the_legend_has_classes_that_only_a_selection_draws() -> None:
    assert "Exposed memory copies</div>" in render_html(about_strong_2())
    assert "Exposed memory copies</div>" not in render_html(study())
