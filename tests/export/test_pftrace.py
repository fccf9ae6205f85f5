"""Perfetto's own format: it parses, brackets match, and it says what the shard says."""

import io
import sys
from dataclasses import replace

import numpy as np
import pytest

from scaleprof.errors import MissingPackage
from scaleprof.export.pftrace import PerfettoWriter, _edges
from scaleprof.export.tracks import Track
from tests.export.making_shards import ABOUT, RANK, SHARD


def test_a_rank_is_read_back() -> None:
    messages = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    file = io.BytesIO()
    writer = PerfettoWriter(file)
    writer.begin(ABOUT)
    assert writer.rank(RANK, SHARD) == len(file.getvalue())
    writer.end(ABOUT)
    packets = messages.Trace.FromString(file.getvalue()).packet
    described = [packet.track_descriptor for packet in packets if packet.HasField("track_descriptor")]
    assert described[0].process.process_name == "rank 1" and described[0].sibling_order_rank == 1
    assert [one.name for one in described[1:]] == ["steps", "stream 20", "GPU power"]
    assert {one.parent_uuid for one in described[1:]} == {described[0].uuid}
    assert len({one.uuid for one in described}) == 4, "each track is one of its own"
    assert [one.sibling_order_rank for one in described[1:]] == [0, 1, 2] and described[3].counter.unit_name == "W"
    events = [(packet.timestamp, packet.track_event) for packet in packets if packet.HasField("track_event")]
    kinds = messages.TrackEvent
    of_stream = [(time, one) for time, one in events if one.track_uuid == described[2].uuid]
    assert [(time, one.type, one.name) for time, one in of_stream] == [
        (1_001, kinds.TYPE_SLICE_BEGIN, 'sum "é"'),
        (1_001, kinds.TYPE_SLICE_BEGIN, "wait"),
        (4_000, kinds.TYPE_SLICE_END, ""),
        (9_000, kinds.TYPE_SLICE_END, ""),
    ]
    first = of_stream[0][1]
    assert list(first.flow_ids) == [5] and list(first.categories) == ["kernel,collective"]
    said = {one.name: one.int_value or one.double_value or one.string_value for one in first.debug_annotations}
    assert said == {"number": 4, "wait_us": 2.999, "group": "0"}
    assert [one.double_counter_value for _, one in events if one.type == kinds.TYPE_COUNTER] == [151.25, 0.1]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "perfetto.trace_builder.proto_builder", None)
    with pytest.raises(MissingPackage, match=r"scaleprof\[perfetto\]"):
        PerfettoWriter(io.BytesIO())


def test_what_has_no_length_lies_inside_what_began_before_it() -> None:
    """As viewers read the JSON: an operator of 0 us holds the one that it called; what ended at that time holds neither."""
    start, end = np.array([0, 10, 10, 10, 12]), np.array([10, 15, 10, 10, 13])
    track = Track("host", [("op", "cpu_op")], np.zeros(5, dtype=np.int64), start, end)
    assert list(_edges(track)) == [
        (0, 0), (None, 10), (1, 10), (2, 10), (3, 10), (None, 10), (None, 10), (4, 12), (None, 13), (None, 15),
    ]  # fmt: skip


def test_letters_that_are_none_do_no_harm() -> None:
    messages = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    half = "a\ud800"
    zero = np.array([0])
    track = Track(half, [(half, half)], zero, zero, zero + 5, args={0: {"group": half}})
    file = io.BytesIO()
    PerfettoWriter(file).rank(replace(RANK, labels=half), replace(SHARD, tracks=(track,), series=()))
    about, described, begun, _ = messages.Trace.FromString(file.getvalue()).packet
    event = begun.track_event
    found = [
        *about.track_descriptor.process.process_labels,
        described.track_descriptor.name,
        event.name,
        *event.categories,
    ]
    assert [*found, event.debug_annotations[0].string_value] == ["a?"] * 5
