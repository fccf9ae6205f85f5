"""Limits against numbers whose interval is known: on one side, on the other, and across."""

from dataclasses import replace

import numpy as np
import pytest

from scaleprof.analyses.changes.changes import ChangeOptions, Pair, change_of
from scaleprof.analyses.changes.comparable import Comparable
from scaleprof.analyses.changes.demands import (
    Demand,
    answer_of,
    demand_of,
    demanded,
    efficiencies,
    number_of,
    regressed,
    share_of,
    shown,
    worst_of,
)
from scaleprof.errors import OptionError
from scaleprof.models.statistics import Interval
from scaleprof.results import Metric, Outcome, Report, Result, SeriesOfRuns
from tests.analyses.making_changes import WOBBLE, run_of_steps


@pytest.mark.parametrize(
    ("low", "high", "least", "most"),
    [
        (0.81, 0.9, "holds", "fails"),
        (0.7, 0.79, "fails", "holds"),
        (0.75, 0.85, "inconclusive", "inconclusive"),
        (0.8, 0.8, "holds", "holds"),
    ],
)
def test_a_limit_is_held_against_the_whole_interval(low: float, high: float, least: str, most: str) -> None:
    found = Interval((low + high) / 2, low, high)
    assert answer_of(found, Demand("x", 0.8, True)) == least
    assert answer_of(found, Demand("x", 0.8, False)) == most


def test_a_number_without_an_interval_decides_by_itself() -> None:
    assert answer_of(Interval(0.8, None, None), Demand("x", 0.8, True)) == "holds"
    assert answer_of(Interval(0.79, None, None), Demand("x", 0.8, True)) == "fails"


def test_limits_are_numbers_or_percent() -> None:
    assert (number_of("0.8"), number_of("80%"), number_of(" 5 %")) == (0.8, 0.8, 0.05)
    assert demand_of("step.time_ms=120", is_least=False) == Demand("step.time_ms", 120.0, False)
    for text in ("step.time_ms", "=3", "step.time_ms=", "step.time_ms=fast", "step.time_ms=nan", "step.time_ms=inf"):
        with pytest.raises(OptionError):
            demand_of(text, is_least=True)


def report_of(*metrics: Metric, series: str = "strong") -> Report:
    section = Result(
        "scaling",
        "Scaling",
        "",
        metrics,
        caveats=(f"{series}, 4 ranks: no efficiency verdict, the machine was oversubscribed",),
    )
    return Report("study", "", (), (section,), series=(SeriesOfRuns("strong", "strong", ()),))


def test_the_efficiency_of_every_series_is_asked() -> None:
    good = Metric("scaling.strong.efficiency", "Efficiency, strong", 0.9, "share", 0.88, 0.92)
    [found] = efficiencies(report_of(good), 0.8)
    assert (found.answer, found.subject) == ("holds", "strong")
    assert found.text == "Efficiency, strong is 90.0 % (95 %: 88.0 to 92.0 %)"
    [found] = efficiencies(report_of(Metric("scaling.strong.efficiency", "Efficiency, strong", 0.9, "share")), 0.8)
    assert found.answer == "unusable", "without an interval there were too few steps"


def test_a_series_that_was_not_judged_does_not_pass() -> None:
    [found] = efficiencies(report_of(), 0.8)
    assert found.answer == "unusable"
    assert "the machine was oversubscribed" in found.text
    [found] = efficiencies(Report("one", "", (run_of_steps(100),)), 0.8)
    assert found.answer == "unusable"
    assert "two world sizes" in found.text


def test_shares_of_the_step_get_the_interval_that_their_steps_imply() -> None:
    waits = 20 * (1 + WOBBLE / 10)
    run = run_of_steps(100, classes={"compute": 80, "exposed_wait": 20})
    classes = run.by_step["classes"]
    window = np.full(16, 100.0)
    table = {**classes.columns, "exposed_wait_ms": waits, "compute_ms": window - waits, "window_ms": window}
    run.by_step["classes"] = type(classes)(table)  # type: ignore[index]
    share = float(waits.mean() / 100)
    section = Result("time", "Time", "", (Metric("time.exposed_wait_share", "Waiting", share, "share"),))
    report = Report("job", "", (type(run)(run.info, run.ranks_read, (*run.sections, section), (), run.by_step),))
    [found] = demanded(report, Demand("time.exposed_wait_share", 0.2, False))
    assert found.answer == "inconclusive", "20.04 % give or take some"
    assert found.low is not None
    assert found.high is not None
    # The error of the mean of 16 alternating steps: 0.57 / 4 * 2 % = 0.28 %, times t of 15.
    assert found.low == pytest.approx(share - 0.0061, abs=0.002)
    assert found.high == pytest.approx(share + 0.0061, abs=0.002)
    assert [one.answer for one in demanded(report, Demand("time.exposed_wait_share", 0.22, False))] == ["holds"]


