"""The page with the keyboard alone: where Tab leads, that one sees where one is, and that Enter and Space do what a click does."""

from typing import Any

import pytest

from tests.render.in_browser import IN_BROWSER, Opener, draw_all

pytestmark = [*IN_BROWSER, pytest.mark.long]

CONTROLS = ["series-select", "run-select", "rank-select", "step-select", "theme", "print"]
FOCUSED = """() => {
  const on = document.activeElement, style = getComputedStyle(on), box = on.getBoundingClientRect();
  return {
    id: on.id,
    what: on.id || on.dataset.show || on.dataset.csv || on.dataset.png || on.dataset.do || on.getAttribute("href") || on.tagName.toLowerCase(),
    tag: on.tagName.toLowerCase(),
    acts: !!on.closest(".acts"), chart: !!on.closest("figure.chart"), table: !!on.closest(".tabled"), side: !!on.closest(".side"),
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && box.width > 0 && box.bottom > 0 && box.top < innerHeight,
  };
}"""


def tabbed(page: Any, most: int = 400) -> list[dict[str, Any]]:
    """What Tab leads to from the start of the page, until it leaves it."""
    stops: list[dict[str, Any]] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        stop = page.evaluate(FOCUSED)
        if stop["tag"] == "body":
            break
        stops.append(stop)
    return stops


@pytest.fixture
def page(opened: Opener) -> Any:
    """The study with motion switched off, so that what has the focus stands still."""
    page, _ = opened("study", reduced_motion="reduce")
    draw_all(page)
    # Where Tab sets out is where a script scrolled to last, in newer browsers.
    page.evaluate("() => document.body.scrollIntoView({ block: 'start', behavior: 'instant' })")
    return page


def test_tab_leads_through_the_page_as_it_is_read_and_one_sees_where(page: Any) -> None:
    stops = tabbed(page)
    what = [stop["what"] for stop in stops]
    assert what[0] == "#main", "the first stop skips what stands above"
    controls = [one for one in what if one in CONTROLS]
    assert controls == [one for one in CONTROLS if one in controls] and len(controls) >= 5
    assert what.index("print") < what.index("#overview"), "the top bar before the list of sections"
    first_link = next(place for place, stop in enumerate(stops) if stop["acts"] and stop["tag"] in ("a", "summary"))
    last_of_side = max(place for place, stop in enumerate(stops) if stop["side"])
    first_chart = next(place for place, stop in enumerate(stops) if stop["chart"] and stop["tag"] == "button")
    assert last_of_side < first_chart < first_link, "the first page has its chart before its findings"
    of_charts = [stop["what"] for stop in stops if stop["chart"] and stop["tag"] == "button"]
    assert of_charts[:3] == ["chart-0"] * 3, "Data, CSV and PNG of a chart follow one another"
    assert [stop["what"] for stop in stops if not stop["seen"]] == []
    assert len({stop["what"] for stop in stops}) > 40


def test_the_link_that_skips_leads_to_the_content(page: Any) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert not page.evaluate(FOCUSED)["side"]
    assert page.evaluate("() => !!document.activeElement.closest('main')")


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_buttons_act_on_enter_and_space(page: Any, key: str) -> None:
    page.focus("#theme")
    before = page.evaluate("() => document.documentElement.dataset.theme")
    page.keyboard.press(key)
    assert page.evaluate("() => document.documentElement.dataset.theme") != before
    button = page.locator("button[data-show]:visible").first
    button.focus()
    page.keyboard.press(key)
    page.wait_for_selector(".data table")
    assert button.get_attribute("aria-expanded") == "true"
    page.keyboard.press(key)
    page.wait_for_selector(".data table", state="detached")
    with page.expect_download() as saved:
        page.locator("button[data-csv]:visible").first.focus()
        page.keyboard.press(key)
    assert saved.value.suggested_filename.endswith(".csv")
    fold = page.locator("details.how:visible summary").first
    fold.focus()
    page.keyboard.press(key)
    assert page.evaluate("() => document.activeElement.parentElement.open")
    page.evaluate("() => { window.print = () => { window.printed = true; }; }")
    page.focus("#print")
    page.keyboard.press(key)
    page.wait_for_function("() => window.printed")


def test_run_rank_and_step_are_chosen_with_keys(page: Any) -> None:
    page.focus("#run-select")
    page.keyboard.press("Home")
    page.wait_for_function("() => document.querySelector('.run.selected').dataset.run === '0'")
    page.keyboard.press("End")
    page.focus("#rank-select")
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('rank=1')")
    assert page.locator(".marked:visible h3").inner_text() == "Rank 1 of this run"
    page.focus("#step-select")
    page.keyboard.type("5")
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('step=5')")
