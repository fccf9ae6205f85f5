"""Figures in little room: half of a row, a phone, paper. No text lies over another or is cut, and numbers stay."""

from itertools import pairwise
from typing import Any

import pytest

from scaleprof.results import Axis, Chart, Layer, Report, Result, RunReport
from scaleprof.run import RunInfo
from tests.render.in_browser import IN_BROWSER, Opener, draw_all

pytestmark = IN_BROWSER

SERIES = [f"strategies ddp+powersgd-{place}" for place in range(12)]


def crowded() -> Report:
    """A tree of twelve series, a waterfall with long names, lines of eight ranks with a long name of the axis."""
    factors = [[1.0 - row / 20 - place / 40 for place in range(12)] for row in range(3)]
    names = ["Scaling efficiency", "  wait efficiency", "  communication not told apart"]
    tree = Chart(
        "t", "heatmap", "Tree", "", Axis("series", scale="category"), Axis("", scale="category"),
        (Layer("efficiency", SERIES, names, z=factors, style="factors"),), z=Axis("efficiency", "share"),
    )  # fmt: skip
    classes = ["at 1 rank", "Communication that nothing tells apart", "at 16 ranks"]
    waterfall = Chart(
        "w", "waterfall", "Growth", "", Axis("", scale="category"), Axis("time per sample and rank", "ms", from_zero=True),
        (Layer("w", classes, [1020.0, 2340.0, 3360.0], text=["total", "exposed_comm", "total"]),),
    )  # fmt: skip
    lines = Chart(
        "l", "lines", "Counter", "", Axis("time since the first sample", "s"), Axis("cores that are busy in the system", "cores"),
        tuple(Layer(f"rank {rank}", [0.0, 1.5], [0.2, 0.1 + rank / 1000]) for rank in range(8)),
    )  # fmt: skip
    sizes = [0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16]
    law = Chart(
        "s", "lines", "Law", "", Axis("bandwidth", "x", "log2"), Axis("time a step", "ms", from_zero=True),
        (Layer("replayed", sizes, [1.0 / size for size in sizes]),),
    )  # fmt: skip
    parts = ["Compute", "Transfer", "Host", "Not explained"]
    path = Chart(
        "p", "stacked_bars", "Path", "", Axis("", scale="category"), Axis("time a step", "ms", from_zero=True),
        tuple(Layer(name, ["path"], [100.0]) for name in parts),
    )  # fmt: skip
    section = Result("time", "Time", "", charts=(tree, waterfall, lines, law, path))
    return Report("crowded", "", (RunReport(RunInfo("crowded", 16), (0,), (section,)),))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("crowded") / "report.html"
    file.write_text(crowded().to_html(), encoding="utf-8")
    return f"file://{file}"


def shown(opened: Opener, url: str, where: str) -> Any:
    """The page, all its charts drawn for that place."""
    size = {"screen": 1280, "phone": 390, "paper": 1280}[where]
    page, seen = opened("", url=url, viewport={"width": size, "height": 900})
    draw_all(page)
    if where == "paper":
        page.emulate_media(media="print")
        page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    assert seen.unexpected == []
    return page


@pytest.mark.parametrize("where", ["screen", "phone", "paper"])
def test_a_tree_of_twelve_series_shows_its_numbers(opened: Opener, url: str, where: str) -> None:
    page = shown(opened, url, where)
    texts = page.evaluate("() => Array.from(document.querySelectorAll('.heatmap-label'), (text) => text.textContent)")
    assert len(texts) == 36
    assert texts[0].removesuffix(" %").removesuffix(".0") == "100"
    boxes = "Array.from(document.querySelectorAll('.heatmap-label'), (text) => text.getBoundingClientRect())"
    assert page.evaluate(
        f"() => {{ const all = {boxes}; return all.slice(1, 12).every((box, place) => box.left >= all[place].right); }}"
    )


@pytest.mark.parametrize("where", ["screen", "phone", "paper"])
def test_numbers_along_the_bottom_lie_level_and_apart(opened: Opener, url: str, where: str) -> None:
    page = shown(opened, url, where)
    ticks = page.evaluate(
        "() => Array.from(document.querySelectorAll('.plot')).filter((plot) => !plot.layout.meta)"
        ".map((plot) => Array.from(plot.querySelectorAll('.xtick text'), (text) => [text.getAttribute('transform') || '',"
        " text.getBoundingClientRect().left, text.getBoundingClientRect().right, text.textContent]))"
    )
    assert len(ticks) == 4
    for plot in ticks:
        assert len(plot) >= 2
        assert not [turned for turned, *_ in plot if "rotate" in turned and "rotate(0" not in turned]
        assert all(after[1] > before[2] for before, after in pairwise(plot))
    assert ticks[2][-1][3] == "16"
    assert where == "phone" or ticks[2][0][3] == "0.25"


@pytest.mark.parametrize("where", ["screen", "phone", "paper"])
def test_a_legend_shows_all_its_lines(opened: Opener, url: str, where: str) -> None:
    page = shown(opened, url, where)
    bars = "document.querySelectorAll('.infolayer .scrollbar')"
    assert page.evaluate(f"() => Array.from({bars}).every((bar) => !bar.getBoundingClientRect().height)")
    boxes = "Array.from(document.querySelectorAll('.legendtext'), (text) => text.getBoundingClientRect().bottom)"
    clip = "document.querySelector('.infolayer .legend .bg').getBoundingClientRect().bottom"
    assert page.evaluate(f"() => Math.max(...{boxes}) <= {clip} + 1")
    assert page.evaluate("() => document.querySelectorAll('.legendtext').length") == 4


@pytest.mark.parametrize("where", ["screen", "phone", "paper"])
def test_the_name_of_an_axis_fits_beside_its_plot_and_names_of_lines_keep_apart(
    opened: Opener, url: str, where: str
) -> None:
    page = shown(opened, url, where)
    within = page.evaluate(
        "() => Array.from(document.querySelectorAll('.ytitle')).every((title) => { const box = title.getBoundingClientRect(),"
        " plot = title.closest('.plot').getBoundingClientRect(); return box.top >= plot.top && box.bottom <= plot.bottom && box.left >= plot.left; })"
    )
    assert within
    ends = page.evaluate(
        "() => Array.from(document.querySelectorAll('.annotation-text')).filter((text) => text.textContent.startsWith('rank '))"
        ".map((text) => text.getBoundingClientRect()).map((box) => (box.top + box.bottom) / 2).sort((a, b) => a - b)"
    )
    assert len(ends) == 8
    assert all(after - before >= 13 for before, after in pairwise(ends))


@pytest.mark.parametrize("where", ["screen", "phone", "paper"])
def test_amounts_of_a_waterfall_are_whole(opened: Opener, url: str, where: str) -> None:
    page = shown(opened, url, where)
    rooms = page.evaluate(
        "() => Array.from(document.querySelectorAll('.annotation-text')).filter((text) => /^.?[123],.* ms/.test(text.textContent))"
        ".map((text) => [text.textContent, text.closest('.plot').getBoundingClientRect().right - text.getBoundingClientRect().right])"
    )
    assert len(rooms) == 3
    assert all(room >= 0 for _, room in rooms), rooms
