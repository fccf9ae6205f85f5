"""The report on paper: every chart is drawn, whole and not as a picture, nothing is cut, and nothing is there that only a screen needs."""

import math
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

import scaleprof
from tests.render.in_browser import IN_BROWSER, Opener

pytestmark = [*IN_BROWSER, pytest.mark.long]

SAMPLES = Path(__file__).parents[2] / "sample_traces"
PAGE_PX = (297 - 24) / 25.4 * 96
"""The height of A4 without its margins."""
REPORTS = ["study", "real"]


@pytest.fixture(scope="module")
def real_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A study that was recorded: two sizes, a timeline."""
    path = tmp_path_factory.mktemp("real") / "report.html"
    report = scaleprof.analyze(sorted(SAMPLES.glob("emulated-ddp-strong-n[24]-*")))
    path.write_text(report.to_html(), encoding="utf-8")
    return f"file://{path}"


def ready(opened: Opener, name: str, real_page: str, scheme: str) -> Any:
    """The page of a report, its library there, no chart below the first screen drawn."""
    page, _ = opened(name, url=real_page if name == "real" else "", color_scheme=scheme)
    page.wait_for_function("() => window.Plotly && document.querySelector('.plot[data-drawn]')")
    return page


def pages_of(pdf: bytes) -> int:
    """Leaves of the page tree."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def large_images(pdf: bytes) -> int:
    """Pictures of pixels of more than 100 by 100, without their masks."""
    found = re.findall(rb"/Subtype\s*/Image\b.*?>>", pdf, re.S)
    masks = set(re.findall(rb"/SMask\s+(\d+) 0 R", pdf))
    sizes = [[int(re.search(rb"/" + side + rb"\s+(\d+)", one)[1]) for side in (b"Width", b"Height")] for one in found]  # type: ignore[index]
    return sum(min(size) > 100 for size in sizes) - len(masks)


def drawing_marks(pdf: bytes) -> int:
    """Ends of painted paths in the pages' streams."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.S)
    marks = 0
    for stream in streams:
        try:
            content = zlib.decompress(stream)
        except zlib.error:  # a picture or a font that is packed in another way
            continue
        marks += len(re.findall(rb"(?m)(?:^| )[fS]\*?$", content))
    return marks


@pytest.mark.parametrize("name", REPORTS)
def test_paper_has_as_many_pages_as_the_content_needs_whatever_the_theme(
    opened: Opener, real_page: str, name: str
) -> None:
    counts, heights = [], []
    for scheme in ("light", "dark"):
        page = ready(opened, name, real_page, scheme)
        pdf = page.pdf(format="A4", prefer_css_page_size=True, print_background=True)
        counts.append(pages_of(pdf))
        assert page.evaluate("() => document.documentElement.classList.contains('printing')") is False
        assert page.evaluate("() => document.querySelectorAll('.acts details[open]').length") == 0
        page.emulate_media(media="print")
        page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
        heights.append(page.evaluate("() => document.querySelector('.shell').scrollHeight"))
    assert counts[0] == counts[1]
    assert heights[0] == pytest.approx(heights[1], abs=2)
    # What must not be broken leaves room below it: a third at most.
    needed = heights[0] / PAGE_PX
    assert math.ceil(needed) <= counts[0] <= math.ceil(1.5 * needed)


@pytest.mark.parametrize("name", REPORTS)
def test_charts_are_printed_as_lines_and_letters(opened: Opener, real_page: str, name: str) -> None:
    page = ready(opened, name, real_page, "light")
    pdf = page.pdf(format="A4", prefer_css_page_size=True, print_background=True)
    # Cells of a heatmap and timelines are pictures of pixels, nothing else is.
    pixels = page.evaluate(
        "() => Array.from(document.querySelectorAll('.heatmaplayer image, .timeline canvas'))"
        ".filter((one) => one.closest('.plot, .timeline').clientWidth).length"
    )
    assert large_images(pdf) <= pixels
    assert drawing_marks(pdf) > 500


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_on_paper(opened: Opener, real_page: str, name: str, scheme: str) -> None:
    page = ready(opened, name, real_page, scheme)
    page.emulate_media(media="print")
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(
        "() => Array.from(document.querySelectorAll('.plot')).every((plot) => !plot.clientWidth || plot.dataset.drawn === 'paper')"
    )
    wider = page.evaluate(
        """() => {
          const right = document.querySelector('.shell').getBoundingClientRect().right;
          return Array.from(document.querySelectorAll('main *')).filter((one) => !one.closest('svg'))
            .filter((one) => one.getBoundingClientRect().width && one.getBoundingClientRect().right > right + 1)
            .map((one) => one.outerHTML.slice(0, 120));
        }"""
    )
    assert wider == []
    cut = page.evaluate(
        "() => Array.from(document.querySelectorAll('.scroll, .plot, .card')).filter((one) => one.clientWidth)"
        ".filter((one) => one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 2)"
        ".map((one) => one.outerHTML.slice(0, 120))"
    )
    assert cut == []


@pytest.mark.parametrize("name", REPORTS)
def test_what_only_a_screen_needs_is_not_printed(opened: Opener, real_page: str, name: str) -> None:
    page = ready(opened, name, real_page, "dark")
    page.emulate_media(media="print")
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    shown = page.evaluate(
        "() => Array.from(document.querySelectorAll('header.top, nav, button, input, select, .acts .button, details:not([open])'))"
        ".filter((one) => one.offsetParent).map((one) => one.outerHTML.slice(0, 120))"
    )
    assert shown == []
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    page.wait_for_function(
        "() => Array.from(document.querySelectorAll('.plot[data-drawn]')).every((plot) => !plot.clientWidth || plot.dataset.drawn === 'dark')"
    )
    assert page.locator("#theme").is_visible()
