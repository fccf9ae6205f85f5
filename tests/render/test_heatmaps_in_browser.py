"""Heatmaps in a real browser: the order of the rows can be changed, tables show the report's numbers, and all of it fits a phone."""

import math
from pathlib import Path
from typing import Any

import pytest

from scaleprof.render.words import phrase
from scaleprof.results import Axis, Chart, Layer, Report, Result, RunReport
from scaleprof.run import RunInfo
from tests.render.in_browser import IN_BROWSER, Opener, draw_all

pytestmark = IN_BROWSER

RANKS, STEPS = 6, 40
NAMES = (
    "Scaling efficiency",
    "Compute scalability",
    "  same kernels",
    "Parallel efficiency",
    "  wait efficiency",
    "    load balance",
)
SHOWN = "() => Array.from(document.querySelectorAll('.plot')).filter((plot) => plot.clientWidth && plot.layout && plot.layout.meta)"


def tree() -> Result:
    z: list[list[float | None]] = [[1 - 0.01 * size * (row + 1) for size in range(5)] for row in range(len(NAMES))]
    z[5][0] = None
    layer = Layer("efficiency", ["1", "2", "4", "8", "1,024"], list(NAMES), z=z, style="factors")
    axes = (Axis("ranks", scale="category"), Axis("", scale="category"))
    chart = Chart(
        "hierarchy.ddp",
        "heatmap",
        "The largest factor",
        "Each number is a factor.",
        *axes,
        (layer,),
        z=Axis("efficiency", "share"),
    )
    return Result("hierarchy", "Efficiency tree by size", "", charts=(chart,))


def ranks() -> Result:
    means = [0.0, 0.02, -0.01, 0.09, 0.01, -0.03]
    names = [f"rank {rank}" for rank in range(RANKS)]
    z: list[list[float | None]] = [
        [mean + 0.01 * math.sin(step + rank) for step in range(STEPS)] for rank, mean in enumerate(means)
    ]
    layers = (
        Layer("deviation", list(range(STEPS)), list(names), z=z, order=[3, 1, 4, 0, 2, 5]),
        Layer(
            "busy time, median over ranks (ms)",
            list(range(3, STEPS)),
            [80.0] * (STEPS - 3),
            color="total",
            style="above",
        ),
        Layer("not steady", [0, 1, 2], [120.0] * 3, color="muted", style="above"),
        Layer(
            "mean of rank",
            list(names),
            list(means),
            color="total",
            style="beside",
            text=[f"{mean:+.1%}" for mean in means],
        ),
        Layer("outliers", [30], ["rank 3"], style="marks", text=["rank 3, step 30: +12.0 %"]),
    )
    axes = (Axis("step"), Axis("rank", scale="category"))
    chart = Chart(
        "ranks.heatmap",
        "heatmap",
        "Rank 3 is busy longest",
        "",
        *axes,
        layers,
        z=Axis("deviation from the median", "share"),
    )
    return Result("ranks", "Ranks and steps", "", charts=(chart,))


@pytest.fixture
def report() -> Report:
    run = RunReport(RunInfo("ddp", RANKS), tuple(range(RANKS)), (ranks(),))
    return Report("heat", "", (run,), (Result("overview", "Overview", ""), tree()))


@pytest.fixture
def at(report: Report, tmp_path: Path) -> str:
    (tmp_path / "heat.html").write_text(report.to_html(), encoding="utf-8")
    return f"file://{tmp_path / 'heat.html'}"


def of_ranks(page: Any, what: str, then: str = "(value) => value") -> Any:
    """What an expression on the plot of ranks and steps gives, passed through a function."""
    return page.evaluate(f"{SHOWN}.filter((plot) => plot.layout.meta.ranks).map((plot) => {what}).map({then})[0]")