def test_a_number_that_there_is_not_names_those_there_are() -> None:
    report = Report("job", "", (run_of_steps(100, runq=0.1),))
    [found] = demanded(report, Demand("step.tme_ms", 5, False))
    assert found.answer == "unusable"
    assert found.text == "no run has the number step.tme_ms; there are: step.runq_share"


def test_too_few_steps_are_no_basis() -> None:
    report = Report("job", "", (run_of_steps([100.0, 101.0, 99.0], runq=0.0),))
    [found] = demanded(report, Demand("step.runq_share", 0.1, False))
    assert (found.answer, found.text) == ("unusable", "3 steady steps are too few to judge (6 are needed)")


@pytest.mark.parametrize(
    ("new_ms", "answer"), [(102.0, "holds"), (109.0, "fails"), (105.0, "inconclusive"), (60.0, "holds")]
)
def test_a_regression_is_held_against_its_interval(new_ms: float, answer: str) -> None:
    pair = Pair((run_of_steps(100),), (run_of_steps(new_ms),), Comparable((), (), ()))
    found = regressed(change_of(pair, ChangeOptions()), "job", 0.05)
    assert found.answer == answer
    assert found.value == pytest.approx(new_ms / 100 - 1)


def test_an_oversubscribed_machine_leaves_a_regression_in_doubt() -> None:
    pair = Pair((run_of_steps(100),), (run_of_steps(200, runq=0.3),), Comparable((), (), ()))
    assert regressed(change_of(pair, ChangeOptions()), "job", 0.05).answer == "inconclusive"


def test_the_worst_answer_is_the_answer() -> None:
    def of(*answers: str) -> str:
        return worst_of([Outcome("x", "y", answer, "") for answer in answers])  # type: ignore[arg-type]

    assert of("holds", "inconclusive", "unusable", "fails") == "fails"
    assert of("holds", "inconclusive", "unusable") == "unusable"
    assert of("holds", "inconclusive") == "inconclusive"
    assert of("holds") == "holds"


def test_five_is_no_share() -> None:
    assert [share_of(text) for text in ("5%", "0.05", "1.5", "500%", "-5%")] == [0.05, 0.05, 1.5, 5.0, -0.05]
    with pytest.raises(OptionError, match=r"^5 as a share is 500 %: write 5% or 0\.05, or 500% if that is meant$"):
        share_of("5")


def test_percent_are_remembered() -> None:
    assert demand_of("x=20 %", is_least=False) == Demand("x", 0.2, False, True)
    assert demand_of("x=0.2", is_least=True) == Demand("x", 0.2, True, False)


@pytest.mark.parametrize(("unit", "limit"), [("share", 1.5), ("ms", 99.0), ("", 7.0), ("x", 3.0)])
def test_numbers_of_their_own_unit_are_limits(unit: str, limit: float) -> None:
    section = Result("step", "", "", (Metric("step.x", "X", 1.0, unit),))
    run = run_of_steps(100)
    report = Report("job", "", (replace(run, sections=(*run.sections, section)),))
    [found] = demanded(report, Demand("step.x", limit, False))
    assert found.answer == "holds"
    percent = Demand("step.x", limit, False, is_percent=True)
    if unit == "ms":
        with pytest.raises(OptionError, match="a number of ms"):
            demanded(report, percent)
    else:
        assert [one.answer for one in demanded(report, percent)] == ["holds"]
    with pytest.raises(OptionError, match=r"is a share: 1\.6 as a share is 160 %"):
        demanded(report_with("share"), Demand("step.x", 1.6, False))


