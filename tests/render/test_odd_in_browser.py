"""Reports on runs that lack something: no frame is empty, and no word of a program stands where a value is missing."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.render.in_browser import IN_BROWSER, Opener, blank_charts, draw_all
from tests.render.made_odd import ODD

pytestmark = [*IN_BROWSER, pytest.mark.long]

MISSING = re.compile(r"\b(NaN|nan|undefined|None|null|-?Infinity|inf)\b|\[object")
EMPTY = """() => Array.from(document.querySelectorAll('main section, main .card, main table')).filter((part) => part.offsetParent)
  .filter((part) => !part.matches('table') ? part.innerText.trim() === '' && !part.querySelector('canvas, svg')
                                           && !part.matches('details') : !part.tBodies[0].rows.length)
  .map((part) => part.outerHTML.slice(0, 160))"""
WORDS = """() => [document.body.innerText, ...Array.from(document.querySelectorAll('svg text'), (text) => text.textContent),
  ...Array.from(document.querySelectorAll('[title], [aria-label]'), (part) => part.title + ' ' + part.getAttribute('aria-label'))
    .map((words) => words.replace(/ null$/, ''))].join('\\n')"""


@pytest.mark.parametrize("name", ODD)
def test_nothing_is_empty_and_nothing_is_a_word_of_a_program(opened: Opener, tmp_path: Path, name: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(ODD[name]().to_html(), encoding="utf-8")
    page, seen = opened(name, url=path.as_uri())
    page.evaluate("() => { for (const part of document.querySelectorAll('details')) part.open = true; }")
    draw_all(page)
    page.wait_for_timeout(100)
    assert seen.unexpected == []
    assert blank_charts(page) == []
    assert page.evaluate(EMPTY) == []
    assert page.locator(".empty:visible").count() == 0
    assert missing_in(page) == []


def missing_in(page: Any) -> list[str]:
    """Lines of the page with such a word."""
    return [line for line in page.evaluate(WORDS).splitlines() if MISSING.search(line)]


@pytest.mark.parametrize("at", ["", "#overview?rank=612"])
def test_a_rank_whose_row_is_not_on_the_page_is_looked_up_all_the_same(opened: Opener, tmp_path: Path, at: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(ODD["1,024 ranks"]().to_html(), encoding="utf-8")
    page, seen = opened("many", url=path.as_uri(), at=at)
    if not at:
        page.fill("#rank-select", "612")
        page.press("#rank-select", "Enter")
    page.wait_for_function("() => document.querySelectorAll('.marked:not([hidden]) dt').length > 0")
    marked = page.locator(".marked:visible").inner_text()
    assert marked.startswith("Rank 612 of this run")
    assert "step ms 100" in marked
    assert seen.unexpected == []
