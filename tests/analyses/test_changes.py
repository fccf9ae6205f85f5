"""Two runs whose difference was made by hand: the verdict, its parts, and where it is not passed."""

import numpy as np
import pytest

from scaleprof.analyses.account.kernels import MOST_NAMES
from scaleprof.analyses.changes.changes import Change, ChangeOptions, Pair, change_of
from scaleprof.analyses.changes.comparable import Comparable
from scaleprof.models.contrast import Spread, spread_of
from scaleprof.results import RunReport, Table
from tests.analyses.making_changes import WOBBLE, collectives_table, run_of_steps

MEAN = 1 + WOBBLE.mean() / 1000
"""What the wobble makes of a stated mean."""


def changed(base: RunReport, new: RunReport, least: float = 0.01) -> Change:
    return change_of(Pair((base,), (new,), Comparable((), (), ())), ChangeOptions(least))


def number(change: Change, id: str) -> float:
    [found] = [metric.value for section in change.sections for metric in section.metrics if metric.id == f"change.{id}"]
    return float(found)


KEY = ("all_reduce", 26_000_000, "all ranks")


def test_a_link_of_half_the_speed_is_transfer_in_that_collective() -> None:
    base = run_of_steps(
        100, classes={"compute": 80, "exposed_transfer": 20}, ranks={0: 80, 1: 80}, collectives=collectives_table({KEY: (0.0, 30.0)})
    )  # fmt: skip
    new = run_of_steps(
        120, classes={"compute": 80, "exposed_transfer": 40}, ranks={0: 80, 1: 80}, collectives=collectives_table({KEY: (0.0, 50.0)})
    )  # fmt: skip
    found = changed(base, new)
    assert found.verdict == "slower"
    assert found.words.startswith("NEW is 20.0 % slower (95 %: ")
    assert found.words.endswith("): nearly all of it is exposed transfer in all_reduce (26 MB, all ranks)")
    assert number(found, "step_share") == pytest.approx(0.2, rel=1e-9)
    assert number(found, "step_ms") == pytest.approx(20 * MEAN, rel=1e-9)
    assert number(found, "exposed_transfer_ms") == pytest.approx(20 * MEAN, rel=1e-9)
    assert number(found, "compute_ms") == 0
    back = changed(new, base)
    assert back.words.startswith("NEW is 16.7 % faster (95 %: ")
    assert back.words.endswith("nearly all of it is less exposed transfer in all_reduce (26 MB, all ranks)")


def test_the_waterfall_adds_up_exactly() -> None:
    found = changed(
        run_of_steps(100, classes={"compute": 70, "exposed_wait": 10, "idle": 20}),
        run_of_steps(110, classes={"compute": 75, "exposed_wait": 25, "idle": 10}),
    )
    chart = found.sections[0].charts[0]
    assert chart.kind == "waterfall"
    first, *parts, last = chart.layers[0].y
    assert first + sum(parts) == pytest.approx(last, rel=1e-12)
    assert (first, last) == (pytest.approx(100 * MEAN), pytest.approx(110 * MEAN))


def test_what_one_rank_does_longer_is_its_doing_whatever_the_others_call_it() -> None:
    others = {0: 90.0, 1: 90.0, 2: 90.0}
    sent, later = (collectives_table({KEY: (wait, 5.0)}) for wait in (10.0, 19.0))
    base = run_of_steps(100, classes={"compute": 90, "exposed_wait": 10}, ranks={**others, 3: 90.0}, collectives=sent)
    new = run_of_steps(112, classes={"compute": 93, "exposed_wait": 19}, ranks={**others, 3: 102.0}, collectives=later)
    found = changed(base, new)
    assert found.words.endswith(
        "nearly all of it is the doing of rank 3: its compute takes 12 ms longer a step, and the others wait for it in all_reduce (26 MB, all ranks)"
    )
    assert found.cause is not None
    assert (found.cause.rank, found.cause.leaf) == (3, "compute")
    assert found.cause.share == pytest.approx(1.0, rel=1e-6)
    assert number(found, "rank") == 3
    [ranks] = [section for section in found.sections if section.name == "changed_ranks"]
    answers = dict(zip(ranks.tables["change_by_rank"]["rank"], ranks.tables["change_by_rank"]["answer"], strict=True))
    assert answers == {0: "no change shown", 1: "no change shown", 2: "no change shown", 3: "changed"}


