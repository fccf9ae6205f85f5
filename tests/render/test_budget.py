"""No page is larger than it may be: what is left out, in which order, and that the page says so with the right numbers."""

from dataclasses import replace
from pathlib import Path

import pytest

import scaleprof
from scaleprof.render import html
from scaleprof.render.budget import BUDGET_BYTES, ORDER, Limits, most_telling, summaries, summary_of
from scaleprof.render.html import render_html
from scaleprof.results import Finding, Report, Result, RunReport, SeriesOfRuns, Table
from scaleprof.run import RunInfo
from tests.render.made import REPORTS, single
from tests.render.made_large import RANKS, STEPS, large_job, many_runs

SAMPLES = Path(__file__).parents[2] / "sample_traces"


def size_of(page: str) -> int:
    return len(page.encode())


def within(report: Report, limits: Limits) -> str:
    return summary_of(report, limits, most_telling(report), BUDGET_BYTES).sentence


@pytest.mark.parametrize("name", REPORTS)
def test_of_a_report_that_fits_nothing_is_left_out(name: str) -> None:
    report = REPORTS[name]()
    first = next(summaries(report))
    assert first.report == report
    assert first.sentence == ""
    assert 'class="left-out"' not in render_html(report)


def test_the_sentence_counts_what_is_left_out() -> None:
    report = many_runs(30)
    assert within(report, Limits()) == ""
    assert within(report, Limits(timelines=8)) == (
        "To stay within 5 MB, this page leaves out the timelines of 22 runs: the JSON has every number "
        "(scaleprof analyze with --json). A timeline is in no JSON: analyze its run alone to see it."
    )
    assert "the charts of 26 runs: the JSON" in within(report, Limits(drawn=4))
    told = within(report, Limits(timelines=1, drawn=1, told=4))
    assert (
        "leaves out the timelines of 29 runs, the charts of 3 runs and all but headlines and findings of 26 runs: "
        in told
    )
    assert "the sections of 29 runs: the JSON" in within(report, Limits(named=1))
    rows = 2 * RANKS * STEPS
    twice = replace(large_job(), runs=(large_job().runs[0],) * 2)
    assert f"leaves out {rows - 400:,} rows of 2 tables: the JSON" in within(twice, Limits(rows=200))
    assert "leaves out 4 charts of very many points: the JSON" in within(twice, Limits(points=20_000))


def test_less_and_less_is_kept() -> None:
    weights = [summary_of(many_runs(30), limits, list(range(30)), BUDGET_BYTES).estimate for limits in ORDER]
    assert weights == sorted(weights, reverse=True)
    assert len(set(weights)) > 5


@pytest.mark.parametrize("runs", ["emulated-ddp-strong-*", "gpu-*", "horovod-*"])
def test_the_estimate_of_a_report_on_recordings_is_right_within_a_tenth(runs: str) -> None:
    report = scaleprof.analyze(sorted(SAMPLES.glob(runs)))
    assert next(summaries(report)).estimate == pytest.approx(size_of(render_html(report)), rel=0.1)


def test_the_runs_that_tell_most_come_first() -> None:
    def one(name: str, size: int, *findings: Finding) -> RunReport:
        return RunReport(RunInfo(name, size), (0,), (Result("time", "Time", "", findings=findings),))

    low, high = (Finding(severity, "t", severity, "", "") for severity in ("low", "high"))  # type: ignore[arg-type]
    runs = (one("a", 1), one("b", 2, low), one("c", 2), one("d", 2, high), one("e", 4), one("f", 2))
    report = Report("r", "", runs, series=(SeriesOfRuns("s", "s", (0, 2, 5)),))
    assert [runs[place].info.name for place in most_telling(report)] == ["e", "d", "b", "f", "a", "c"]
    assert most_telling(Report("r", "", ())) == []


def test_a_page_that_is_too_large_leaves_out_charts_of_runs_and_keeps_those_that_tell_most() -> None:
    report = many_runs(20)
    budget = 1_100_000
    assert size_of(render_html(report)) > budget
    page = render_html(report, budget_bytes=budget)
    assert size_of(page) <= budget
    assert "To stay within 1.1 MB, this page leaves out " in page
    assert "the JSON has every number" in page
    run = page[page.index('<div class="run selected"') :]
    assert '<figure class="card chart' in run[: run.index('<div class="run"') if '<div class="run"' in run else None]


def test_a_table_says_which_rows_are_on_the_page_and_which_in_its_csv_file() -> None:
    table = Table({"rank": list(range(3_000)), "step_ms": [1.5] * 3_000})
    section = Result("ranks", "Ranks", "", tables={"ranks": table})
    report = Report("r", "", (RunReport(RunInfo("r", 3_000), (0,), (section,)),))
    assert "The first 200 of 3,000 rows; the CSV file has all of them." in render_html(report)
    page = html._rendered(summary_of(report, Limits(rows=1_000), [0], BUDGET_BYTES))
    assert "The first 200 of 3,000 rows; the CSV file has the first 1,000." in page
    page = html._rendered(summary_of(report, Limits(rows=50), [0], BUDGET_BYTES))
    assert "The first 50 of 3,000 rows." in page
    assert ">3,000 rows</span>" in page


def test_a_thousand_ranks_and_steps_fit_into_the_budget() -> None:
    page = render_html(large_job())
    assert size_of(page) <= BUDGET_BYTES
    left_out = f"{RANKS * STEPS - 200:,} rows of 1 table and 2 charts of very many points"
    assert f"To stay within 5 MB, this page leaves out {left_out}: the JSON has every number" in page
    assert "Rank 612 takes 20\u00a0ms longer" in page


def test_the_hard_cap_holds_whatever_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "MOST_BYTES", 2_400_000)
    report = replace(single(), caveats=("x" * 3_000_000,), verdict="v" * 3_000_000)
    page = render_html(report)
    assert size_of(page) <= 2_400_000
    assert "this page has the first numbers of 1 run and no more" in page
    assert "Throughput" in page
