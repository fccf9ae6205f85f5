"""The adapter to torch's flight recorder, with dumps of this and of other versions."""

import json
from typing import Any

import pytest
import torch

from scaleprof.collect.guard import Guard
from scaleprof.collect.patching import Patches
from scaleprof.collect.watching.flight import FlightRecorder

C10D = torch._C._distributed_c10d


def entry(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "record_id": number, "collective_seq_id": number + 1, "p2p_seq_id": 0, "op_id": 9, "is_p2p": False, "process_group": ["0", "default_pg"],
        "profiling_name": "gloo:all_reduce", "input_sizes": [[4]], "output_sizes": [[4]], "input_dtypes": ["Float"], "thread_id": "1",
        "output_dtypes": ["Float"], "time_created_ns": 2**62 + number, "timeout_ms": 1800000, "state": "scheduled", "retired": True, **changes,
    }  # fmt: skip


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    monkeypatch.setattr(C10D, "_dump_fr_trace_json", lambda *_: json.dumps({"version": "2.10", "entries": entries}))
    return entries


def test_an_entry_comes_once_and_without_what_says_nothing(ring: list[dict[str, Any]]) -> None:
    recorder = FlightRecorder()
    ring += [entry(0), entry(1)]
    first = recorder.new_entries()
    assert [one["record_id"] for one in first] == [0, 1]
    assert set(first[0]) == {
        "record_id", "collective_seq_id", "process_group", "profiling_name", "input_sizes", "output_sizes", "input_dtypes", "output_dtypes",
        "time_created_ns", "state",
    }  # fmt: skip
    ring += [entry(2)]
    assert [one["record_id"] for one in recorder.new_entries()] == [2]


def test_what_was_before_the_recording_is_left_out(ring: list[dict[str, Any]]) -> None:
    ring += [entry(0, time_created_ns=5), entry(1)]
    assert [one["record_id"] for one in FlightRecorder().new_entries()] == [1]


def test_entries_that_the_ring_lost_are_counted(ring: list[dict[str, Any]]) -> None:
    recorder = FlightRecorder()
    ring += [entry(3)]
    recorder.new_entries()
    ring[:] = [entry(10), entry(11)]
    recorder.new_entries()
    assert recorder.lost == 6


def test_an_older_torch_has_it_for_nccl_under_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {
        "record_id": 0, "seq_id": 7, "pg_name": "0", "profiling_name": "nccl:all_gather", "input_sizes": [[2]], "output_sizes": [[4]],
        "input_dtypes": ["Float"], "time_created_ns": 2**62, "duration_ms": 1.5,
    }  # fmt: skip
    monkeypatch.delattr(C10D, "_dump_fr_trace_json")
    monkeypatch.setattr(
        C10D, "_dump_nccl_trace_json", lambda *_: json.dumps({"version": "2.4", "entries": [old]}), raising=False
    )
    assert FlightRecorder.available()
    [one] = FlightRecorder().new_entries()
    assert (one["collective_seq_id"], one["process_group"], one["duration_ms"]) == (7, "0", 1.5)


def test_a_torch_without_one_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(C10D, "_dump_fr_trace_json")
    assert not FlightRecorder.available()
    assert FlightRecorder().new_entries() == []


def test_gloos_all_reduce_within_a_reduce_scatter_is_one(ring: list[dict[str, Any]]) -> None:
    import time

    def issue(*_: Any) -> None:
        ring.append(entry(len(ring), time_created_ns=time.time_ns()))

    recorder, patches = FlightRecorder(), Patches()
    patches.wrap(torch.distributed.ProcessGroup, "_reduce_scatter_base", lambda _: issue)
    recorder.install(patches, lambda: True, Guard())
    try:
        issue()
        torch.distributed.ProcessGroup._reduce_scatter_base(None, None)  # type: ignore[arg-type]
        issue()
    finally:
        patches.undo()
    assert [one["profiling_name"] for one in recorder.new_entries()] == [
        "gloo:all_reduce", "gloo:reduce_scatter", "gloo:all_reduce",
    ]  # fmt: skip