def test_no_change_is_a_verdict_of_its_own() -> None:
    found = changed(run_of_steps(100), run_of_steps(100 + WOBBLE[::-1] / 10))
    assert found.verdict == "same"
    assert found.words.startswith("No change: NEW's step is that of BASE within 1.0 % (95 %: ")


def test_what_chance_may_have_brought_in_is_inconclusive() -> None:
    noisy = 100 + 8 * WOBBLE
    found = changed(run_of_steps(noisy), run_of_steps(noisy[::-1] + 1))
    assert found.verdict == "inconclusive"
    assert "but chance alone brings in as much in" in found.words
    assert "(16 against 16 steps)" in found.words


def test_one_run_each_cannot_tell_how_runs_differ_and_says_so() -> None:
    found = changed(run_of_steps(100), run_of_steps(120))
    assert any(
        caveat.startswith("one run on each side: the verdict is about these two recordings")
        for caveat in found.sections[0].caveats
    )


def test_repeats_decide_by_how_much_they_differ() -> None:
    base, new = ([run_of_steps(level) for level in levels] for levels in ((100.0, 104.0, 96.0), (104.0, 100.0, 108.0)))
    spread = spread_of([[np.asarray(level) + np.zeros(6) for level in (100.0, 104.0, 96.0)]])
    found = change_of(Pair(tuple(base), tuple(new), Comparable((), (), ())), ChangeOptions(), spread)
    assert (found.contrast.unit, found.verdict) == ("runs", "inconclusive")
    assert "3 runs against 3" in found.words
    assert not any("one run on each side" in caveat for caveat in found.sections[0].caveats)


def test_an_oversubscribed_machine_gets_no_verdict() -> None:
    found = changed(run_of_steps(100, runq=0.02), run_of_steps(130, runq=0.25))
    assert found.verdict == "inconclusive"
    assert (
        "but the training thread of NEW waited 25.0 % of a step for a core (limit 10.0 %): the machine was oversubscribed"
        in found.words
    )


def test_a_report_without_what_each_step_was_gives_the_verdict_alone() -> None:
    found = changed(run_of_steps(100), run_of_steps(120))
    assert found.verdict == "slower"
    assert found.cause is None
    assert [section.name for section in found.sections] == ["change"]
    assert any("the change cannot be divided" in caveat for caveat in found.sections[0].caveats)


def test_a_mean_that_a_few_long_steps_move_is_called_that() -> None:
    times = 100 + WOBBLE / 10
    long = times - 0.05
    long[[3, 4, 9, 10]] += 40
    found = changed(run_of_steps(times), run_of_steps(long))
    assert found.contrast.ratio.value > 0.09
    assert found.verdict == "inconclusive"


def test_a_rank_is_named_only_where_something_changed() -> None:
    base = run_of_steps(100, classes={"compute": 80}, ranks={0: 80, 1: 80})
    more = run_of_steps(100.2, classes={"compute": 80.2}, ranks={0: 80, 1: 80.2})
    found = changed(base, more)
    assert (found.verdict, found.cause is not None and found.cause.rank) == ("same", 1)
    assert not [metric for metric in found.sections[0].metrics if metric.id == "change.rank"]


def test_one_recording_given_twice_is_called_that() -> None:
    noisy = run_of_steps(100 + 8 * WOBBLE)
    found = changed(noisy, noisy)
    assert found.words.startswith(
        "Inconclusive: the means are alike, but larger changes than 1.0 % are not excluded (95 %: "
    )
    assert any("this is one recording, given twice" in caveat for caveat in found.sections[0].caveats)
    other = changed(noisy, run_of_steps(100 + 8 * WOBBLE[::-1]))
    assert not any("given twice" in caveat for caveat in other.sections[0].caveats)