def test_the_switch_puts_the_slowest_rank_first_and_back(opened: Opener, report: Report, at: str) -> None:
    page, seen = opened("heat", url=at)
    draw_all(page)
    layer = report.runs[0].sections[0].charts[0].layers[0]
    assert of_ranks(page, "plot.layout.meta.ranks") == [0, 1, 2, 3, 4, 5]
    page.click("text=Slowest first")
    assert layer.order is not None and layer.z is not None
    assert of_ranks(page, "plot.layout.meta.ranks") == layer.order
    assert of_ranks(page, "Array.from(plot.querySelectorAll('.ytick text'), (text) => text.textContent)") == [
        f"rank {one}" for one in layer.order
    ]
    first = [round(100 * value, 3) for value in layer.z[3] if value is not None]
    assert of_ranks(page, "plot._fullData[0].z[0]") == pytest.approx(first, abs=1e-3)
    assert of_ranks(page, "plot.data.find((trace) => trace.meta === 'rows').y") == [3, 1, 4, 0, 2, 5]
    assert of_ranks(page, "plot.layout.annotations.find((label) => label.text.startsWith('rank 3, step 30')).y") == 0
    page.click("#theme")
    page.wait_for_function("() => document.querySelector('.run .plot').dataset.drawn === 'dark'")
    assert of_ranks(page, "plot.layout.meta.ranks") == layer.order, "another theme keeps the order"
    page.click("text=By rank")
    assert of_ranks(page, "plot.layout.meta.ranks") == [0, 1, 2, 3, 4, 5]
    assert page.get_attribute("text=By rank", "aria-pressed") == "true"
    assert seen.unexpected == []


def test_a_cell_knows_its_rank_and_step_after_sorting(opened: Opener, at: str) -> None:
    page, _ = opened("heat", url=at)
    draw_all(page)
    page.click("text=Slowest first")
    x, y = of_ranks(
        page,
        "(plot.scrollIntoView({ block: 'center', behavior: 'instant' }), plot.on('plotly_click', (event) => { window.clicked = event.points[0]; }),"
        " [plot.getBoundingClientRect(), plot._fullLayout.xaxis, plot._fullLayout.yaxis])",
        # Column 7 of the second row.
        "([box, across, down]) => [box.left + across._offset + across.d2p(7), box.top + down._offset + down.d2p(1)]",
    )
    page.mouse.move(x, y)
    page.mouse.click(x, y)
    page.wait_for_function("() => window.clicked")
    place = page.evaluate("() => [window.clicked.y, window.clicked.x, window.clicked.data.meta]")
    assert place == [1, 7, "cells"]
    assert of_ranks(page, "[plot.layout.meta.ranks[1], plot.layout.meta.steps[7], plot.data[0].text[1][7]]") == [
        1,
        7,
        "rank 1, step 7",
    ]


def test_the_numbers_of_the_table_are_those_of_the_report(opened: Opener, report: Report, at: str) -> None:
    page, seen = opened("heat", url=at)
    draw_all(page)
    cells = report.to_dict()["comparison"]["sections"][1]["charts"][0]["layers"][0]["z"]
    wanted = [phrase(value, "share") for row in cells for value in row if value is not None]
    shown = page.evaluate(
        "() => Array.from(document.querySelectorAll('#hierarchy .heatmap-label'), (text) => text.textContent)"
    )
    assert sorted(shown) == sorted(wanted)
    lefts = page.evaluate(
        "(names) => names.map((name) => Array.from(document.querySelectorAll('#hierarchy .annotation text'))"
        ".find((text) => text.textContent === name).getBoundingClientRect().left)",
        [name.strip() for name in NAMES],
    )
    assert lefts[0] < lefts[2] < lefts[5], "children are indented"
    assert page.evaluate("() => document.querySelectorAll('#hierarchy .colorbar').length") == 0
    assert seen.unexpected == []


@pytest.mark.parametrize("order", ["By rank", "Slowest first"])
@pytest.mark.parametrize("width", [390, 1300])
def test_no_text_of_a_heatmap_is_cut_off(opened: Opener, at: str, width: int, order: str) -> None:
    page, seen = opened("heat", url=at, viewport={"width": width, "height": 844})
    draw_all(page)
    page.click(f"text={order}")
    assert page.evaluate("() => document.documentElement.scrollWidth") == width
    cut = page.evaluate(
        SHOWN + ".flatMap((plot) => { const box = plot.getBoundingClientRect();"
        " return Array.from(plot.querySelectorAll('svg text')).filter((text) => text.textContent)"
        ".filter((text) => { const at = text.getBoundingClientRect();"
        " return at.width && (at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 || at.bottom > box.bottom + 1); })"
        ".map((text) => text.textContent); })"
    )
    assert cut == []
    assert seen.unexpected == []


def test_paper_has_no_switch(opened: Opener, at: str) -> None:
    page, _ = opened("heat", url=at)
    draw_all(page)
    page.emulate_media(media="print")
    assert not page.is_visible(".orders")
