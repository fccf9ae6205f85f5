"""Horovod timelines to Traces, with the answer on paper, and the headlines of real ones."""

import json
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaleprof.errors import BrokenFile, InputError
from scaleprof.pipeline import Options, analyze
from scaleprof.readers import find_runs, read_rank
from scaleprof.readers.horovod.fusion import groups_of
from scaleprof.readers.horovod.horovod import facts_of, rank_lags
from scaleprof.readers.horovod.timeline import read_timeline
from scaleprof.run import RankFiles
from scaleprof.trace import Kind, Trace
from tests.readers.making import complete, write_bytes, write_trace
from tests.readers.making_timelines import (
    ANCHOR,
    DIALECTS,
    EVENTS,
    START_US,
    negotiation,
    operation,
    read,
    rows_of,
    tensor,
)


def test_a_fused_operation_counts_once(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        [tensor(1, "allreduce.w"), tensor(2, "allreduce.b")],
        negotiation(100, 50, 1, {0: 1, 1: 49}),
        negotiation(110, 41, 2, {0: 2, 1: 40}),
        operation(200, {1: "[512, 256]", 2: "[512]"}),
        [{"ph": "i", "name": "CYCLE_START", "ts": 300, "s": "g"}],
    )
    assert rows_of(trace, "operation") == [("ALLREDUCE", 200, 71)]
    assert rows_of(trace, "collective") == [("GLOO_ALLREDUCE", 112, 129)], "from when all its tensors were announced"
    copies = [("MEMCPY_IN_FUSION_BUFFER", 210, 11), ("MEMCPY_OUT_FUSION_BUFFER", 250, 11)]
    assert rows_of(trace, "activity") == copies
    assert rows_of(trace, "negotiation") == [("NEGOTIATE_ALLREDUCE", 100, 50), ("NEGOTIATE_ALLREDUCE", 110, 41)]
    assert rows_of(trace, "ready") == [("0", 101, 0), ("0", 112, 0), ("1", 149, 0), ("1", 150, 0)]
    assert rows_of(trace, "mark") == [("CYCLE_START", 300, 0)]
    assert Counter(Kind(kind).name for kind in trace.kinds) == {"OTHER": 7, "COLLECTIVE": 1, "COPY": 2, "PHASE": 1}
    assert (trace.comm.op, trace.comm.bytes.tolist(), trace.comm.dtype) == (("all_reduce",), [526_336], ("float32",))
    assert trace.names.text[trace.events.name[trace.comm.row[0]]] == "GLOO_ALLREDUCE"
    assert trace.copies.bytes.tolist() == [526_336, 526_336]
    assert trace.lanes.label == ("operations", "allreduce.w", "allreduce.b")
    assert (trace.info.rank, trace.info.world_size, trace.info.backend, trace.info.device) == (0, 2, "gloo", None)
    assert trace.step_source == "whole trace"
    assert ((trace.steps.start_ns // 1000 - START_US).tolist(), trace.steps.profiled.tolist()) == ([100], [False])


def test_who_comes_last_and_how_late(tmp_path: Path) -> None:
    trace = read(
        tmp_path,
        negotiation(100, 50, 1, {0: 0, 2: 10, 1: 40}),
        negotiation(100, 50, 2, {2: 0, 0: 20, 1: 30}),
        negotiation(200, 50, 1, {1: 1, 0: 2}),
        negotiation(300, 50, 3, {1: 5, 2: 6, 0: 7}, op="BROADCAST"),
        operation(400, {1: "[4]"}),
    )
    assert rank_lags(trace).rows() == [
        ["all_reduce", 0, 2, 0, 10_000.0],
        ["all_reduce", 1, 2, 2, 35_000.0],
        ["all_reduce", 2, 2, 0, 5_000.0],
        ["broadcast", 0, 1, 1, 2_000.0],
        ["broadcast", 1, 1, 0, 0.0],
        ["broadcast", 2, 1, 0, 1_000.0],
    ]
    assert len(rank_lags(read(tmp_path, negotiation(1, 9, 1, {0: 1}), operation(20, {1: "[4]"})))) == 0


def test_a_head_tells_a_timeline_from_other_files(tmp_path: Path) -> None:
    facts = facts_of(write_bytes(tmp_path / "a.json", json.dumps(EVENTS).encode()))
    assert facts is not None
    assert (facts.rank, facts.world_size) == (None, 2)
    others = [
        write_trace(tmp_path / "torch.json", [complete("NEGOTIATE_ALLREDUCE", "cpu_op", 1, 1)]),
        write_bytes(tmp_path / "list.json", json.dumps([complete("aten::mm", "cpu_op", 1, 1)]).encode()),
        write_bytes(tmp_path / "empty list.json", b"[]"),
        write_bytes(tmp_path / "words.json", b'{"name": "NEGOTIATE_ALLREDUCE"}'),
    ]
    assert [facts_of(path) for path in others] == [None] * 4
    with pytest.raises(BrokenFile, match="without any event: the job ended before its first operation"):
        facts_of(write_bytes(tmp_path / "b.json", json.dumps([ANCHOR]).encode()))
    with pytest.raises(BrokenFile, match="holds no operation and no negotiation"):
        read(tmp_path, [{"ph": "i", "name": "CYCLE_START", "ts": 1, "s": "g"}])


def test_a_timeline_beside_other_traces_is_a_run_of_its_own(tmp_path: Path) -> None:
    write_trace(tmp_path / "rank0.json", [complete("aten::mm", "cpu_op", 1, 1)], schemaVersion=1)
    write_bytes(tmp_path / "timeline.json", json.dumps([ANCHOR, *EVENTS]).encode())
    found = {run.info.name: [files.reader for files in run.ranks.values()] for run in find_runs([tmp_path])}
    assert found == {"rank0": ["kineto"], "timeline": ["horovod", "horovod"]}, "one for each rank it hears of"


def test_each_rank_that_is_always_heard_has_a_part(tmp_path: Path) -> None:
    events = [
        tensor(1, "w"), *negotiation(100, 50, 1, {0: 1, 1: 49}), *operation(200, {1: "[4]", 2: "[2]"}),
        *negotiation(400, 50, 1, {1: 1, 0: 9}), *negotiation(405, 50, 2, {0: 2, 1: 30}), *operation(500, {1: "[4]", 2: "[2]"}),
    ]  # fmt: skip
    events[6:6] = negotiation(103, 50, 2, {1: 0, 0: 1})
    path = write_bytes(tmp_path / "t.json", json.dumps([ANCHOR, *events]).encode())
    (run,) = find_runs([path])
    first, second = (read_rank(files) for files in run.ranks.values())
    assert rows_of(first, "collective") == [("GLOO_ALLREDUCE", 104, 137), ("GLOO_ALLREDUCE", 409, 132)]
    assert rows_of(second, "collective") == [("GLOO_ALLREDUCE", 149, 92), ("GLOO_ALLREDUCE", 435, 106)]
    assert not rows_of(second, "negotiation"), "what rank 0 saw besides is none of the other's"
    (report,) = analyze([path], options=Options(engine="serial")).runs
    values = {metric.id: metric.value for section in report.sections for metric in section.metrics}
    assert values["collectives.matched_share"] == 1.0
    # Rank 0 waited for 45 us in the first step; how long the last one would have lasted is not known.
    assert values["collectives.wait_share"] == pytest.approx(45 / (137 + 92))


NUMBERS = re.compile(r'(?<=": )"?-?\d+"?|\[\d[^"]*')
WORDS = re.compile(r'"(B|E|X|M|i|ph|ts|ALLREDUCE|NEGOTIATE_ALLREDUCE|GLOO_ALLREDUCE|process_name|float32|args)"')
HOSTILE = [
    "1e999",
    "-1",
    "99999999999999999999",
    "4611686018427387903",
    '"x"',
    "null",
    "[]",
    "{}",
    "true",
    "0.5",
    '"0"',
]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_hostile_files_are_read_or_refused_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = data.draw(st.sampled_from(list(DIALECTS.values())))
    for _ in range(data.draw(st.integers(1, 3))):
        pattern, others = data.draw(
            st.sampled_from([(NUMBERS, HOSTILE), (WORDS, ['"B"', '"E"', '"ALLREDUCE"', '"X"'])])
        )
        start, stop = data.draw(st.sampled_from([found.span() for found in pattern.finditer(text)]))
        text = text[:start] + data.draw(st.sampled_from(others)) + text[stop:]
    content = bytearray(text.encode())
    for _ in range(data.draw(st.integers(0, 2))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = write_bytes(tmp_path_factory.mktemp("hostile") / "t.json", bytes(content)[: data.draw(st.integers(1, 9999))])
    with suppress(InputError):
        facts_of(path)
        trace = read_rank(RankFiles(0, "horovod", (path,)))
        rank_lags(trace)
        assert len(trace.steps) and (trace.comm.row >= 0).all()


REAL: dict[str, tuple[int, list[int], int]] = {
    "np2_dynamic": (0, [1, 1, 3, 3, 3], 1_597_480),
    "np2_fp16": (6, [3, 2, 4, 3, 3, 4, 3, 2], 798_740),
    "np2_fp32": (6, [1, 2, 2, 2, 2, 2, 3], 1_597_480),
    "np2_fp32_marks": (6, [1, 2, 2, 1, 2, 2, 2, 1], 1_597_480),
    "np2_fp32_nocache": (6, [2, 1, 1, 1, 1, 1, 1, 1], 1_597_480),
    "np2_fp32_nofuse": (6, [6] * 8, 1_597_480),
    "np2_fp32_torchprof": (6, [2, 2, 3, 2, 1, 1, 1, 1], 1_597_480),
    "np2_sigkill1": (6, [1, 2, 1, 2, 2], 1_597_480),
    "np4_fp32": (6, [1, 2, 1, 2, 2, 1], 1_597_480),
    "np4_slow2_nocache": (6, [1] * 6, 1_597_480),
    "tf_fp32/horovod_timeline": (3, [2, 2, 2, 1, 2, 1, 1, 1], 1_593_344),
}
"""Operations before the first step, in every complete step, and bytes a step."""


def real(foreign_traces: Path, name: str) -> Trace:
    (run,) = find_runs([foreign_traces / f"horovod/{name}.json"])
    return read_rank(run.ranks[0])


@pytest.mark.parametrize("name", REAL)
def test_real_timelines_send_what_the_model_has(foreign_traces: Path, name: str) -> None:
    trace = real(foreign_traces, name)
    before, operations, bytes = REAL[name]
    step = trace.events.step[trace.comm.row]
    assert int((step < 0).sum()) == before
    assert [int((step == number).sum()) for number in range(len(operations))] == operations
    for number in range(len(operations)):
        assert int(trace.comm.bytes[step == number].sum()) == bytes
    assert len(trace.steps) - len(operations) == (1 if name in ("np2_fp32", "np2_sigkill1") else 0)
    assert trace.info.backend == "gloo" and trace.names.by_rule.all()


def test_counting_per_tensor_would_count_five_times_too_much(foreign_traces: Path) -> None:
    timeline = read_timeline(foreign_traces / "horovod/np2_fp32_nocache.json")
    on_wire = groups_of(timeline).wire
    assert int((on_wire.end - on_wire.start).sum()) / 1e6 == pytest.approx(112.776)
    dur_ns = timeline.activities.end_ns - timeline.activities.start_ns
    wire = np.array([name.startswith("GLOO_") for name in timeline.names])[timeline.activities.name]
    assert int(dur_ns[wire].sum()) / 1e6 == pytest.approx(600.9, abs=0.1)
    assert len(real(foreign_traces, "np2_fp32_nofuse").comm.row) == 54


def test_the_slow_rank_is_last_every_time(foreign_traces: Path) -> None:
    rows = [row for row in rank_lags(real(foreign_traces, "np4_slow2_nocache")).rows() if row[0] == "all_reduce"]
    assert [row[1:4] for row in rows] == [[0, 36, 0], [1, 36, 0], [2, 36, 36], [3, 36, 0]]
    assert [row[4] / 1e6 for row in rows] == pytest.approx([14.9, 11.0, 96.7, 13.8], abs=0.06)


def test_the_hanging_job_names_rank_1(foreign_traces: Path) -> None:
    trace = real(foreign_traces, "np2_hang_snapshot")
    assert trace.caveats[0].startswith("when the timeline ended, 5 tensors waited for rank 1, which had not announced")
    assert "the negotiations of 6 tensors" in trace.caveats[1]


@pytest.mark.parametrize(("name", "tensors"), [("np2_fp32", "3 tensors"), ("np2_sigkill1", "1 tensor")])
def test_a_lost_tail_is_said(foreign_traces: Path, name: str, tensors: str) -> None:
    assert f"the operations of {tensors}" in real(foreign_traces, name).caveats[0]


@pytest.mark.parametrize("name", [*REAL, "np2_hang_snapshot"])
def test_reports_say_what_is_known_and_nothing_else(foreign_traces: Path, name: str) -> None:
    report = analyze([foreign_traces / f"horovod/{name}.json"], options=Options(engine="serial"))
    (run,) = report.runs
    values = {metric.id: metric.value for section in run.sections for metric in section.metrics}
    assert not [id for id in values if id.startswith(("time.", "idle.", "efficiency."))]
    assert not [one for one in run.caveats if "could not be measured" in one or one.startswith("section ")]
    assert any("compute, idle time and what of the communication they hide are not in it" in one for one in run.caveats)
    if name in REAL:
        assert values["collectives.bytes"] == REAL[name][2]


def test_a_timeline_joins_the_traces_of_its_time(foreign_traces: Path) -> None:
    found: dict[str, list[Any]] = {}
    for run in find_runs([foreign_traces / "horovod"]):
        for files in run.ranks.values():
            name = files.timeline.name if files.timeline else None
            found.setdefault(files.reader, []).append((run.info.name, files.rank, name))
    assert found["kineto"] == [("np2_torchprof", rank, "np2_fp32_torchprof.json") for rank in (0, 1)]
    names = {name for name, _, _ in found["horovod"]} | {"np2_fp32_torchprof", "horovod_timeline"}
    assert names == {name.rpartition("/")[2] for name in REAL} | {"np2_hang_snapshot"}


def test_an_activity_that_the_user_names_communicates(tmp_path: Path) -> None:
    activities = ("MEMCPY_IN_FUSION_BUFFER", "GLOO_ALLREDUCE", "MY_EXCHANGE")
    plain = read(tmp_path, [tensor(1, "w")], operation(200, {1: "[4]"}, activities=activities))
    named = read_rank(RankFiles(0, "horovod", (tmp_path / "t.json",)), ("MY_",))
    kinds = [dict(zip(trace.names.text, trace.names.kind.tolist(), strict=True)) for trace in (plain, named)]
    assert [kind["MY_EXCHANGE"] for kind in kinds] == [Kind.OTHER, Kind.COLLECTIVE]
    assert [kind["GLOO_ALLREDUCE"] for kind in kinds] == [Kind.COLLECTIVE, Kind.COLLECTIVE]
