"""The timeline in a real browser: it draws, is moved about in, finds, explains, and leads to the same operation on other ranks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaleprof import Report, analyze
from scaleprof.render.timelines import MOST_SLICES, payload_of, put_into
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
    "step",
    "step_label",
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


def slices_of(report: Report, place: int = 0) -> Table:
    """Those of one of the steps: the typical one, the slowest."""
    [table] = [section.timeline for section in report.runs[0].sections if section.timeline is not None]
    step = list(dict.fromkeys(table["step"]))[place]
    rows = [row for row, of in enumerate(table["step"]) if of == step]
    return Table({name: [column[row] for row in rows] for name, column in table.columns.items()})


def view(page: Any) -> tuple[float, float]:
    return tuple(
        page.evaluate(
            "() => { const of = document.querySelector('.timeline canvas').dataset; return [Number(of.from), Number(of.to)]; }"
        )
    )


def click_longest_wait(page: Any, figure: Any, table: Table) -> int:
    """Click into the operation that waits longest; its place among the slices."""
    start, end = view(page)
    seen = [one for one, at in enumerate(table["start_ms"]) if start < at and at + table["dur_ms"][one] < end]
    place = max(seen, key=lambda one: table["wait_ms"][one] or 0)
    box = figure.locator("canvas").bounding_box()
    middle = table["start_ms"][place] + table["dur_ms"][place] / 2
    x = 64 + (middle - start) / (end - start) * (box["width"] - 72)
    for y in range(30, int(box["height"]), 4):  # its line is found by trying, as a reader would
        figure.locator("canvas").click(position={"x": x, "y": y})
        if page.evaluate("() => document.querySelector('.timeline canvas').dataset.selected") == str(place):
            return place
    raise AssertionError("the operation that waits longest cannot be clicked")


def is_explained(page: Any, figure: Any, table: Table) -> None:
    """A click into the operation that waits longest says what it is, and leads to the same one on the other rank."""
    place = click_longest_wait(page, figure, table)
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


def test_a_click_explains_an_operation_and_leads_to_the_other_rank(timeline: tuple[Any, Any], report: Report) -> None:
    is_explained(*timeline, slices_of(report))


def pressed(figure: Any) -> list[str]:
    """The buttons of the steps, the pressed one with a star."""
    return [
        button.inner_text() + ("*" if button.get_attribute("aria-pressed") == "true" else "")
        for button in figure.locator(".timeline-steps button").all()
    ]


def test_another_step_is_chosen_by_button_and_key_and_everything_works_in_it(
    timeline: tuple[Any, Any], report: Report
) -> None:
    page, figure = timeline
    labels = [slices_of(report, place)["step_label"][0] for place in range(2)]
    assert [label.split()[2].rstrip(":") for label in labels] == ["typical", "slowest"]
    assert pressed(figure) == [f"{labels[0]}*", labels[1]]
    figure.locator("input").fill("all_reduce")
    figure.locator(".timeline-steps button").nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    assert pressed(figure) == [labels[0], f"{labels[1]}*"]
    slow = slices_of(report, 1)
    assert figure.locator("canvas").get_attribute("data-step") == str(slow["step"][0])
    assert figure.locator("canvas").get_attribute("aria-label") == f"Timeline of {labels[1]}"
    assert figure.locator("[data-found]").inner_text() == f"{sum('all_reduce' in name for name in slow['name'])} found"
    start, end = view(page)
    assert start < 0 and end > max(slow["step_to_ms"]), "the step before was seen as a whole, and so is this one"
    is_explained(page, figure, slow)
    figure.locator("canvas").focus()
    page.keyboard.press("1")
    page.wait_for_timeout(200)
    assert pressed(figure)[0] == f"{labels[0]}*"
    assert figure.locator(".timeline-details").inner_text() == ""


def test_another_step_is_shown_at_the_same_times_since_its_beginning(timeline: tuple[Any, Any]) -> None:
    page, figure = timeline
    figure.locator("canvas").focus()
    for key in "wwwd":
        page.keyboard.press(key)
    page.wait_for_timeout(200)
    before = view(page)
    for key in "21":
        page.keyboard.press(key)
        page.wait_for_timeout(200)
        assert view(page) == pytest.approx(before, rel=1e-6)


def test_the_step_and_the_rank_that_the_page_has_selected_are_shown(
    report: Report, opened: Opener, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text(report.to_html(), encoding="utf-8")
    step = slices_of(report, 1)["step"][0]
    page, seen = opened("selected", url=f"file://{tmp_path}/page.html", at=f"#run-0-timeline?rank=1&step={step}")
    figure = page.locator(".timeline").first
    page.wait_for_function("() => document.querySelector('.timeline canvas').dataset.from")
    assert pressed(figure)[1].endswith("*")
    figure.locator(".timeline-steps button").first.click()
    assert pressed(figure)[0].endswith("*"), "the reader's own choice stays"
    page.locator("#theme").click()
    assert pressed(figure)[0].endswith("*")
    assert f"step={step}" in page.url
    kept = {slices_of(report, place)["step"][0] for place in range(2)}
    absent = next(number for number in range(7, 16) if number not in kept)
    page.fill("#step-select", str(absent))
    page.press("#step-select", "Enter")
    page.wait_for_function(
        "(words) => document.querySelector('.timeline-what').textContent.includes(words)",
        arg=f"step {absent} is not among the steps shown here",
    )
    assert pressed(figure)[0].endswith("*")
    assert not seen.unexpected


def test_the_selected_rank_is_the_first_of_many(opened: Opener, tmp_path: Path) -> None:
    rows = [
        [3, "step 3: 10 ms", rank, 1, 0, 0.0, 10.0, None, f"kernel of {rank}", "compute", None, None, 0.0, 10.0]
        for rank in range(12)
    ]
    table = Table.of_rows(COLUMNS, rows)
    run = RunReport(RunInfo("run", 12), tuple(range(12)), (Result("timeline", "Timeline", "made", timeline=table),))
    (tmp_path / "page.html").write_text(Report("many", "", (run,)).to_html(), encoding="utf-8")
    page, _ = opened("many", url=f"file://{tmp_path}/page.html", at="#run-0-timeline?rank=7")
    page.wait_for_function("() => document.querySelector('.timeline canvas').dataset.from")
    figure = page.locator(".timeline").first
    canvas = figure.locator("canvas")
    canvas.click(position={"x": canvas.bounding_box()["width"] / 2, "y": 52})
    assert "kernel of 7" in figure.locator(".timeline-details").inner_text()
    assert not figure.locator(".timeline-steps").is_visible(), "there is one step"
    assert figure.locator(".timeline-what").inner_text() == "step 3: 10 ms"
    page.fill("#rank-select", "")
    page.press("#rank-select", "Enter")
    page.wait_for_timeout(200)
    canvas.click(position={"x": canvas.bounding_box()["width"] / 2, "y": 52})
    assert "kernel of 0" in figure.locator(".timeline-details").inner_text()


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
            [3, evil, 0, 2, 0, 0.0, 10.0, 4.0, evil, "exposed_transfer", 1, 100, 0.0, 10.0],
            [3, evil, 1, 2, 0, 0.0, 10.0, 0.0, evil, "exposed_transfer", 1, 100, 0.0, 10.0],
            [4, evil, 1, 2, 0, 0.0, 10.0, 0.0, evil, "exposed_transfer", 1, 100, 0.0, 10.0],
        ],
    )
    run = RunReport(RunInfo(evil, 2), (0, 1), (Result("timeline", "Timeline", evil, timeline=table),))
    (tmp_path / "page.html").write_text(Report("evil", "", (run,)).to_html(), encoding="utf-8")
    page, seen = opened("evil", url=f"file://{tmp_path}/page.html")
    figure = page.locator(".timeline").first
    figure.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('.timeline canvas').dataset.from")
    assert figure.locator(".timeline-steps button").all_inner_texts() == [evil, evil]
    box = figure.locator("canvas").bounding_box()
    figure.locator("canvas").click(position={"x": box["width"] / 2, "y": 52})
    assert evil in figure.locator(".timeline-details").inner_text()
    assert page.evaluate("() => window.hacked") is None
    assert page.locator("img").count() == 0
    assert not seen.unexpected


def steps_of(sizes: dict[str, int]) -> Table:
    """A timeline with so many slices by label of the step."""
    return Table.of_rows(
        COLUMNS,
        [
            [step, label, 0, 1, 0, float(one), 1.0, None, "kernel", "compute", None, None, 0.0, 9.0]
            for step, (label, size) in enumerate(sizes.items())
            for one in range(size)
        ],
    )


def test_a_report_has_room_for_so_many_slices_and_says_where_some_are_missing() -> None:
    table = steps_of({"step 0": MOST_SLICES // 2 + 1})
    runs = tuple(
        RunReport(RunInfo(f"run-{number}", 1), (0,), (Result("timeline", "Timeline", "a step", timeline=table),))
        for number in range(2)
    )
    page = Report("two", "", runs).to_html()
    assert page.count('data-timeline="') == 1
    assert "analyze this run alone" in page
    payload = payload_of(table)
    [step] = payload["steps"]
    assert (payload["names"], payload["ranks"], len(step["at"])) == (["kernel"], [0], len(table))


def test_where_room_is_short_the_extra_steps_go_first_and_the_largest_of_them() -> None:
    tenth = MOST_SLICES // 10
    timelines: dict[str, dict[str, Any]] = {}
    assert put_into(timelines, steps_of({"a": 2 * tenth, "a slow": 3 * tenth, "a fast": tenth})) == "timeline-0"
    assert put_into(timelines, steps_of({"b": 2 * tenth, "b slow": 3 * tenth, "b fast": tenth})) == "timeline-1"
    kept = {key: [step["label"] for step in one["steps"]] for key, one in timelines.items()}
    assert kept == {"timeline-0": ["a", "a slow", "a fast"], "timeline-1": ["b", "b fast"]}, "no room for three tenths"
    assert put_into(timelines, steps_of({"c": 4 * tenth, "c slow": tenth})) == "timeline-2"
    kept = {key: [step["label"] for step in one["steps"]] for key, one in timelines.items()}
    assert kept == {"timeline-0": ["a", "a fast"], "timeline-1": ["b", "b fast"], "timeline-2": ["c"]}
    assert [one["no_room_for"] for one in timelines.values()] == [["a slow"], ["b slow"], ["c slow"]]
    assert put_into(timelines, steps_of({"d": 3 * tenth})) == "", "not even without all extra steps"
    assert len(timelines["timeline-0"]["steps"]) == 2


def test_times_of_a_payload_are_whole_ticks_from_one_slice_to_the_next() -> None:
    table = Table.of_rows(
        COLUMNS,
        [
            [3, "step 3", 0, 1, 0, -0.5, 1.0, None, "k", "compute", None, None, 0.0, 9.0],
            [3, "step 3", 4, 2, 1, 2.00004, 0.00001, 0.5, "k", "compute", 7, 64, 0.25, 9.5],
            [5, "step 5", 4, 2, 0, 1.0, 2.0, None, "j", "compute", None, None, 0.0, 8.0],
        ],
    )
    payload = payload_of(table)
    assert (payload["tick_ms"], payload["ranks"], payload["names"]) == (1e-4, [0, 4], ["k", "j"])
    first, second = payload["steps"]
    assert (first["at"], first["dur"], first["wait"]) == ([-5000, 25000], [10000, 1], [None, 5000])
    assert (first["windows"], first["rank"]) == ([[0, 90000], [2500, 95000]], [0, 1])
    assert (second["at"], second["windows"], second["name"]) == ([10000], [None, [0, 80000]], [1])
