"""The timeline in a real browser: it draws, is moved about in, finds, explains, and leads to the same operation on other ranks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaleprof import Report, analyze
from scaleprof.render.timelines import MOST_SLICES, payload_of
from scaleprof.results import Result, RunReport, Table
from scaleprof.run import RunInfo
from tests.render.in_browser import IN_BROWSER, Opener

pytestmark = IN_BROWSER
COLORS_OF_CANVAS = """() => {
  const of = document.querySelector(".timeline canvas"), seen = new Set();
  const data = of.getContext("2d").getImageData(0, 0, of.width, of.height).data;
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) seen.add(data[at] + "," + data[at + 1]);
  return seen.size;
}"""
COLUMNS = (
    "rank",
    "row",
    "depth",
    "start_ms",
    "dur_ms",
    "wait_ms",
    "name",
    "color",
    "operation",
    "bytes",
    "step_from_ms",
    "step_to_ms",
)
SAMPLES = Path(__file__).parent.parent.parent / "sample_traces"


@pytest.fixture(scope="module")
def report() -> Report:
    """Two ranks of NCCL, of which the second comes 30 ms late."""
    return analyze(sorted(SAMPLES.glob("nccl-late-timeline-*")))


@pytest.fixture
def timeline(report: Report, opened: Opener, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """The page, scrolled to the timeline, and its figure."""
    (tmp_path / "page.html").write_text(report.to_html(), encoding="utf-8")
    page, seen = opened("timeline", url=f"file://{tmp_path}/page.html")
    figure = page.locator(".timeline").first
    figure.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('.timeline canvas').dataset.from")
    yield page, figure
    assert not seen.unexpected
    assert not [url for url in seen.requests if not url.startswith(("file:", "blob:", "data:"))]


def slices_of(report: Report) -> Table:
    [table] = [section.timeline for section in report.runs[0].sections if section.timeline is not None]
    return table


def view(page: Any) -> tuple[float, float]:
    return tuple(
        page.evaluate(
            "() => { const of = document.querySelector('.timeline canvas').dataset; return [Number(of.from), Number(of.to)]; }"
        )
    )


def click_longest_wait(page: Any, figure: Any, report: Report) -> int:
    """Click into the operation that waits longest; its place among the slices."""
    table = slices_of(report)
    place = max(range(len(table)), key=lambda one: table["wait_ms"][one] or 0)
    start, end = view(page)
    box = figure.locator("canvas").bounding_box()
    middle = table["start_ms"][place] + table["dur_ms"][place] / 2
    x = 64 + (middle - start) / (end - start) * (box["width"] - 72)
    for y in range(30, int(box["height"]), 4):  # its line is found by trying, as a reader would
        figure.locator("canvas").click(position={"x": x, "y": y})
        if page.evaluate("() => document.querySelector('.timeline canvas').dataset.selected") == str(place):
            return place
    raise AssertionError("the operation that waits longest cannot be clicked")


def test_a_click_explains_an_operation_and_leads_to_the_other_rank(timeline: tuple[Any, Any], report: Report) -> None:
    page, figure = timeline
    place = click_longest_wait(page, figure, report)
    table = slices_of(report)
    details = figure.locator(".timeline-details")
    assert table["name"][place] in details.inner_text()
    assert f"rank {table['rank'][place]}, communication" in details.inner_text()
    assert f"{table['bytes'][place]:,} bytes" in details.inner_text()
    waited = float(f"{table['wait_ms'][place]:.4g}")
    assert f"waits {waited:g} ms of it" in details.inner_text()
    details.get_by_role("button").first.click()
    page.wait_for_timeout(200)
    other = int(page.evaluate("() => document.querySelector('.timeline canvas').dataset.selected"))
    assert table["operation"][other] == table["operation"][place]
    assert table["rank"][other] != table["rank"][place]


def test_keys_zoom_and_move_and_show_everything_again(timeline: tuple[Any, Any]) -> None:
    page, figure = timeline
    canvas = figure.locator("canvas")
    canvas.focus()
    begin, end = view(page)

    def press(key: str) -> tuple[float, float]:
        page.keyboard.press(key)
        page.wait_for_timeout(120)
        return view(page)

    start, stop = press("w")
    assert stop - start == pytest.approx((end - begin) / 1.4, rel=0.01)
    assert press("d") == pytest.approx((start + 0.2 * (stop - start), stop + 0.2 * (stop - start)), rel=0.01)
    press("a")
    press("s")
    assert press("0") == pytest.approx((begin, end), rel=0.01)


def test_slices_are_found_by_name_one_after_the_other(timeline: tuple[Any, Any], report: Report) -> None:
    _, figure = timeline
    table = slices_of(report)
    expected = sum("all_reduce" in name.lower() for name in table["name"])
    figure.locator("input").fill("All_Reduce")
    assert figure.locator("[data-found]").inner_text() == f"{expected} found"
    figure.locator("input").press("Enter")
    assert figure.locator("[data-found]").inner_text() == f"1 of {expected}"
    assert "all_reduce" in figure.locator(".timeline-details").inner_text()


def test_the_host_can_be_left_out_and_the_theme_changed(timeline: tuple[Any, Any]) -> None:
    page, figure = timeline
    tall = figure.locator("canvas").bounding_box()["height"]
    figure.get_by_role("button", name="Host").click()
    page.wait_for_timeout(200)
    assert figure.locator("canvas").bounding_box()["height"] < tall
    before = page.evaluate("() => document.querySelector('.timeline canvas').toDataURL()")
    page.locator("#theme").click()
    page.wait_for_timeout(300)
    assert page.evaluate("() => document.querySelector('.timeline canvas').toDataURL()") != before


def test_a_frame_of_many_slices_is_drawn_quickly_enough_to_move(timeline: tuple[Any, Any], report: Report) -> None:
    """No time is asserted: twenty frames in a row end at all, and the picture is not empty."""
    page, figure = timeline
    figure.locator("canvas").focus()
    for _ in range(20):
        page.keyboard.press("w")
    page.keyboard.press("0")
    page.wait_for_timeout(200)
    colors = page.evaluate(COLORS_OF_CANVAS)
    assert colors > 4


def test_paper_gets_a_timeline_that_was_never_scrolled_to(report: Report, opened: Opener, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(report.to_html(), encoding="utf-8")
    page, seen = opened("paper", url=f"file://{tmp_path}/page.html", viewport={"width": 1300, "height": 300})
    page.wait_for_function("() => document.querySelector('.plot[data-drawn]')")
    assert page.evaluate("() => document.querySelector('.timeline canvas').dataset.from") is None
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("() => document.querySelector('.timeline canvas').dataset.from") is not None
    assert page.evaluate(COLORS_OF_CANVAS) > 4
    assert not seen.unexpected


def test_evil_names_are_text(opened: Opener, tmp_path: Path) -> None:
    evil = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 2">'
    table = Table.of_rows(
        COLUMNS,
        [
            [0, 2, 0, 0.0, 10.0, 4.0, evil, "exposed_transfer", 1, 100, 0.0, 10.0],
            [1, 2, 0, 0.0, 10.0, 0.0, evil, "exposed_transfer", 1, 100, 0.0, 10.0],
        ],
    )
    run = RunReport(RunInfo(evil, 2), (0, 1), (Result("timeline", "Timeline of one step", evil, timeline=table),))
    (tmp_path / "page.html").write_text(Report("evil", "", (run,)).to_html(), encoding="utf-8")
    page, seen = opened("evil", url=f"file://{tmp_path}/page.html")
    figure = page.locator(".timeline").first
    figure.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('.timeline canvas').dataset.from")
    box = figure.locator("canvas").bounding_box()
    figure.locator("canvas").click(position={"x": box["width"] / 2, "y": 52})
    assert evil in figure.locator(".timeline-details").inner_text()
    assert page.evaluate("() => window.hacked") is None
    assert page.locator("img").count() == 0
    assert not seen.unexpected


def test_a_report_has_room_for_so_many_slices_and_says_where_some_are_missing() -> None:
    table = Table.of_rows(
        COLUMNS,
        [
            [0, 1, 0, float(one), 1.0, None, "kernel", "compute", None, None, 0.0, 9.0]
            for one in range(MOST_SLICES // 2 + 1)
        ],
    )
    runs = tuple(
        RunReport(
            RunInfo(f"run-{number}", 1), (0,), (Result("timeline", "Timeline of one step", "a step", timeline=table),)
        )
        for number in range(2)
    )
    page = Report("two", "", runs).to_html()
    assert page.count('data-timeline="') == 1
    assert "analyze this run alone" in page
    payload = payload_of(table)
    assert (payload["names"], payload["ranks"], len(payload["at"])) == (["kernel"], [0], len(table))
