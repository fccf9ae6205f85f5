"""Pages opened in a real browser, and what went on while they were open."""

import shutil
from dataclasses import dataclass, field
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
IN_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: the page was not tried in a browser"),
]


_BLANK = """() => Array.from(document.querySelectorAll('.plot')).filter((plot) => plot.clientWidth).filter((plot) => {
  const marks = plot.querySelectorAll('.barlayer .point path, .scatterlayer .js-line, .scatterlayer .point, .heatmaplayer image');
  const area = plot.getBoundingClientRect();
  return !Array.from(marks).some((mark) => {
    const box = mark.getBoundingClientRect();
    const inside = box.right > area.left && box.left < area.right && box.bottom > area.top && box.top < area.bottom;
    return inside && box.width + box.height > 2;
  });
}).map((plot) => document.getElementById(plot.getAttribute('aria-labelledby')).textContent)"""


@dataclass
class Seen:
    """What went on while a page was open."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def unexpected(self) -> list[str]:
        return [error for error in self.errors if "unsafe-eval" not in error]


@dataclass
class Opener:
    """Opens pages and closes them after the test."""

    browser: Any
    files: dict[str, str]
    contexts: list[Any] = field(default_factory=list)

    def __call__(self, name: str, *, at: str = "", url: str = "", **options: Any) -> tuple[Any, Seen]:
        context = self.browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **options})
        self.contexts.append(context)
        page, seen = context.new_page(), Seen()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: seen.errors.append(f"page: {error}"))
        page.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: seen.requests.append(request.url))
        page.add_init_script(
            "window.violations = []; document.addEventListener('securitypolicyviolation',"
            " (event) => window.violations.push([event.effectiveDirective, event.blockedURI]));"
        )
        page.goto((url or self.files[name]) + at)
        return page, seen


_TO_THE_NEXT_UNDRAWN = """() => {
  const isDrawn = (part) => part.dataset.drawn || part.querySelector('canvas[data-from]');
  const parts = Array.from(document.querySelectorAll('.plot, [data-timeline]')).filter((part) => part.clientWidth);
  const next = parts.find((part) => !isDrawn(part));
  if (next) next.scrollIntoView({ block: 'center', behavior: 'instant' });
  window.isNextDrawn = () => isDrawn(next);
  return Boolean(next);
}"""


def draw_all(page: Any) -> None:
    """Scroll to every chart and timeline of the selected run that is not drawn yet, and wait there until it is.

    `page` is a page or a frame. Scrolling by time would pass charts that a slow machine has no frame for, and those stay undrawn.
    """
    while page.evaluate(_TO_THE_NEXT_UNDRAWN):
        page.wait_for_function("() => window.isNextDrawn()")


def blank_charts(page: Any) -> list[str]:
    """Titles of the charts in view of which no mark can be seen."""
    return list(page.evaluate(_BLANK))
