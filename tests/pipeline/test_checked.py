"""Demands on whole reports: what passes, what fails, and what must not pass because nobody can tell."""

from dataclasses import replace
from pathlib import Path

import pytest

from scaleprof.errors import OptionError
from scaleprof.pipeline.checked import MAX_REGRESSION, Checked, Demands, check, demands_of
from scaleprof.pipeline.compared import compare
from scaleprof.results import Outcome, Report, RunReport
from tests.analyses.making_changes import INFO, WOBBLE, run_of_steps


def job(step_ms: float = 100.0, **of: object) -> RunReport:
    return run_of_steps(step_ms, info=replace(INFO, **of), runq=0.01)  # type: ignore[arg-type]


def saved(path: Path, *runs: RunReport, title: str = "study", caveats: tuple[str, ...] = ()) -> Path:
    Report(title, "", runs, caveats=caveats).save(path)
    return path


def answers(checked: Checked) -> list[tuple[str, str]]:
    return [(one.subject, one.answer) for one in checked.outcomes]


def test_every_limit_is_asked_of_every_run(tmp_path: Path) -> None:
    path = saved(tmp_path / "now.json", job(name="a"), job(name="b", world_size=4), caveats=("a caveat",))
    found = check([path], Demands(demands_of(["step.runq_share=0.1%"], ["step.runq_share=0.5%"])))
    assert [(one.id, one.subject, one.answer) for one in found.outcomes] == [
        ("step.runq_share >= 0.1 %", "a (2 ranks)", "holds"),
        ("step.runq_share >= 0.1 %", "b (4 ranks)", "holds"),
        ("step.runq_share <= 0.5 %", "a (2 ranks)", "fails"),
        ("step.runq_share <= 0.5 %", "b (4 ranks)", "fails"),
    ]
    assert (found.answer, found.verdict, found.title) == ("fails", "Of 4 demands 2 hold, 2 fail.", "study")
    assert found.remarks == ("a caveat",)


def test_a_regression_is_asked_of_every_pair(tmp_path: Path) -> None:
    base = saved(tmp_path / "base.json", job(name="a"), job(name="b", world_size=4))
    now = saved(
        tmp_path / "now.json", job(104, name="a"), job(120, name="b", world_size=4), job(name="c", world_size=8)
    )
    found = check([now], Demands(baseline=base))
    assert answers(found) == [("a (2 ranks)", "holds"), ("b (4 ranks)", "fails")]
    first, second = found.outcomes
    assert first.id == "step time against the baseline <= 5.0 %"
    assert (first.value, first.limit) == (pytest.approx(0.04), MAX_REGRESSION)
    assert second.value == pytest.approx(0.2)
    assert second.text.startswith("NEW is 20.0 % slower (95 %: ")
    assert found.remarks[0] == "c (8 ranks) is in NEW alone", "a new size is no reason to fail"
    assert sum(remark.startswith("one run on each side") for remark in found.remarks) == 1
    assert check([now], Demands(baseline=base, max_regression=0.25)).answer == "holds"


def test_a_pair_that_cannot_be_compared_does_not_pass(tmp_path: Path) -> None:
    base = saved(tmp_path / "base.json", job(name="a"), job(name="b", world_size=4, parameters=1000))
    other = saved(tmp_path / "other.json", job(name="a"), job(name="b", world_size=4, parameters=2000))
    found = check([other], Demands(baseline=base))
    assert answers(found) == [("a (2 ranks)", "holds"), ("study", "unusable")]
    assert found.outcomes[1].text.startswith("b (4 ranks): different in the parameters (1,000 in BASE, 2,000 in NEW)")
    assert found.answer == "unusable"
    assert check([other], Demands(baseline=base, across=["model"])).answer == "holds"
    assert check([other], Demands(baseline=base, anyway=True)).answer == "holds"
    few = run_of_steps(100 + WOBBLE[:5] / 10, info=replace(INFO, name="b", world_size=4, parameters=1000))
    found = check([saved(tmp_path / "few.json", job(name="a"), few)], Demands(baseline=base))
    assert [one.answer for one in found.outcomes] == ["holds", "unusable"]
    assert found.outcomes[1].text == "b (4 ranks) of NEW has 5 steady steps: too few to be compared (6 are needed)"


def test_a_baseline_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    now = saved(tmp_path / "now.json", job())
    (tmp_path / "empty").mkdir()
    for name, said in (("nothing.json", "does not exist"), ("empty", "holds no trace")):
        found = check([now], Demands(baseline=tmp_path / name))
        [one] = found.outcomes
        assert (one.answer, one.id) == ("unusable", "step time against the baseline <= 5.0 %")
        assert one.text.startswith(f"baseline {name}: ")
        assert said in one.text


def test_a_comparison_is_no_baseline(tmp_path: Path) -> None:
    base, now = saved(tmp_path / "base.json", job()), saved(tmp_path / "now.json", job(110))
    compare(base, now).save(tmp_path / "change.json")
    [one] = check([now], Demands(baseline=tmp_path / "change.json")).outcomes
    assert one.answer == "unusable"
    assert "BASE is itself a comparison (base \N{RIGHTWARDS ARROW} now)" in one.text
    # But its own numbers may be held against a limit.
    found = check([tmp_path / "change.json"], Demands(demands_of([], ["change.step_share=5%"])))
    assert found.answer == "fails"


def test_what_cannot_be_read_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = check([tmp_path / "empty"], Demands(min_efficiency=0.8))
    assert (found.answer, found.title) == ("unusable", "empty")
    assert found.outcomes[0].id == "data"


@pytest.mark.parametrize(
    ("of", "verdict"),
    [
        (["holds"], "The demand holds."),
        (["fails"], "The demand fails."),
        (["inconclusive"], "The demand is inconclusive."),
        (["unusable"], "The demand cannot be answered from these data."),
        (["holds", "holds"], "All 2 demands hold."),
        (["holds", "inconclusive", "fails", "unusable"],
         "Of 4 demands 1 hold, 1 fail, 1 are inconclusive, 1 cannot be answered from these data."),
    ],
)  # fmt: skip
def test_the_verdict_counts_answers(of: list[str], verdict: str) -> None:
    outcomes = tuple(Outcome("x", "y", answer, "") for answer in of)  # type: ignore[arg-type]
    assert Checked("t", of[-1], outcomes, ()).verdict == verdict  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "nothing is demanded"),
        ({"min_efficiency": 0.0}, "an efficiency is a share"),
        ({"min_efficiency": 1.51}, "an efficiency is a share"),
        ({"baseline": Path("x"), "max_regression": -0.01}, "must not be negative"),
    ],
)
def test_demands_that_make_no_sense_are_wrong_options(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Demands(**wrong)  # type: ignore[arg-type]


def test_the_least_and_largest_that_make_sense() -> None:
    assert Demands(min_efficiency=1.5, baseline=Path("x"), max_regression=0.0).max_regression == 0
    with pytest.raises(OptionError, match="--across knows"):
        check([Path("x")], Demands(min_efficiency=0.5, across=["colour"]))


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("step.runq_share=20", r"step\.runq_share is a share: 20 as a share is 2000 %: write 20% or 0\.2"),
        ("step.time_ms=5%", r"step\.time_ms is a number of ms: a limit in percent says nothing of it"),
    ],
)
def test_a_limit_in_the_wrong_unit_is_a_slip_of_the_pen(limit: str, said: str, tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "sample_traces" / "emulated-single-n1-9f1b95d5"
    with pytest.raises(OptionError, match=said):
        check([path], Demands(demands_of([], [limit])))
