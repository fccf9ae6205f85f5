"""The figures of `docs/`, cut from the example reports: `make docs-figures`."""

import sys
from dataclasses import dataclass
from typing import Any

from tests.docs.blocks import DOCS, ROOT
from tests.render.in_browser import CHROMIUM, draw_all

FOLDER = DOCS / "figures"
MOST_BYTES = 150_000
WIDTH = 1100


@dataclass(frozen=True)
class Figure:
    """A section of a report, shown where the page's own address leads."""

    report: str
    section: str
    """Its name; empty for the first screen."""
    run: int | None = None
    """Place of the run that is selected; none for sections that compare runs."""
    height: int = 640
    """At most so much of it, from the top."""


FIGURES = {
    "overview": Figure("sample", "", height=700),
    "time": Figure("sample", "time", 8),
    "scaling": Figure("horovod", "scaling", height=900),
    "timeline": Figure("sample", "timeline", 8),
    "stragglers": Figure("horovod", "stragglers", 1),
    "idle": Figure("gpu", "idle"),
    "whatif": Figure("sample", "whatif", 8),
}


def take(browser: Any, name: str, figure: Figure) -> None:
    """One picture, small enough for a page."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
    address = (ROOT / "reports" / f"{figure.report}.html").as_uri()
    page.goto(address)
    page.wait_for_function("() => document.querySelector('.plot[data-drawn]')")
    if figure.run is not None:
        key = page.evaluate(f"() => document.querySelector('option[value=\"{figure.run}\"][data-key]').dataset.key")
        page.evaluate("(key) => { location.hash = '#overview?' + new URLSearchParams({ run: key }); }", key)
        page.wait_for_timeout(500)
    page.add_style_tag(content=".top { position: static !important; }")
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": figure.height}
    if figure.section:
        draw_all(page)
        section = page.locator(f'main section[data-name="{figure.section}"]:visible').first
        # A screen that is higher than the section shows the whole of it, and what lies further down is drawn no more.
        page.set_viewport_size({"width": WIDTH, "height": int(section.bounding_box()["height"]) + 200})
        section.scroll_into_view_if_needed()
        page.wait_for_timeout(500)
        box = section.bounding_box()
        clip = {name: box[name] for name in ("x", "y", "width")} | {"height": min(box["height"], figure.height)}
    else:
        page.evaluate("() => window.scrollTo({ top: 0, behavior: 'instant' })")
        page.wait_for_timeout(500)
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path, clip=clip)
    page.close()
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}")


def main(names: list[str]) -> None:
    """These figures anew, or all."""
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as running:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = running.chromium.launch(executable_path=CHROMIUM, args=arguments)
        for name in names or FIGURES:
            take(browser, name, FIGURES[name])
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
