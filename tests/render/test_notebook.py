"""A report in a notebook: its page draws in a sandboxed frame, asks for nothing and stays inside."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.render.in_browser import CHROMIUM, IN_BROWSER, Opener, draw_all
from tests.render.made import REPORTS, evil, study


class Seen(HTMLParser):
    """The elements of a piece of HTML, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def test_the_whole_page_is_in_one_frame_that_may_run_scripts_and_nothing_else() -> None:
    for make in (study, evil):
        [(tag, attributes)] = Seen(make()._repr_html_()).elements
        assert tag == "iframe"
        assert attributes["sandbox"] == "allow-scripts allow-downloads"
        assert attributes["srcdoc"] == make().to_html()
        assert "width:100%" in (attributes["style"] or "")


@pytest.mark.parametrize("name", REPORTS)
class TestInBrowser:
    pytestmark = IN_BROWSER

    def test_it_draws_without_error_or_request(self, opened: Opener, tmp_path: Path, name: str) -> None:
        cells = (
            f"<!doctype html><meta charset=utf-8><title>notebook</title><h1>cell</h1>{REPORTS[name]()._repr_html_()}"
        )
        (tmp_path / "notebook.html").write_text(cells, encoding="utf-8")
        page, seen = opened(name, url=f"file://{tmp_path / 'notebook.html'}")
        frame = page.frames[1]
        frame.wait_for_function(
            "() => document.documentElement.classList.contains('js') && document.readyState === 'complete'"
        )
        draw_all(frame)
        drawn = frame.evaluate("() => document.querySelectorAll('.plot[data-drawn] svg').length")
        assert drawn or name == "minimal"
        assert frame.evaluate("() => window.origin") == "null", "it is nobody's page"
        assert seen.unexpected == []
        assert [url for url in seen.requests if not url.startswith(("data:", "blob:"))] == [
            f"file://{tmp_path / 'notebook.html'}",
            *(url for url in seen.requests if url == "about:srcdoc"),
        ]
        assert page.evaluate("() => window.evil") is None
        assert frame.evaluate("() => window.evil") is None


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: the page was not tried in a browser")
def test_links_and_theme_work_inside_the_frame(opened: Opener, tmp_path: Path) -> None:
    (tmp_path / "notebook.html").write_text(f"<meta charset=utf-8>{study()._repr_html_()}", encoding="utf-8")
    page, seen = opened("study", url=f"file://{tmp_path / 'notebook.html'}")
    frame = page.frames[1]
    frame.wait_for_function("() => document.readyState === 'complete'")
    before = frame.evaluate("() => document.documentElement.dataset.theme")
    frame.evaluate("() => document.getElementById('theme').click()")
    assert {before, frame.evaluate("() => document.documentElement.dataset.theme")} == {"light", "dark"}
    for place in range(frame.evaluate("() => document.querySelectorAll('a[href^=\"#\"]').length"))[:12]:
        frame.evaluate("(place) => document.querySelectorAll('a[href^=\"#\"]')[place].click()", place)
        page.wait_for_timeout(50)
        assert frame.url.startswith("about:srcdoc")
        assert frame.evaluate("() => document.getElementById('theme') !== null"), "the page is still there"
    assert seen.unexpected == []