def test_p_says_that_few_steps_count_five_times() -> None:
    def note(steps: int) -> str:
        found = changed(run_of_steps((100 + WOBBLE)[:steps]), run_of_steps((120 + WOBBLE)[:steps]))
        [metric] = [metric for metric in found.sections[0].metrics if metric.id == "change.p"]
        return metric.note

    assert note(11) == "Mann-Whitney, two-sided, times 5 as steps are few"
    assert note(12) == "Mann-Whitney, two-sided"


def test_kernels_that_only_one_side_kept_are_no_change() -> None:
    def names(last: str) -> Table:
        rows = [[f"k{number}", "compute", step, 1.0] for number in range(MOST_NAMES - 1) for step in range(16)]
        return Table.of_rows(
            ("name", "kind", "step", "ms"), [*rows, *([last, "compute", step, 0.5] for step in range(16))]
        )

    found = changed(run_of_steps(100, names=names("rare")), run_of_steps(100, names=names("as rare")))
    [section] = [section for section in found.sections if section.name == "changed_names"]
    assert section.headline == f"None of {MOST_NAMES - 1} names is shown to change"


def test_the_chart_says_which_test_was_made() -> None:
    def how(base: object, new: object) -> str:
        return changed(run_of_steps(base), run_of_steps(new)).sections[0].charts[-1].how  # type: ignore[arg-type]

    ranks, welch, strict = (
        "The test is that of Mann and Whitney on blocks of 1 step,",
        "it is Welch's",
        "Its p counts 5 times",
    )
    assert [word in how(100.0, 120.0) for word in (ranks, welch, strict)] == [True, False, False]
    assert [word in how((100 + WOBBLE)[:8], (120 + WOBBLE)[:8]) for word in (ranks, welch, strict)] == [
        True,
        False,
        True,
    ]
    drift = np.linspace(100, 103, 8)
    assert [word in how(drift, drift + 2) for word in (ranks, welch, strict)] == [False, True, True]


def table_rows(change: Change, name: str) -> dict[str, str]:
    [table] = [section.tables[name] for section in change.sections if name in section.tables]
    return dict(zip(table["class"], table["answer"], strict=True))


def test_a_class_counts_from_a_hundredth_of_the_step_on() -> None:
    base = run_of_steps(200, classes={"compute": 150, "idle": 50})
    assert table_rows(changed(base, run_of_steps(201.9, classes={"compute": 151.9, "idle": 50})), "change_by_class") == {
        "Compute": "too small to matter", "Idle": "no change shown",
    }  # fmt: skip
    found = changed(base, run_of_steps(202.1, classes={"compute": 152.1, "idle": 50}))
    assert table_rows(found, "change_by_class")["Compute"] == "changed"
    metrics = {metric.id: metric for metric in found.sections[0].metrics}
    compute = metrics["change.compute_ms"]
    assert compute.low is not None
    assert compute.high is not None
    assert compute.low < compute.value < compute.high  # type: ignore[operator]


def test_a_change_within_the_wait_for_a_core_may_be_the_machines() -> None:
    within = changed(run_of_steps(100, runq=0.05), run_of_steps(104))
    assert within.verdict == "inconclusive"
    assert within.words.endswith(
        "but the training thread of BASE waited 5.0 % of a step for a core: a change of no more than that may be the machine's; "
        "repeat both sides, or find an idle one"
    )
    assert changed(run_of_steps(100, runq=0.05), run_of_steps(106)).verdict == "slower"
    assert changed(run_of_steps(100, runq=0.05), run_of_steps(94)).verdict == "faster"
    assert changed(run_of_steps(100, runq=0.05), run_of_steps(100)).disturbed == ""