def report_with(unit: str) -> Report:
    run = run_of_steps(100)
    return Report(
        "job", "", (replace(run, sections=(*run.sections, Result("a", "", "", (Metric("step.x", "X", 1.0, unit),)))),)
    )


def test_nearest_names_come_first() -> None:
    metrics = [Metric(f"step.{name}", "", 1.0) for name in ("a", "b", "c", "d", "e", "f", "g", "h", "time_ms")]
    report = Report("job", "", (), (Result("s", "", "", tuple(metrics)),))
    [found] = demanded(report, Demand("step.tme_ms", 5, False))
    assert found.text.startswith("no run has the number step.tme_ms; there are: step.time_ms, step.")
    assert found.text.endswith(" and 1 more")


def test_a_regression_that_chance_brings_in_does_not_fail() -> None:
    # Eight steps that drift are worth hardly one: the interval of their mean excludes 5 %, the test can never tell.
    drift = 100 + np.linspace(0, 3, 8)
    change = change_of(
        Pair((run_of_steps(drift),), (run_of_steps(drift + 20),), Comparable((), (), ())), ChangeOptions()
    )
    assert change.contrast.ratio.low is not None
    assert change.contrast.ratio.low > 0.05
    assert change.verdict == "inconclusive"
    found = regressed(change, "job", 0.05)
    assert found.answer == "inconclusive"
    assert "can never tell that from chance" in found.text
    # Against a limit that the interval is below it holds, and the text does not call that inconclusive.
    found = regressed(change, "job", 0.5)
    assert found.answer == "holds"
    assert found.text.startswith("NEW is 19.7 % slower (95 %: ")


def test_a_number_of_the_comparison_is_asked_of_all_runs() -> None:
    overview = Result("overview", "", "", (Metric("knee", "Knee", 3.0, "GB/s"),))
    scaling = Result("scaling", "", "", (Metric("knee", "Knee", 8.0, "GB/s"), Metric("said", "Said", "many")))
    report = Report("study", "", (run_of_steps(100),), (overview, scaling))
    [found] = demanded(report, Demand("knee", 5, True))
    assert (found.answer, found.subject, found.value) == ("holds", "all runs", 8.0)
    assert found.text == "Knee is 8 GB/s (no interval: the value alone decides)"
    assert found.id == "knee >= 5 GB/s"
    [found] = demanded(report, Demand("said", 5, True))
    assert (found.answer, found.text) == ("unusable", "said is no number: many")


def test_an_interval_that_ends_at_the_limit_does_not_decide_against_it() -> None:
    at_limit = Interval(0.7, 0.6, 0.8)
    assert answer_of(at_limit, Demand("x", 0.8, True)) == "inconclusive", "0.8 itself would be allowed"
    assert answer_of(at_limit, Demand("x", 0.6, False)) == "inconclusive"
    assert answer_of(at_limit, Demand("x", 0.6, True)) == "holds"
    assert answer_of(at_limit, Demand("x", 0.8, False)) == "holds"


def test_of_a_slip_of_the_pen_the_same_family_is_shown() -> None:
    metrics = (Metric("link.busbw", "", 1.0), Metric("step.time_ms", "", 1.0), Metric("step.count", "", 1.0))
    report = Report("job", "", (), (Result("s", "", "", metrics),))
    [found] = demanded(report, Demand("step.x", 5, False))
    assert "link.busbw" not in found.text
    assert " more" not in found.text
    [found] = demanded(report, Demand("other.x", 5, False))
    assert "link.busbw" in found.text


def test_numbers_have_their_units() -> None:
    assert [shown(0.25, "share"), shown(1500.0, "ms"), shown(2.5, "x"), shown(7, ""), shown("many", "")] == [
        "25.0 %", "1.5 s", "2.5 x", "7", "many",
    ]  # fmt: skip


def test_a_step_that_is_the_same_is_not_called_faster_or_slower() -> None:
    noisy = run_of_steps(100 + 8 * WOBBLE)
    found = regressed(change_of(Pair((noisy,), (noisy,), Comparable((), (), ())), ChangeOptions()), "job", 0.2)
    assert (found.answer, found.text[:28]) == ("holds", "NEW takes as long as BASE (9")
