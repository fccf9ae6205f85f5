"""The page's what-ifs: with nothing changed the measured step, at every combination of the grid the replayed one, between two what lies between."""

import json
from pathlib import Path
from typing import Any

import pytest

from scaleprof import analyze
from scaleprof.render.html import render_html
from scaleprof.results import Report
from tests.render.in_browser import IN_BROWSER, Opener

pytestmark = IN_BROWSER
SAMPLES = Path(__file__).parents[2] / "sample_traces"
_SET = """([link, switches]) => {
  const card = document.querySelector('[data-grid]'), slider = card.querySelector('input[type=range]');
  if (slider) { slider.value = Math.log2(link); slider.dispatchEvent(new Event('input')); }
  for (const box of card.querySelectorAll('input[type=checkbox]')) {
    box.checked = Boolean(switches[box.dataset.what]);
    box.dispatchEvent(new Event('input'));
  }
  return [Number(card.querySelector('.whatif-answer').dataset.step), card.querySelector('.whatif-answer').textContent];
}"""


@pytest.fixture(scope="module")
def report() -> Report:
    [folder] = SAMPLES.glob("emulated-ddp-syncbn-n2-????????")
    return analyze([folder])


@pytest.fixture
def page(opened: Opener, report: Report, tmp_path: Path) -> Any:
    file = tmp_path / "report.html"
    file.write_text(render_html(report), encoding="utf-8")
    page, seen = opened("study", url=file.as_uri())
    page.locator("[data-grid]").first.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('.whatif-answer')?.dataset.step")
    yield page
    assert seen.unexpected == []


def test_the_page_says_what_the_grid_holds(page: Any, report: Report) -> None:
    [section] = [one for one in report.runs[0].sections if one.name == "whatif"]
    grid = section.tables["whatif_grid"]
    switches = [name for name in grid.columns if name not in ("link", "step_ms")]
    rows = grid.rows()
    base = next(row[-1] for row in rows if row[0] == 1 and not any(row[1:-1]))
    assert page.evaluate("() => document.querySelector('.whatif-answer').textContent").endswith(
        "ms a step, as measured"
    )
    assert {box.get_attribute("data-what") for box in page.locator(".whatif input[type=checkbox]").all()} == set(
        switches
    )
    for row in rows:
        step, said = page.evaluate(_SET, [row[0], dict(zip(switches, row[1:-1], strict=True))])
        # The slider stops every hundredth of a doubling.
        assert step == pytest.approx(row[-1], rel=2e-3), json.dumps(row)
        if row[0] == 2:
            assert f"{base / row[-1]:.2f}× as fast as measured" in said


def test_between_two_replays_it_reads_along_the_bandwidth(page: Any, report: Report) -> None:
    [section] = [one for one in report.runs[0].sections if one.name == "whatif"]
    by_link = {row[0]: row[-1] for row in section.tables["whatif_grid"].rows() if not any(row[1:-1])}
    step, _ = page.evaluate(_SET, [2**1.25, {}])
    link = 2**1.25
    share = (1 / link - 1 / 2) / (1 / 3 - 1 / 2)
    assert step == pytest.approx(by_link[2] + (by_link[3] - by_link[2]) * share)


def test_the_button_takes_every_change_back(page: Any) -> None:
    _, said = page.evaluate(_SET, [4, {"no_syncbn": 1}])
    assert "as fast as measured" in said
    page.click(".whatif button")
    assert page.evaluate("() => document.querySelector('.whatif-answer').textContent").endswith("as measured")


def test_a_run_without_grid_has_no_card(opened: Opener) -> None:
    page, _ = opened("minimal")
    assert page.locator("[data-grid]").count() == 0