def test_what_stands_against_what_in_words() -> None:
    def said(base: RunReport, new: RunReport, *more: RunReport) -> tuple[str, str]:
        found = change_of(
            Pair((base,), (new, *more), Comparable((), (), ())), ChangeOptions(), Spread(0.001, 9) if more else None
        )
        notes = {metric.id: metric.note for metric in found.sections[0].metrics}
        return notes["change.verdict"], notes["change.cliffs_delta"]

    delta = "-1 to 1: how often {} of NEW are longer, less how often shorter"
    assert said(run_of_steps(100), run_of_steps(120)) == ("16 against 16 steps", delta.format("steps"))
    assert said(run_of_steps(100), run_of_steps(120), run_of_steps(120)) == ("1 run against 2", delta.format("runs"))
    slow = 100 + np.repeat(np.random.default_rng(3).normal(size=60), 2)
    evidence, note = said(run_of_steps(slow), run_of_steps(slow + 20))
    blocks = changed(run_of_steps(slow), run_of_steps(slow + 20)).contrast
    assert blocks.block_steps > 1
    assert (
        evidence
        == f"{120 // blocks.block_steps} against {120 // blocks.block_steps} blocks of {blocks.block_steps} steps"
    )
    assert note == delta.format("blocks of steps")


def test_a_single_run_beside_repeats_is_said_to_borrow_their_spread() -> None:
    base, new = [run_of_steps(level) for level in (99.0, 100.0, 101.0)], [run_of_steps(120)]
    found = change_of(Pair(tuple(base), tuple(new), Comparable((), (), ())), ChangeOptions(), Spread(0.01, 2))
    assert any(
        "a single run stands on one side: runs are taken to differ by 1.0 %" in said
        for said in found.sections[0].caveats
    )
    both = change_of(Pair(tuple(base), tuple(base), Comparable((), (), ())), ChangeOptions(), Spread(0.01, 2))
    assert not any("a single run stands on one side" in said for said in both.sections[0].caveats)


def test_the_waterfall_is_called_by_what_changed_most_its_way() -> None:
    base = {"compute": 70.0, "exposed_wait": 10.0, "idle": 20.0}

    def title(**new: float) -> str:
        step = sum({**base, **new}.values())
        return (
            changed(run_of_steps(100, classes=base), run_of_steps(step, classes={**base, **new}))
            .sections[0]
            .charts[0]
            .title
        )

    assert title(compute=75.0, idle=12.0) == "Idle takes 8 ms less a step, of 3 ms less in all"
    assert title(compute=80.0, idle=12.0) == "Compute takes 10 ms more a step, of 2 ms more in all"


@pytest.mark.parametrize(("accounted", "is_said"), [(20.0, False), (22.5, True), (17.5, True), (21.5, False)])
def test_accounted_steps_that_change_otherwise_are_called_that(accounted: float, is_said: bool) -> None:
    # 20 ms of all steady steps; a tenth of that, 2 ms, may be missed.
    base, new = run_of_steps(100, classes={"compute": 90.0}), run_of_steps(120, classes={"compute": 90.0 + accounted})
    said = [
        caveat
        for caveat in changed(base, new).sections[0].caveats
        if caveat.startswith("the accounted steps change by")
    ]
    assert bool(said) == is_said


def test_a_mean_that_goes_the_other_way_than_the_typical_step_is_called_that() -> None:
    times = 100 + WOBBLE / 10
    caveat = "the mean changes, the typical step does not: a few long steps make the difference"
    assert caveat not in changed(run_of_steps(times), run_of_steps(times + 5)).sections[0].caveats
    assert caveat not in changed(run_of_steps(times), run_of_steps(times - 5)).sections[0].caveats
    many = np.tile(times, 5)
    long = many - 0.3
    long[::5] += 20  # every fifth step; the mean is 3.7 ms longer for certain
    found = changed(run_of_steps(many), run_of_steps(long))
    assert found.contrast.ratio.low is not None
    assert found.contrast.ratio.low > 0
    assert found.contrast.shift.value < 0
    assert caveat in found.sections[0].caveats
