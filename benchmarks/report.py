"""How large the page of a report is and how quickly it can be read: first text, first chart, every chart in view, and a selection that changes.

Times are those of headless Chromium that draws without a GPU, from the moment at which it begins to load the file; a debugger is attached, which
makes scripts slower than they are for a reader. A selection counts from the input to the frame after it, with all charts of the run drawn before:
what must be drawn for the first time is not a part of it.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measuring import BUILD, at_most, machine, number, table
from scaleprof import analyze
from scaleprof.render.html import render_html
from scaleprof.results import Report, Result, Table
from tests.render.in_browser import CHROMIUM, draw_all
from tests.render.made_odd import made_run, report_of

TEXT_S, CHART_S, SELECTION_S, MEGABYTES = 0.5, 3.0, 0.1, 5.0
"""Goals on two slow cores."""
SAMPLES = Path(__file__).parent.parent / "sample_traces"
_WATCH = """
window.seen = {};
new MutationObserver(() => {
  if (!document.querySelector(".plot[data-drawn]")) return;
  window.seen.chart = window.seen.chart || performance.now();
  const inView = Array.from(document.querySelectorAll(".plot")).filter((plot) => {
    const box = plot.getBoundingClientRect();
    return box.width && box.top < innerHeight && box.bottom > 0;
  });
  if (inView.every((plot) => plot.dataset.drawn)) window.seen.all = window.seen.all || performance.now();
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-drawn"] });
"""
_SELECT = """(value) => new Promise((done) => {
  const input = document.getElementById("rank-select"), began = performance.now();
  input.value = value;
  input.dispatchEvent(new Event("change"));
  requestAnimationFrame(() => setTimeout(() => requestAnimationFrame(() => done(performance.now() - began)), 0));
})"""
_MOVE = """(value) => new Promise((done) => {
  const input = document.querySelector(".run.selected [data-grid] input[type=range]");
  if (!input) return done(null);
  const began = performance.now();
  input.value = value;
  input.dispatchEvent(new Event("input"));
  requestAnimationFrame(() => setTimeout(() => requestAnimationFrame(() => done(performance.now() - began)), 0));
})"""
"""A move of the slider of the what-ifs."""


@dataclass(frozen=True)
class Timed:
    """One report and what its page took, in seconds; None for a selection or a slider that there is not."""

    name: str
    megabytes: float
    render_s: float
    text_s: float
    chart_s: float
    all_s: float
    selection_s: float | None
    move_s: float | None


def samples() -> Report:
    """Every study of `sample_traces/` over gloo, as `make reports` takes them."""
    return analyze(sorted([*SAMPLES.glob("emulated-*"), *SAMPLES.glob("on-*")]))


def one_rank() -> Report:
    """One rank alone."""
    return analyze(sorted(SAMPLES.glob("emulated-ddp-strong-n1-*")))


def long_timeline() -> Report:
    """8 ranks, and a timeline of 50,000 slices."""
    run = made_run(8, 100)
    ranks, each = 8, 6_250
    at = [0.4 * place for place in range(each)] * ranks
    columns: dict[str, Any] = {
        "rank": [rank for rank in range(ranks) for _ in range(each)],
        "step": [7] * (ranks * each),
        "step_label": ["step 7"] * (ranks * each),
        "row": [1 + place % 2 for place in range(ranks * each)],
        "depth": [0] * (ranks * each),
        "start_ms": at,
        "dur_ms": [0.35] * (ranks * each),
        "wait_ms": [0.1 if place % 4 == 1 else None for place in range(ranks * each)],
        "name": [f"kernel {place % 40}" for place in range(ranks * each)],
        "color": ["compute" if place % 2 == 0 else "exposed_transfer" for place in range(ranks * each)],
        "operation": [None] * (ranks * each),
        "bytes": [None] * (ranks * each),
        "step_from_ms": [0.0] * (ranks * each),
        "step_to_ms": [0.4 * each] * (ranks * each),
    }
    timeline = Result("timeline", "Timeline", "One step of 8 ranks", timeline=Table(columns))
    return report_of(replace(run, sections=(*run.sections, timeline)))


def large_job() -> Report:
    """1,024 ranks for 1,000 steps."""
    return report_of(made_run(1_024, 1_000))


REPORTS: dict[str, Callable[[], Report]] = {
    "`sample_traces/`, 33 runs": samples,
    "1 rank": one_rank,
    "8 ranks, 50,000 slices (made from facts)": long_timeline,
    "1,024 ranks, 1,000 steps (made from facts)": large_job,
}


def timed(browser: Any, name: str, report: Report, rounds: int) -> Timed:
    """The page rendered once and opened so many times; medians."""
    began = time.perf_counter()
    content = render_html(report)
    render_s = time.perf_counter() - began
    BUILD.mkdir(parents=True, exist_ok=True)
    path = BUILD / "report.html"
    path.write_text(content, encoding="utf-8")
    opened = [_opened(browser, path.as_uri()) for _ in range(rounds)]
    columns = [[one[place] for one in opened if one[place] is not None] for place in range(5)]
    text_s, chart_s, all_s, selection_s, move_s = (median(column) if column else None for column in columns)
    assert text_s is not None and chart_s is not None and all_s is not None
    return Timed(name, len(content.encode()) / 1e6, render_s, text_s, chart_s, all_s, selection_s, move_s)


def _opened(browser: Any, address: str) -> tuple[float, float, float, float | None, float | None]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.add_init_script(_WATCH)
    page.goto(address)
    page.wait_for_function("() => window.seen.chart || document.querySelector('.plot') === null")
    if not page.evaluate("() => window.seen.all || 0"):
        page.evaluate("() => document.querySelector('.plot').scrollIntoView()")
        page.wait_for_function("() => window.seen.all")
    text_s, chart_s, all_s = page.evaluate(
        "() => [performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000, window.seen.chart / 1000, window.seen.all / 1000]"
    )
    draw_all(page)
    page.evaluate(
        "() => document.querySelector('.run.selected [data-name=time], .run.selected').scrollIntoView({ behavior: 'instant' })"
    )
    page.wait_for_timeout(500)
    ranks = page.evaluate("() => document.getElementById('rank-select') ? 1 : 0")
    selection_s = [page.evaluate(_SELECT, value) / 1000 for value in ("0", "", "0")][1:] if ranks else []
    moves = [page.evaluate(_MOVE, value) for value in ("0", "1", "2")][1:]
    context.close()
    move_s = None if None in moves else median(moves) / 1000
    return text_s, chart_s, all_s, median(selection_s) if selection_s else None, move_s


def as_table(found: Sequence[Timed]) -> str:
    """A line for each report."""
    head = [
        "report",
        "MB",
        "rendered s",
        "first text s",
        "first chart s",
        "charts in view s",
        "selection ms",
        "slider ms",
    ]
    rows = [
        [
            one.name, f"{one.megabytes:.2f}", number(one.render_s), number(one.text_s), number(one.chart_s), number(one.all_s),
            *(number(1000 * took) if took is not None else "-" for took in (one.selection_s, one.move_s)),
        ]
        for one in found
    ]  # fmt: skip
    return table(head, rows)


def goals(found: Sequence[Timed]) -> list[str]:
    """Whether the goals are reached, by the report that is furthest from each."""
    selections = [one.selection_s for one in found if one.selection_s is not None]
    return [
        at_most("size", max(one.megabytes for one in found), MEGABYTES, " MB"),
        at_most("first text", max(one.text_s for one in found), TEXT_S, " s"),
        at_most("first chart", max(one.chart_s for one in found), CHART_S, " s"),
        at_most("a selection", max(selections), SELECTION_S, " s"),
        at_most("a move of the slider", max(one.move_s or 0.0 for one in found), SELECTION_S, " s"),
    ]


def main() -> None:
    """Print one table, and keep it in `build/bench/report.md`."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how many times each page is opened")
    given = parser.parse_args()
    title = f"# The page of a report\n\n{machine(('scaleprof', 'plotly', 'playwright'))}\n"
    print(title)
    with sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        found = [timed(browser, name, make(), given.rounds) for name, make in REPORTS.items()]
        browser.close()
    text = "\n".join([as_table(found), "", *goals(found), ""])
    print(text)
    (BUILD / "report.md").write_text(f"{title}\n{text}")


if __name__ == "__main__":
    main()
