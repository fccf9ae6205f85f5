"""The picture of one step: what is drawn where, on which clock, and how much of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof import analyze
from scaleprof.analyses import timeline
from scaleprof.analyses.slices import LEAST_IN_RANK, MOST_IN_RANK, Row, slices
from scaleprof.pipeline import Options
from scaleprof.results import Result, Table
from scaleprof.run import RankInfo
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job
from scaleprof.trace import Kind
from tests.analyses.making_gaps import MAIN, US, gemm, launch, span, traced
from tests.making import Event, Made, Step


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


def test_the_middle_one_of_the_steps_that_were_profiled_whole_is_drawn() -> None:
    steps = [Step(at * 100 * US, (at + 1) * 100 * US, profiled=at > 0, perturbed=at == 1) for at in range(6)]
    events = [
        event for at in range(6) for event in (launch(at, 100 * at + 10, 5), gemm(at, 100 * at + 20, 50, step=at))
    ]
    table = slices(traced(Made(events=events, steps=steps)))
    assert set(table["step"]) == {4}, "of 2, 3, 4 and 5"
    assert "gemm#4" in table["name"]
    assert "gemm#1" not in table["name"]


def test_a_step_of_many_short_events_is_drawn_within_its_budget_and_loses_nothing() -> None:
    """6,000 kernels of 10 us: neighbours are drawn as one, and the numbers in their names add up to all of them."""
    events = [event for one in range(6_000) for event in (launch(one, one * 12, 1), gemm(one, one * 12 + 1, 10))]
    table = slices(traced(one_step(*events, length_us=72_000)))
    assert len(table) <= MOST_IN_RANK
    for row, expected in ((Row.COMPUTE, 6_000), (Row.HOST, 6_000)):
        names = [name for *_, name in drawn(table, row)]
        counts = [int(name.split()[0].replace(",", "")) if name.endswith(" events") else 1 for name in names]
        assert sum(counts) == expected


def test_a_rank_of_thousands_is_drawn_with_less() -> None:
    events = [event for one in range(3000) for event in (launch(one, one * 12, 1), gemm(one, one * 12 + 1, 10))]
    made = Made(events=events, steps=[Step(0, 36_000 * US)], info=RankInfo(rank=7, world_size=4096))
    assert LEAST_IN_RANK / 3 < len(slices(traced(made))) <= max(LEAST_IN_RANK, 12_000 // 64)


def test_without_a_whole_step_nothing_is_drawn() -> None:
    made = Made(events=[launch(1, 0, 1), gemm(1, 1, 2)], steps=[Step(0, 10 * US, profiled=False)])
    assert len(slices(traced(made))) == 0


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
    assert "on 4 ranks" in result.headline


def test_of_many_ranks_those_that_wait_most_and_least_are_drawn(tmp_path: Path) -> None:
    result = section(tmp_path, ranks=24, ranks_per_host=8, late_rank=17, late_ms=6.0)
    assert result.timeline is not None
    ranks = sorted(set(result.timeline["rank"]))
    assert len(ranks) == timeline.MOST_RANKS
    assert 17 in ranks, "the late one waits least"
    assert any("16 ranks of 24 are drawn" in caveat for caveat in result.caveats)


def test_lanes_of_the_host_are_those_that_launch() -> None:
    made = one_step(span(Kind.OP, "aten::add", 0, 50, lane=MAIN), launch(1, 10, 5), gemm(1, 60, 100))
    assert [name for *_, name in drawn(slices(traced(made)), Row.HOST)] == ["aten::add", "launch#1"]
