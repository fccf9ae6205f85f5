"""The section on idle time: shares by cause, what they are called, and what could not be seen."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from scaleprof.align import RankFacts, RunView, align
from scaleprof.analyses.account import gaps, idle, steps, time
from scaleprof.results import Result
from scaleprof.run import RankInfo, RunInfo
from scaleprof.trace import Kind, Trace
from tests.analyses.making_gaps import US, gemm, launch, span, traced
from tests.making import Event, Made, Step, make_trace, make_view, waits_of

STEPS = 4


def view_of(*traces: Trace) -> RunView:
    """The run of these ranks."""
    facts = {}
    for rank, trace in enumerate(traces):
        info = RankInfo(rank=rank, world_size=len(traces))
        tables = {name: fact(replace(trace, info=info)) for name, fact in idle.NEEDS.items()}
        facts[rank] = RankFacts(info, tables)
    return align(RunInfo(name="run", world_size=len(traces)), facts)


def concluded(*traces: Trace) -> Result:
    result = idle.conclude(view_of(*traces), None)
    assert result is not None
    return result


def shares(result: Result) -> dict[str, float]:
    return {metric.id: float(metric.value) for metric in result.metrics}


def job(*between: Sequence[Event], others: Sequence[Event] = ()) -> Trace:
    """Four steps of 100: a kernel of 20, then what each step has between, and from 90 on the kernel of 10 that was launched at 80."""
    events = list(others)
    for number in range(STEPS):
        at = 100 * number
        events += [launch(2 * number, at - 10, 5), gemm(2 * number, at, 20, step=number)]
        events += [launch(2 * number + 1, at + 80, 10), gemm(2 * number + 1, at + 90, 10, step=number)]
        events += [replace(one, start=one.start + at * US) for one in between[min(number, len(between) - 1)]]
    return traced(Made(events=events, steps=[Step(100 * n * US, 100 * (n + 1) * US) for n in range(STEPS)]))


def item(at: int, dur: int) -> list[Event]:
    return [span(Kind.OP, "aten::item", at, dur), span(Kind.SYNC, "cudaStreamSynchronize", at + 1, dur - 1)]


def test_the_shares_add_up_to_the_idle_share_of_the_account() -> None:
    result = concluded(job(item(3, 27)), job([span(Kind.INPUT, "loader", 30, 40)]))
    found = shares(result)
    # 70 of 100 idle; rank 0 all in or after the call, rank 1 in input (40), launching (10) and between calls (20).
    assert found == {
        "idle.input_share": 0.2,
        "idle.sync_share": 0.35,
        "idle.launch_share": 0.15,
        "idle.alloc_share": 0,
        "idle.compile_share": 0,
        "idle.gc_share": 0,
        "idle.checkpoint_share": 0,
        "idle.other_share": 0,
    }
    account = time.leaves_of(view_of(job(item(3, 27)), job([span(Kind.INPUT, "loader", 30, 40)])))
    assert account is not None
    assert sum(found.values()) == pytest.approx(account.share("idle"), abs=1e-15)
    assert result.tables["idle"].rows() == [
        [0, 4, 0.07, 0, 0.01, 0.06, 0, 0],
        [1, 4, 0.07, 0.04, 0, 0, 0.01, 0.02],
    ]
    assert list(result.tables["idle"].columns)[3:] == [
        f"{cause}_ms" for cause in ("input", "sync", "after_sync", "launch", "interpreter")
    ]


def test_the_headline_names_the_largest_cause_and_in_how_many_steps() -> None:
    result = concluded(job(item(3, 27), item(3, 27), []))
    # In two of the four steps the call owns the gap: 10 in it, 60 after it.
    assert result.headline == (
        "The device is idle 70.0 % of the step, 35.0 % where a call of the host waits for the device and lets it run dry; "
        "`aten::item` alone has 35.0 %, in 2 of 4 steps"
    )
    assert result.title == "Why the device was idle"
    rows = result.tables["idle_names"].rows()
    assert rows[0] == ["after_sync", "aten::item", 0.03, 0.3, 2, 1, 0, 0]
    assert ["sync", "aten::item", 0.005, 0.05, 2, 1, 0, 0] in rows


def test_the_picture_says_which_rank_is_idle_longest() -> None:
    calm = [span(Kind.OP, "aten::add", 20, 60)]
    busy = [launch(9, 15, 2), gemm(9, 20, 60)]
    chart = concluded(job(calm), job(calm)).charts[0]
    assert chart.title == "Every rank is idle about as long, 0.07 ms a step"
    assert {layer.name: layer.y for layer in chart.layers} == {"Launching work": [0.07, 0.07]}
    one_step = [[replace(one, step=0) for one in busy], []]
    chart = concluded(job(calm), job(*one_step), job(*one_step)).charts[0]
    assert chart.title == "Rank 0 is idle longest, 0.07 ms a step against 0.055 ms at the median rank"


def test_a_run_without_idle_time_says_so_in_a_sentence() -> None:
    busy = Made(events=[launch(1, -10, 5), gemm(1, 0, 100)], steps=[Step(0, 100 * US)])
    result = concluded(traced(busy))
    assert result.headline == "The device is idle 0.0 % of the step: nothing to gain here"
    assert not result.charts
    assert set(shares(result).values()) == {0}


def test_on_a_host_there_is_nothing_to_launch_or_to_wait_for() -> None:
    events = [
        Event(0, Kind.COMPUTE, 0, 60 * US, "scaleprof::emulated_compute"),
        span(Kind.CHECKPOINT, "scaleprof::checkpoint", 65, 20),
    ]
    result = concluded(make_trace(Made(events=events, steps=[Step(0, 100 * US)])))
    assert shares(result) == {
        "idle.input_share": 0,
        "idle.compile_share": 0,
        "idle.gc_share": 0,
        "idle.checkpoint_share": 0.2,
        "idle.other_share": pytest.approx(0.2),
    }
    assert result.title == "Why nothing ran"
    assert any("no operators were recorded" in caveat for caveat in result.caveats)


def test_by_subtraction_only_input_is_known() -> None:
    made = Made(steps=[Step(0, 100, blocked=30, input=10, profiled=False)], waits=waits_of((60, 90)))
    result = idle.conclude(make_view([made]), None)
    assert result is not None
    assert shares(result) == {"idle.input_share": 0.1}
    assert result.headline == "Nothing runs for 10.0 % of the step, 10.0 % waiting for input"
    assert any("only waiting for input, garbage collection" in caveat for caveat in result.caveats)


def test_what_could_not_be_seen_is_said() -> None:
    blind = traced(Made(events=[gemm(1, 20, 50)], steps=[Step(0, 100 * US)]))
    result = concluded(blind)
    assert shares(result)["idle.other_share"] == 0.5
    assert any("the host was not traced on 1 rank (0)" in caveat for caveat in result.caveats)
    events = [launch(1, 10, 5), gemm(1, 20, 50)]
    assert any(
        "no operators were recorded" in one for one in concluded(traced(Made(events, [Step(0, 100 * US)]))).caveats
    )
    events = [span(Kind.OP, "aten::add", 0, 5), gemm(1, 20, 50)]
    unlinked = concluded(traced(Made(events, [Step(0, 100 * US)])))
    assert any("100.0 % of the idle time ends with work of which the launch" in one for one in unlinked.caveats)
    events = [launch(1, 0, 5), gemm(1, 0, 10), launch(2, 2, 5), gemm(2, 50, 50)]
    queued = concluded(traced(Made(events, [Step(0, 100 * US)])))
    assert any("40.0 % of the step the device was idle though work was queued" in one for one in queued.caveats)
    events = [span(Kind.OP, "aten::add", 0, 50), launch(1, 10, 5), gemm(1, 20, 80)]
    slow = concluded(traced(Made(events, [Step(0, 100 * US)])))
    assert any("slows the host down" in one for one in slow.caveats)


def test_nothing_to_account_for_says_nothing() -> None:
    assert idle.conclude(make_view([Made()]), None) is None


def test_the_facts_are_those_of_the_account_and_its_own() -> None:
    assert idle.NEEDS["idle"] is gaps.idle
    assert idle.NEEDS["idle_names"] is gaps.idle_names
    assert idle.NEEDS["steps"] is steps.steps
