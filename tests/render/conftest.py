"""The browser that pages are opened in, and the pages."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.render.in_browser import CHROMIUM, Opener
from tests.render.made import REPORTS


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        # Without a GPU process: its software renderer is what hangs on small machines.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        opened = running.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("reports")
    for name, make in REPORTS.items():
        (folder / f"{name}.html").write_text(make().to_html(), encoding="utf-8")
    return {name: f"file://{folder / name}.html" for name in REPORTS}


@pytest.fixture
def opened(browser: Any, files: dict[str, str]) -> Iterator[Opener]:
    opener = Opener(browser, files)
    yield opener
    for context in opener.contexts:
        context.close()
