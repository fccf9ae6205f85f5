"""Pictures of a report for eyes, light and dark, wide and narrow, section by section, and its printed pages; and the picture in the README.

`make screenshots` writes them into `build/screenshots/`, and the first screen of the sample report to `reports/sample.png`.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.render.in_browser import CHROMIUM, draw_all

WIDTHS = {"wide": 1280, "narrow": 390}
SCREEN = {"width": 1280, "height": 860}
MOST_README_BYTES = 300_000


def pictures_of(browser: Any, report: Path, folder: Path) -> None:
    """Every section that is shown first, in each theme and width, and the report on paper."""
    for scheme in ("light", "dark"):
        for name, width in WIDTHS.items():
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page = context.new_page()
            page.goto(report.absolute().as_uri())
            draw_all(page)
            # A section that is higher than the screen would change the screen for its picture, and everything would be laid out again.
            highest = page.evaluate(
                "() => Math.max(...Array.from(document.querySelectorAll('main section'), (one) => one.offsetHeight))"
            )
            page.set_viewport_size({"width": width, "height": highest + 100})
            # What sticks to the screen would lie over every picture.
            page.add_style_tag(content=".top { position: static !important; }")
            for section in page.locator("main section:visible").all():
                section.screenshot(path=folder / f"{name}-{scheme}-{section.get_attribute('id')}.png")
            context.close()
    print_pages(browser, report, folder)


def print_pages(browser: Any, report: Path, folder: Path) -> None:
    """The report as PDF, and its pages as pictures where Ghostscript can draw them."""
    page = browser.new_page()
    page.goto(report.absolute().as_uri())
    page.wait_for_function("() => window.Plotly && document.querySelector('.plot[data-drawn]')")
    page.pdf(path=folder / "paper.pdf", format="A4", prefer_css_page_size=True, print_background=True)
    page.close()
    if shutil.which("gs"):
        smooth = ["-dTextAlphaBits=4", "-dGraphicsAlphaBits=4"]
        device = ["-q", "-dNOPAUSE", "-dBATCH", "-dSAFER", "-sDEVICE=png16m", "-r80"]
        pages = f"-sOutputFile={folder / 'paper-%02d.png'}"
        subprocess.run(["gs", *device, *smooth, pages, str(folder / "paper.pdf")], check=True)


def first_screen(browser: Any, report: Path, picture: Path) -> None:
    """What one sees when the report opens, in a file that is small enough for a README."""
    page = browser.new_page(viewport=SCREEN, color_scheme="light")
    page.goto(report.absolute().as_uri())
    page.wait_for_function("() => document.querySelector('.plot[data-drawn]')")
    page.wait_for_timeout(500)
    page.screenshot(path=picture)
    page.close()
    if picture.stat().st_size > MOST_README_BYTES:
        raise SystemExit(f"{picture} has {picture.stat().st_size:,} bytes, more than {MOST_README_BYTES:,}")


def main(report: Path, folder: Path, picture: Path) -> None:
    """All pictures anew."""
    from playwright.sync_api import sync_playwright

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with sync_playwright() as running:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = running.chromium.launch(executable_path=CHROMIUM, args=arguments)
        first_screen(browser, report, picture)
        pictures_of(browser, report, folder)
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
