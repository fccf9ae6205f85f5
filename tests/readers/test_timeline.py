"""Horovod timelines to spans: every dialect, and files that are not whole."""

from pathlib import Path

import pytest

from tests.readers.making_timelines import (
    DIALECTS,
    EVENTS,
    begin,
    end,
    negotiation,
    operation,
    read,
    read_text,
    rows_of,
    tensor,
    tick,
)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_says_the_same(tmp_path: Path, dialect: str) -> None:
    trace = read_text(tmp_path, DIALECTS[dialect])
    assert rows_of(trace, "collective") == [("GLOO_ALLREDUCE", 230, 11), ("GLOO_ALLREDUCE", 530, 11)]
    assert trace.comm.bytes.tolist() == [24, 24]
    assert not [caveat for caveat in trace.caveats if "cut off" in caveat or "decoded" in caveat or "open" in caveat]


def test_without_an_anchor_times_count_from_an_unknown_origin(tmp_path: Path) -> None:
    trace = read(tmp_path, EVENTS, anchor=False)
    assert trace.events.start_ns[trace.comm.row].tolist() == [230_000, 530_000]
    assert "the timeline does not say when it started: its times count from an unknown origin" in trace.caveats


def test_a_file_that_breaks_off_inside_an_event_says_so(tmp_path: Path) -> None:
    text = DIALECTS["closed"]
    trace = read_text(tmp_path, text[: text.rindex('"ts"')])
    assert any("t.json is cut off inside an event" in caveat for caveat in trace.caveats)
    assert trace.comm.bytes.tolist() == [24, -1], "the second operation has lost what its end said"


def test_spans_that_are_open_at_the_end_are_closed_there_and_said(tmp_path: Path) -> None:
    whole = operation(100, {1: "[4]", 2: "[2]", 3: "[1]"})
    later = [*negotiation(300, 5, 4), begin("ALLREDUCE", 310, 4), begin("GLOO_ALLREDUCE", 320, 4), tick(0, 330, 9)]
    trace = read(tmp_path, [tensor(3, "c")], whole[:-1], later)
    assert rows_of(trace, "operation") == [("ALLREDUCE", 100, 230), ("ALLREDUCE", 310, 20)]
    assert rows_of(trace, "collective") == [("GLOO_ALLREDUCE", 130, 12), ("GLOO_ALLREDUCE", 320, 10)]
    assert trace.comm.bytes.tolist() == [-1, -1]
    assert "the operations of 2 tensors (c, tensor 4) were open when the timeline ended: they are closed there" in (
        trace.caveats
    )


def test_negotiations_without_an_operation_and_ends_without_a_begin_count_for_nothing(tmp_path: Path) -> None:
    phantom = [*negotiation(300, 10, 1), *negotiation(320, 10, 1)]
    barrier = [*negotiation(400, 5, 2, op="BARRIER"), end(406, 2), end(407, 2)]
    trace = read(tmp_path, operation(100, {1: "[4]"}), phantom, barrier, operation(500, {2: "[8]"}))
    assert trace.comm.bytes.tolist() == [16, 32]
    assert trace.extra == {"ends_without_begin": 2}


def test_a_lost_end_costs_its_own_operation_only(tmp_path: Path) -> None:
    first = operation(100, {1: "[4]"})
    del first[4]
    trace = read(tmp_path, first, operation(300, {1: "[8]"}), operation(500, {2: "[8]"}))
    assert trace.comm.bytes.tolist()[1:] == [32, 32]
    assert trace.extra == {"begins_without_end": 1}


def test_activities_from_before_the_timeline_began_are_left_out(tmp_path: Path) -> None:
    trace = read(tmp_path, [begin("GLOO_ALLREDUCE", 1, 1), end(2, 1), end(3, 1)], operation(100, {1: "[4]"}))
    assert len(trace.comm.row) == 1
    assert trace.extra == {"activities_without_operation": 1, "ends_without_begin": 1}
