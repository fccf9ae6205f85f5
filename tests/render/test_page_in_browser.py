"""The page in a real browser: it draws, asks for nothing, obeys no evil string, and can be read on paper, on a phone and without scripts."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.render.in_browser import IN_BROWSER, Opener, blank_charts, draw_all
from tests.render.made import REPORTS

pytestmark = IN_BROWSER


def types(page: Any) -> list[list[str]]:
    return list(
        page.evaluate(
            "() => Array.from(document.querySelectorAll('.plot')).filter((plot) => plot.data)"
            ".flatMap((plot) => plot.data.map((trace, place) => [trace.type, plot._fullData[place].type]))"
        )
    )


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_drawn_as_asked_without_error_request_or_missing_value(
    opened: Opener, name: str, scheme: str
) -> None:
    page, seen = opened(name, color_scheme=scheme)
    draw_all(page)
    drawn = types(page)
    assert drawn or name == "minimal"
    assert all(asked == got for asked, got in drawn)
    assert seen.unexpected == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in seen.requests)
    assert [url for url in seen.requests if url.startswith("file:")] == [opened.files[name]]
    assert page.evaluate("() => window.violations") == []
    assert page.evaluate("() => document.documentElement.dataset.theme") == scheme
    assert page.evaluate(
        "() => Array.from(document.querySelectorAll('.plot')).filter((p) => p.dataset.drawn).every((p) => p.querySelector('svg'))"
    )
    assert blank_charts(page) == []
    text = page.evaluate("() => document.body.innerText").replace("NaN metric", "")
    for word in ("NaN", "undefined", "None", "null", "Infinity", "[object"):
        assert word not in text, word


def test_a_loglog_chart_has_logarithmic_axes_and_draws_all_its_marks(opened: Opener) -> None:
    page, _ = opened("study")
    draw_all(page)
    drawn = page.evaluate(
        "() => Array.from(document.querySelectorAll('.plot')).filter((p) => p.clientWidth && p._fullLayout.xaxis.type === 'log'"
        " && p._fullLayout.yaxis.type === 'log').map((p) => [p.querySelectorAll('.scatterlayer .point').length,"
        " p.querySelectorAll('.legend .traces').length, p.querySelectorAll('.yaxislayer-above text, .ytick text').length])"
    )
    # Ten sizes of one kind and one of the other, whose second has no logarithm; the fit has no name of its own in the legend.
    assert len(drawn) == 1
    marks, names, ticks = drawn[0]
    assert (marks, names) == (11, 3)
    assert ticks >= 3


def test_evil_strings_are_shown_and_do_nothing(opened: Opener) -> None:
    # Also with the policy out of the way: the strings themselves are inert, not only forbidden to act.
    for bypass in (False, True):
        page, seen = opened("evil", bypass_csp=bypass)
        draw_all(page)
        for button in page.locator("button[data-show]:visible").all():
            button.click()
        assert page.evaluate("() => window.evil") is None
        assert (
            page.evaluate("() => document.querySelectorAll('img, a[href^=javascript], a[*|href^=javascript]').length")
            == 0
        )
        assert "void gemm<4, float>(x) && a<b>c</b>" in page.evaluate("() => document.body.innerText")
        assert seen.unexpected == []


def test_the_theme_switch_redraws_in_dark_colors(opened: Opener) -> None:
    page, seen = opened("study", color_scheme="light")
    draw_all(page)
    page.evaluate("() => window.scrollTo(0, 0)")
    page.click("#theme")
    page.wait_for_function(
        "() => Array.from(document.querySelectorAll('.plot[data-drawn]')).every((plot) => !plot.clientWidth || plot.dataset.drawn === 'dark')"
    )
    assert page.evaluate("() => document.querySelector('.plot[data-drawn]')._fullLayout.paper_bgcolor") == "#161b22"
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
    assert seen.unexpected == []


@pytest.mark.parametrize("name", REPORTS)
def test_a_phone_shows_every_chart_and_needs_no_sideways_scrolling(opened: Opener, name: str) -> None:
    page, seen = opened(name, viewport={"width": 390, "height": 844})
    draw_all(page)
    assert blank_charts(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    wide = page.evaluate(
        "() => Array.from(document.querySelectorAll('.plot')).filter((p) => p.clientWidth && p.firstElementChild.scrollWidth > p.clientWidth).length"
    )
    assert wide == 0
    assert seen.unexpected == []


def test_no_button_shares_anything(opened: Opener) -> None:
    page, _ = opened("study")
    draw_all(page)
    titles = page.evaluate(
        "() => Array.from(document.querySelectorAll('button, .modebar-btn, [data-title]')).map((b) => (b.dataset.title || '') + b.textContent)"
    )
    assert not [title for title in titles if any(word in title.lower() for word in ("share", "cloud", "studio"))]
    assert page.evaluate("() => document.querySelectorAll('.modebar-btn').length") == 0


def shown_runs(page: Any) -> list[str]:
    return list(
        page.evaluate(
            "() => Array.from(document.querySelectorAll('.run')).filter((run) => run.offsetParent).map((run) => run.querySelector('h2').textContent)"
        )
    )


def test_the_run_selector_switches_sections_and_the_address(opened: Opener) -> None:
    page, seen = opened("study")
    assert shown_runs(page) == ["strong-4 (4 ranks)"]
    page.select_option("#run-select", label="weak-2 (2 ranks)")
    assert shown_runs(page) == ["weak-2 (2 ranks)"]
    assert "run=weak-2" in page.evaluate("() => location.hash")
    draw_all(page)
    page.click(".side .selected a.sub >> text=Kernels")
    assert page.evaluate("() => location.hash") == "#run-4-kernels?run=weak-2"
    again, _ = opened("study", at="#run-4-kernels?run=weak-2")
    assert shown_runs(again) == ["weak-2 (2 ranks)"]
    assert seen.unexpected == []


def test_what_is_not_shown_is_a_part_of_the_page_when_it_is(opened: Opener) -> None:
    page, seen = opened("study")
    parts = "() => Array.from(document.querySelectorAll('.run, .nav-run')).map((run) => run.querySelectorAll(':scope > :not(noscript)').length)"
    before = page.evaluate(parts)
    assert sorted(map(bool, before)) == [False] * 10 + [True] * 2
    page.select_option("#run-select", label="weak-2 (2 ranks)")
    assert sorted(map(bool, page.evaluate(parts))) == [False] * 8 + [True] * 4
    draw_all(page)
    assert blank_charts(page) == []
    again, _ = opened("study", at="#run-1-time?run=strong-2")
    assert shown_runs(again) == ["strong-2 (2 ranks)"]
    assert again.evaluate("() => Math.abs(document.getElementById('run-1-time').getBoundingClientRect().top) < 200")
    assert seen.unexpected == []


def test_the_first_chart_is_seen_before_the_second_is_drawn(opened: Opener, files: dict[str, str]) -> None:
    page, _ = opened("study", url="about:blank", viewport={"width": 1300, "height": 3000})
    page.add_init_script(
        "window.batches = []; new MutationObserver((seen) => window.batches.push(seen.length))"
        ".observe(document, { subtree: true, attributes: true, attributeFilter: ['data-drawn'] });"
    )
    page.goto(files["study"])
    page.wait_for_function("() => window.batches.length >= 3")
    assert page.evaluate("() => window.batches.slice(0, 3)") == [1, 1, 1]


def test_how_a_chart_is_computed_can_be_read_at_every_chart(opened: Opener) -> None:
    page, _ = opened("study")
    page.select_option("#run-select", label="weak-2 (2 ranks)")
    for fold in page.locator(".run.selected details.how summary").all():
        fold.click()
    page.wait_for_function(
        "() => Array.from(document.querySelectorAll('.run.selected details.how p')).every((told) => !told.textContent.startsWith('See '))"
    )
    assert page.locator(".run.selected details.how[data-of]").count() > 2


def test_the_numbers_of_a_chart_can_be_read_and_taken_away(opened: Opener, tmp_path: Path) -> None:
    page, _ = opened("evil")
    draw_all(page)
    page.click("#overview [data-show] >> nth=0")
    assert page.locator("#overview .data table tbody tr").count() > 3
    page.click("#overview [data-show] >> nth=0")
    assert page.locator("#overview .data").count() == 0
    with page.expect_download() as download:
        page.click("#overview .tabled [data-csv]")
    download.value.save_as(tmp_path / "table.csv")
    lines = (tmp_path / "table.csv").read_bytes().decode().split("\r\n")
    assert "\"'=HYPERLINK(" in lines[1]
    assert lines[2] == "javascript:window.evil=3,'@SUM(1),-3.5"
    with page.expect_download() as download:
        page.click("#overview [data-png] >> nth=0")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_words_are_explained_when_focused(opened: Opener) -> None:
    page, _ = opened("study")
    page.focus(".tile .term >> nth=0")
    assert "Samples of all ranks" in page.inner_text("#tip")
    page.keyboard.press("Escape")
    assert not page.is_visible("#tip")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_gets_every_chart_in_light_colors(opened: Opener, scheme: str) -> None:
    page, seen = opened("study", color_scheme=scheme)
    page.wait_for_function("() => window.Plotly && document.querySelector('.plot[data-drawn]')")
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    themes = set(
        page.evaluate(
            "() => Array.from(document.querySelectorAll('.plot')).filter((p) => p.clientWidth).map((p) => p.dataset.drawn)"
        )
    )
    assert themes == {"paper"}
    page.emulate_media(media="print")
    assert page.evaluate(
        "() => document.documentElement.scrollWidth <= Math.max(718, document.documentElement.clientWidth)"
    )
    page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    paper = page.pdf(prefer_css_page_size=True)
    assert paper.startswith(b"%PDF")
    assert 4 <= paper.count(b"/Type /Page\n") <= 20
    assert seen.unexpected == []


def test_without_scripts_every_run_can_be_read(opened: Opener) -> None:
    page, seen = opened("study", java_script_enabled=False)
    text = page.inner_text("body")
    for words in (
        "mlp keeps 67.8",
        "One run in detail",
        "weak-2 (2 ranks)",
        "Where the step goes",
        "What may be wrong",
        "Glossary",
    ):
        assert words in text
    assert not page.is_visible("#theme")
    assert page.is_visible("#run-4-time")
    assert seen.errors == []


def test_a_sandboxed_frame_shows_the_page(opened: Opener, files: dict[str, str], tmp_path: Path) -> None:
    source = Path(files["single"].removeprefix("file://")).read_text(encoding="utf-8")
    # As data, for a quotation mark in the page would end an attribute.
    content = json.dumps(source).replace("</", "<\\/")
    frame_tag = "<iframe sandbox='allow-scripts' width=1200 height=800></iframe>"
    outer = f"{frame_tag}<script>document.querySelector('iframe').srcdoc = {content}</script>"
    (tmp_path / "viewer.html").write_text(outer, encoding="utf-8")
    page, seen = opened("single", url=f"file://{tmp_path}/viewer.html")
    frame = page.frames[1]
    frame.wait_for_function("() => document.querySelector('.plot[data-drawn]')", timeout=30_000)
    frame.click("#theme")
    frame.click(".side a >> text=Glossary")
    assert frame.evaluate("() => document.documentElement.dataset.theme") in ("light", "dark")
    assert seen.unexpected == []
