"""The picture of some steps: what is drawn where, on which clock, and how much of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof import analyze
from scaleprof.analyses.timeline import timeline
from scaleprof.analyses.timeline.choice import MOST_RANKS, shares_of, steps_shown
from scaleprof.analyses.timeline.slices import LEAST_IN_RANK, MOST_IN_RANK, Row, slices
from scaleprof.analyses.timeline.thinning import Drawn, thinned
from scaleprof.pipeline import Options
from scaleprof.results import Result, Table
from scaleprof.run import RankInfo
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job
from scaleprof.trace import Kind
from tests.analyses.making_gaps import MAIN, STREAM_20, US, gemm, launch, span, traced
from tests.making import Event, Made, Step, make_view


def drawn(table: Table, row: Row) -> list[tuple[int, int, int, str]]:
    """Depth, start and duration in us, name."""
    here = np.flatnonzero(np.asarray(table["row"]) == row)
    return [
        (
            int(table["depth"][one]),
            int(table["start_ns"][one]) // US,
            int(table["dur_ns"][one]) // US,
            table["name"][one],
        )
        for one in here.tolist()
    ]


def one_step(*events: Event, length_us: int = 1000) -> Made:
    return Made(events=list(events), steps=[Step(0, length_us * US)])


def test_host_and_device_are_drawn_in_rows_and_what_lies_within_below() -> None:
    made = one_step(
        span(Kind.OP, "aten::linear", 100, 200),
        span(Kind.OP, "aten::addmm", 120, 100),
        launch(1, 130, 20),
        gemm(1, 300, 400),
        span(Kind.OP, "far away", 5000, 10),
    )
    table = slices(traced(made))
    assert drawn(table, Row.HOST) == [
        (0, 100, 200, "aten::linear"),
        (1, 120, 100, "aten::addmm"),
        (2, 130, 20, "launch#1"),
    ]
    assert drawn(table, Row.COMPUTE) == [(0, 300, 400, "gemm#1")]
    assert drawn(table, Row.COMMUNICATION) == []
    assert (set(table["window_start_ns"]), set(table["window_end_ns"])) == ({0}, {1000 * US})


def stepping(count: int, *, profiled_from: int = 0, info: RankInfo | None = None) -> Made:
    """So many steps of 100 us, one kernel in each; a profiler was started beside the first that it saw."""
    return Made(
        events=[e for at in range(count) for e in (launch(at, 100 * at + 10, 5), gemm(at, 100 * at + 20, 50, step=at))],
        steps=[
            Step(at * 100 * US, (at + 1) * 100 * US, profiled=at >= profiled_from, perturbed=0 < profiled_from == at)
            for at in range(count)
        ],
        info=info or RankInfo(rank=0, world_size=1),
    )


def test_steps_that_were_profiled_whole_are_kept_evenly_spread() -> None:
    table = slices(traced(stepping(10, profiled_from=1)))
    assert sorted(set(table["step"])) == [2, 4, 6, 7, 9], "of 2 to 9; a profiler was started beside 1"
    assert {name for name in table["name"] if name.startswith("gemm")} >= {"gemm#2", "gemm#9"}
    here = np.asarray(table["step"]) == 6
    assert set(np.asarray(table["window_start_ns"])[here]) == {600 * US}
    assert sorted(set(slices(traced(stepping(3)))["step"])) == [0, 1, 2], "few are all kept"
    assert set(slices(traced(stepping(1)))["step"]) == {0}


def test_every_rank_keeps_the_same_steps_and_one_of_very_many_fewer() -> None:
    few, many = (slices(traced(stepping(11, info=RankInfo(rank=3, world_size=size)))) for size in (64, 65))
    assert sorted(set(few["step"])) == [0, 2, 5, 8, 10]
    assert sorted(set(many["step"])) == [0, 5, 10]


def test_a_step_of_many_short_events_is_drawn_within_its_budget_and_loses_nothing() -> None:
    """6,000 kernels of 10 us: neighbours are drawn as one, and what each of them stands for adds up to all of them."""
    events = [event for one in range(6_000) for event in (launch(1, one * 12, 1), gemm(1, one * 12 + 1, 10))]
    table = slices(traced(one_step(*events, length_us=72_000)))
    assert len(table) <= MOST_IN_RANK
    for row in (Row.COMPUTE, Row.HOST):
        assert np.asarray(table["count"])[np.asarray(table["row"]) == row].sum() == 6_000
    view = make_view([one_step(*events, length_us=72_000)])
    result = timeline.conclude(view, None)
    assert result is not None and result.timeline is not None
    names = [
        name for name, row in zip(result.timeline["name"], result.timeline["row"], strict=True) if row == Row.COMPUTE
    ]
    counts = [int(name.split()[0].replace(",", "")) if name.endswith(" events") else 1 for name in names]
    assert sum(counts) == 6_000


def test_a_rank_of_thousands_is_drawn_with_less() -> None:
    events = [event for one in range(3000) for event in (launch(1, one * 12, 1), gemm(1, one * 12 + 1, 10))]
    made = Made(events=events, steps=[Step(0, 36_000 * US)], info=RankInfo(rank=7, world_size=4096))
    assert LEAST_IN_RANK / 3 < len(slices(traced(made))) <= max(LEAST_IN_RANK, 12_000 // 64)


def test_spans_within_others_lie_deeper_and_spans_at_once_beside_one_another() -> None:
    made = one_step(
        span(Kind.OP, "a", 0, 100),
        span(Kind.OP, "b", 10, 20),
        span(Kind.OP, "c", 30, 20),
        span(Kind.OP, "d", 200, 20),
        gemm(1, 300, 100),
        gemm(2, 350, 100, stream=STREAM_20),
        gemm(3, 400, 10),
    )
    table = slices(traced(made))
    assert [(depth, name) for depth, *_, name in drawn(table, Row.HOST)] == [(0, "a"), (1, "b"), (1, "c"), (0, "d")]
    assert [(depth, name) for depth, *_, name in drawn(table, Row.COMPUTE)] == [
        (0, "gemm#1"),
        (1, "gemm#2"),
        (0, "gemm#3"),
    ]


def test_without_a_whole_step_nothing_is_drawn() -> None:
    made = Made(events=[launch(1, 0, 1), gemm(1, 1, 2)], steps=[Step(0, 10 * US, profiled=False)])
    assert len(slices(traced(made))) == 0
    assert len(slices(traced(Made(events=[launch(1, 0, 1)], steps=[Step(5, 5)])))) == 0, "a step of no length"
    assert len(slices(traced(Made(steps=[Step(0, 10 * US)])))) == 0, "no events"
    assert len(slices(traced(Made()))) == 0
    assert timeline.conclude(make_view([made, Made()]), None) is None
    assert timeline.conclude(make_view([Made()]), None) is None


def shown(times: dict[int, float], **lacking: int) -> list[tuple[int, str]]:
    return [
        (one.step, one.role) for one in steps_shown(times, {step: lacking.get(f"step_{step}", 0) for step in times})
    ]


def test_the_typical_step_is_nearest_to_the_median_and_the_ends_are_shown_beside_it() -> None:
    assert shown({3: 10.0, 5: 12.0, 7: 40.0, 9: 11.0, 11: 13.0}) == [(5, "typical"), (7, "slowest"), (3, "fastest")]
    assert shown({3: 10.0, 5: 12.0, 7: 11.5}) == [(7, "typical"), (5, "slowest"), (3, "fastest")]
    assert shown({3: 10.0, 5: 12.0, 7: 11.0, 9: 14.0}) == [(7, "typical"), (9, "slowest"), (3, "fastest")], (
        "11.5 is in the middle"
    )
    assert shown({3: 12.0, 5: 10.0}) == [(5, "faster"), (3, "slower")]
    assert shown({4: 12.0}) == [(4, "")]
    assert shown({3: 9.9, 5: 10.0, 7: 12.0}) == [(5, "typical"), (7, "slowest")], "1 % faster is no news"
    assert shown({3: 10.0, 5: 12.0, 7: 11.5}, step_7=1) == [(5, "typical"), (7, "slowest"), (3, "fastest")], (
        "a rank lacks step 7"
    )
    assert [one.label for one in steps_shown({2: 489.123, 4: 1702.0}, {2: 0, 4: 0})] == [
        "step 2, faster: 489.1 ms",
        "step 4, slower: 1.702 s",
    ]


def test_slices_are_shared_out_so_that_the_typical_step_keeps_most() -> None:
    """12,000 for a run: 1,500 a rank of eight."""
    assert shares_of([3000, 3000, 3000], 4) == [1800, 600, 600]
    assert shares_of([3000, 3000, 3000], 8) == [900, 300, 300]
    assert shares_of([3000, 3000, 3000], 1) == [3000, 1500, 1500]
    assert shares_of([400, 900, 100], 8) == [400, 550, 100], "what the typical one does not need the others share"
    assert shares_of([1400, 100, 20], 8) == [1380, 100, 20]
    assert shares_of([900], 16) == [750]
    assert shares_of([0, 10], 16) == [0, 10]


def job(*lengths_us: int, busy_us: int = 60, first: int = 0) -> Made:
    """A rank whose steps are so long; each computes for 60 us, or all but 20 us of it."""
    starts = np.cumsum([0, *lengths_us]).tolist()
    events = [
        event
        for at, (start, length) in enumerate(zip(starts, lengths_us, strict=False))
        for event in (launch(at, start + 1, 2), gemm(at, start + 5, busy_us or length - 20, step=at))
    ]
    steps = [
        Step(start * US, (start + length) * US, profiled=at >= first)
        for at, (start, length) in enumerate(zip(starts, lengths_us, strict=False))
    ]
    return Made(events=events, steps=steps)


def concluded(*ranks: Made) -> Result:
    result = timeline.conclude(make_view(ranks), None)
    assert result is not None and result.timeline is not None
    return result


def test_the_headline_says_what_the_slowest_step_does_longer() -> None:
    result = concluded(*[job(100, 100, 150, 100, 90)] * 2)
    assert result.headline == (
        "Step 0, the typical one, takes 0.1 ms on 2 ranks: 60.0 % compute, 40.0 % idle time; "
        "step 2, the slowest of 5, takes 0.05 ms longer, with 0.05 ms more idle time"
    )
    assert list(dict.fromkeys(result.timeline["step"])) == [0, 2, 4]
    assert list(dict.fromkeys(result.timeline["step_label"])) == [
        "step 0, typical: 0.1 ms",
        "step 2, slowest: 0.15 ms",
        "step 4, fastest: 0.09 ms",
    ]
    table = result.tables["timeline_steps"]
    assert table["time_ms"] == pytest.approx([0.1, 0.15, 0.09])
    assert table["compute_ms"] == pytest.approx([0.06] * 3)
    assert table["idle_ms"] == pytest.approx([0.04, 0.09, 0.03])
    busy = concluded(job(100, 100, 150, 100, 90, busy_us=0))
    assert busy.headline.endswith("step 2, the slowest of 5, takes 0.05 ms longer, with 0.05 ms more compute")


def test_steps_that_are_alike_are_not_told_apart_in_words() -> None:
    assert concluded(job(1000, 1001, 1010)).headline.endswith("step 2, the slowest of 3, takes only 0.9 % longer")
    assert concluded(job(1000, 1000, 1000)).headline.endswith("step 2, the slowest of 3, takes as long")


def test_one_profiled_step_is_shown_alone() -> None:
    result = concluded(job(100, 100, 100, first=2))
    assert result.headline == "Step 2 takes 0.1 ms on 1 rank: 60.0 % compute, 40.0 % idle time"
    assert set(result.timeline["step_label"]) == {"step 2: 0.1 ms"}


def test_every_step_begins_at_its_own_zero() -> None:
    result = concluded(*[job(100, 90, 150)] * 2)
    assert set(result.timeline["step_from_ms"]) == {0.0}
    gemms = {
        step: start
        for step, start, name in zip(
            result.timeline["step"], result.timeline["start_ms"], result.timeline["name"], strict=True
        )
        if name == f"gemm#{step}"
    }
    assert gemms == {0: 0.005, 1: 0.005, 2: 0.005}


def test_a_rank_that_lacks_a_step_is_drawn_in_the_others_and_said() -> None:
    """Rank 2 was seen from step 1 on, rank 3 in no step: most have step 0, so that it can be chosen, but it is not the typical one."""
    whole = job(100, 110, 200)
    result = concluded(whole, whole, job(100, 110, 200, first=1), job(100, 110, 200, first=9))
    table = result.timeline
    of = {
        step: {rank for rank, at in zip(table["rank"], table["step"], strict=True) if at == step} for step in (0, 1, 2)
    }
    assert of == {0: {0, 1}, 1: {0, 1, 2}, 2: {0, 1, 2}}
    assert result.headline.startswith("Step 1, the typical one, takes 0.11 ms on 3 ranks")
    assert "no profiler saw any of these steps whole on rank 3: not drawn" in result.caveats
    assert "no profiler saw step 0 whole on rank 2" in result.caveats
    lone = concluded(job(100, 110, first=1), job(100, 110, first=1), job(100, 110))
    assert set(lone.timeline["step"]) == {1}, "one rank of three has step 0"


def section(tmp_path: Path, **fields: Any) -> Result:
    folder = write_job(Spec(**{"steps": 6, "layers": 4, "buckets": 2, **fields}), tmp_path)
    report = analyze([folder], options=Options(engine="serial"))
    assert '"step_from_ms"' not in json.dumps(report.to_dict()), "the picture is in no JSON"
    return next(section for section in report.runs[0].sections if section.name == "timeline")


def test_all_ranks_are_drawn_on_one_clock_with_the_waiting_of_each_operation(tmp_path: Path) -> None:
    """Clocks 3 ms apart, ends 2 us apart: on one clock the ends of every all-reduce lie together, and the late rank waits for nobody."""
    result = section(
        tmp_path,
        ranks=4,
        ranks_per_host=2,
        clock_offset_ms=(0.0, 3.0),
        exit_us=2.0,
        late_rank=3,
        late_ms=4.0,
        jitter=0.0,
    )
    table = result.timeline
    assert table is not None
    assert not result.caveats
    assert sorted(set(table["rank"])) == [0, 1, 2, 3]
    ends: dict[int, list[float]] = {}
    for place, number in enumerate(table["operation"]):
        if number is not None:
            ends.setdefault(number, []).append(table["start_ms"][place] + table["dur_ms"][place])
    whole = [of for of in ends.values() if len(of) == 4]
    assert len(whole) >= 2
    assert max(max(of) - min(of) for of in whole) < 0.02
    waits: dict[int, float] = {}
    for place, wait in enumerate(table["wait_ms"]):
        waits[table["rank"][place]] = max(waits.get(table["rank"][place], 0.0), wait or 0.0)
    assert waits[3] < 0.1
    assert min(waits[rank] for rank in (0, 1, 2)) == pytest.approx(4.0, abs=0.2)
    assert result.headline.startswith("Step ")
    assert ", the typical one, takes " in result.headline
    assert "on 4 ranks" in result.headline


def test_of_many_ranks_the_stragglers_and_those_that_wait_most_and_least_are_drawn(tmp_path: Path) -> None:
    result = section(tmp_path, ranks=24, ranks_per_host=8, late_rank=17, late_ms=6.0)
    assert result.timeline is not None
    ranks = sorted(set(result.timeline["rank"]))
    assert len(ranks) == MOST_RANKS
    assert 17 in ranks, "the late one waits least"
    [caveat] = [caveat for caveat in result.caveats if caveat.startswith("16 of 24 ranks shown")]
    assert (
        caveat
        == "16 of 24 ranks shown: straggler 17, those that wait least and most on average, and some evenly between"
    )
    assert " on 24 ranks: " in result.headline, "the account is over all of them"


def test_lanes_of_the_host_are_those_that_launch() -> None:
    made = one_step(span(Kind.OP, "aten::add", 0, 50, lane=MAIN), launch(1, 10, 5), gemm(1, 60, 100))
    assert [name for *_, name in drawn(slices(traced(made)), Row.HOST)] == ["aten::add", "launch#1"]


def test_slices_drawn_together_are_no_single_operation_any_more() -> None:
    starts = np.array([0, 20, 40, 60, 500])
    ends = np.array([10, 30, 50, 70, 900])
    same, one = np.zeros(5, dtype=np.int64), np.ones(5, dtype=np.int64)
    part = Drawn(depth=same, start=starts, end=ends, name=same, color=same, operation=np.arange(5), count=one)
    thin = thinned(part, 2, 1000)
    assert (thin.count.tolist(), thin.operation.tolist()) == ([4, 1], [-1, 4])
    assert (thin.start.tolist(), thin.end.tolist()) == ([0, 500], [70, 900])
