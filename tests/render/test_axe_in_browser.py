"""The rules that axe-core holds pages against, in both themes: what a screen reader is told, what can be reached, what can be read."""

from pathlib import Path
from typing import Any

import pytest

import scaleprof
from tests.render.in_browser import IN_BROWSER, Opener, draw_all
from tests.render.made import REPORTS

pytestmark = IN_BROWSER

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
SAMPLES = Path(__file__).parents[2] / "sample_traces"
REAL = "real"


@pytest.fixture(scope="module")
def real_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a study that was recorded, strong scaling at three sizes."""
    path = tmp_path_factory.mktemp("real") / "report.html"
    report = scaleprof.analyze(sorted(SAMPLES.glob("emulated-ddp-strong-*")))
    path.write_text(report.to_html(), encoding="utf-8")
    return f"file://{path}"


def violations(page: Any) -> list[str]:
    """What axe-core finds wrong, a line for each rule and element."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    found = axe.Axe().run(page, options=options).response
    assert found["testEngine"]["name"] == "axe-core"
    return [
        f"{rule['id']}: {node['html'][:160]} ({node['failureSummary'].splitlines()[1].strip()})"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize(
    ("name", "scheme"),
    [(REAL, "light"), ("study", "dark"), *(pytest.param(name, "light", marks=pytest.mark.long) for name in REPORTS)],
)
def test_axe_finds_nothing(opened: Opener, real_page: str, name: str, scheme: str) -> None:
    # The page's policy forbids the script that looks at it.
    page, _ = opened(name, url=real_page if name == REAL else "", color_scheme=scheme, bypass_csp=True)
    draw_all(page)
    page.evaluate("() => window.scrollTo(0, 0)")
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_with_all_parts_open_and_a_rank_selected(opened: Opener, real_page: str, scheme: str) -> None:
    page, _ = opened(REAL, url=real_page, at="#overview?rank=1&step=5", color_scheme=scheme, bypass_csp=True)
    draw_all(page)
    page.evaluate("() => { for (const part of document.querySelectorAll('details')) part.open = true; }")
    for button in page.locator("button[data-show]:visible").all()[:3]:
        button.click()
    draw_all(page)
    assert page.locator(".marked:visible").count() == 1
    assert page.locator(".data table:visible").count() == 3
    assert violations(page) == []
