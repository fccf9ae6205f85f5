"""Our own recordings to Traces, with the answer on paper."""

import gzip
import json
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaleprof.errors import BrokenFile, InputError
from scaleprof.readers import find_runs, read_rank
from scaleprof.run import COLLECTIVES_FILE, RankFiles
from scaleprof.trace import Kind, Trace
from tests.readers.making import (
    OFFSET_NS,
    STEP_NS,
    WORKER,
    Json,
    complete,
    gloo,
    kernel,
    launch,
    step_line,
    thread_name,
    write_rank,
    write_run,
    write_window,
)

PERIOD_US = 101_000


def issued(index: int, *, record: int, at_us: int, elements: int = 1000, name: str = "gloo:all_reduce") -> Json:
    """A flight recorder entry of step `index`."""
    return {
        "record_id": record, "profiling_name": name, "time_created_ns": OFFSET_NS + (index * PERIOD_US + at_us) * 1000,
        "input_sizes": [[elements]], "output_sizes": [[elements]], "input_dtypes": ["Float"], "process_group": ["0", "default_pg"],
        "collective_seq_id": record + 1, "p2p_seq_id": 0, "is_p2p": False,
    }  # fmt: skip


def read(run: Path) -> Trace:
    (found,) = find_runs([run])
    return read_rank(found.ranks[0])


def recording(tmp_path: Path, *, steps: int = 6) -> Path:
    """Six steps; steps 2 to 4 in one profiler window, with two collectives each; every step blocked for 30 ms from 60 ms on."""
    run = write_run(tmp_path / "job", series="weak")
    lines = [
        step_line(i, cpu=50, runq=9, runq_wait=4, data=1_000_000, wait=30_000_000, perturbed=i == 2)
        for i in range(steps)
    ]
    waits = [
        {"t": i * PERIOD_US * 1000 + 60_000_000, "d": 30_000_000, "what": "backward_tail", "i": i} for i in range(steps)
    ]
    entries = [
        issued(i, record=2 * i + k, at_us=20_000 + 5_000 * k, elements=1000 + k) for i in range(steps) for k in (0, 1)
    ]
    folder = write_rank(run, 0, steps=lines, waits=waits, collectives=entries, samples=[{"t": 5, "rss_bytes": 7}])
    events = [thread_name(WORKER, "pt_gloo_runloop")]
    for i in (2, 3, 4):
        # The second, smaller one overtakes the first.
        events += [
            gloo("all_reduce", i * PERIOD_US + 30_000, 60_000, 1000),
            gloo("all_reduce", i * PERIOD_US + 26_000, 10_000, 1001),
        ]
        events += [complete("scaleprof::emulated_compute", "cpu_op", i * PERIOD_US + 1_000, 59_000)]
    write_window(folder, 2, 4, events)
    return run


def test_steps_come_from_the_step_lines_in_unix_time(tmp_path: Path) -> None:
    trace = read(recording(tmp_path))
    steps = trace.steps
    assert steps.index.tolist() == [0, 1, 2, 3, 4, 5]
    assert steps.start_ns.tolist() == [OFFSET_NS + i * PERIOD_US * 1000 for i in range(6)]
    assert (steps.end_ns - steps.start_ns).tolist() == [STEP_NS] * 6
    assert steps.profiled.tolist() == [False, False, True, True, True, False]
    assert steps.perturbed.tolist() == [False, False, True, False, False, False]
    assert (steps.samples[0], steps.blocked_ns[0], steps.input_ns[0], steps.runq_ns[0], steps.cpu_ns[0]) == (
        8, 30_000_000, 1_000_000, 5, 50,
    )  # fmt: skip
    assert trace.step_source == "recorded"
    assert not trace.caveats


def test_waits_and_samples_stand_on_the_same_clock(tmp_path: Path) -> None:
    trace = read(recording(tmp_path))
    assert trace.waits.start[0] == OFFSET_NS + 60_000_000
    assert (trace.waits.end - trace.waits.start).tolist() == [30_000_000] * 6
    assert trace.samples.time_ns.tolist() == [OFFSET_NS + 5]
    assert trace.samples.values["rss_bytes"].tolist() == [7.0]


def test_events_belong_to_the_step_they_lie_in(tmp_path: Path) -> None:
    trace = read(recording(tmp_path))
    assert trace.events.step.tolist() == [2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert [Kind(kind).name for kind in trace.kinds[:3]] == ["COMPUTE", "COLLECTIVE", "COLLECTIVE"]


def test_the_flight_recorder_is_joined_with_the_spans(tmp_path: Path) -> None:
    comm = read(recording(tmp_path)).comm
    assert comm.seq.tolist() == list(range(1, 13))
    assert comm.bytes.tolist() == [4000, 4004] * 6
    assert comm.row.tolist() == [-1, -1, -1, -1, 2, 1, 5, 4, 8, 7, -1, -1], (
        "only the window has spans; size tells two apart"
    )
    assert comm.issued_ns[4] == OFFSET_NS + (2 * PERIOD_US + 20_000) * 1000
    assert set(comm.group) == {"0"} and set(comm.dtype) == {"Float"}


def test_light_recordings_have_no_events_but_know_what_was_issued(tmp_path: Path) -> None:
    run = recording(tmp_path)
    for file in (run / "rank-00000").glob("trace-*"):
        file.unlink()
    trace = read(run)
    assert len(trace.events) == 0
    assert trace.comm.row.tolist() == [-1] * 12
    assert not trace.steps.profiled.any()
    assert trace.steps.blocked_ns.tolist() == [30_000_000] * 6


def test_two_windows_are_one_trace(tmp_path: Path) -> None:
    run = recording(tmp_path)
    i = 5
    repeated = gloo("all_reduce", 4 * PERIOD_US + 30_000, 60_000, 1000)
    write_window(run / "rank-00000", i, i, [repeated, gloo("all_reduce", i * PERIOD_US + 30_000, 60_000, 1000)])
    trace = read(run)
    assert trace.steps.profiled.tolist() == [False, False, True, True, True, True]
    assert len(trace.events) == 10, "what both windows saw counts once"
    assert trace.comm.row[-2:].tolist() == [9, -1]


def test_a_cut_off_window_covers_no_step(tmp_path: Path) -> None:
    run = recording(tmp_path)
    (path,) = (run / "rank-00000").glob("trace-*")
    text = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(text[: text.rindex(b"scaleprof::")]))
    trace = read(run)
    assert not trace.steps.profiled.any(), "events are not in order of time in a file: each step may have lost some"
    assert len(trace.steps) == 6
    assert any("is cut off after 8 events" in caveat for caveat in trace.caveats)


def test_a_broken_window_costs_its_events_not_the_rank(tmp_path: Path) -> None:
    run = recording(tmp_path)
    (path,) = (run / "rank-00000").glob("trace-*")
    path.write_bytes(b"")
    trace = read(run)
    assert len(trace.steps) == 6
    assert not trace.steps.profiled.any()
    assert any("no profiler file can be read" in caveat and "is empty" in caveat for caveat in trace.caveats)


def test_damaged_streams_cost_their_ends(tmp_path: Path) -> None:
    run = recording(tmp_path)
    steps = run / "rank-00000" / "steps.jsonl"
    steps.write_text(steps.read_text()[:-20])
    collectives = run / "rank-00000" / COLLECTIVES_FILE
    collectives.write_bytes(collectives.read_bytes()[:-12])
    trace = read(run)
    assert len(trace.steps) == 5
    assert any("last line of steps.jsonl is damaged" in caveat for caveat in trace.caveats)
    assert any(COLLECTIVES_FILE in caveat for caveat in trace.caveats)


def test_an_unfinished_recording_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "job")
    write_rank(run, 0, steps=[step_line(0)], info={"finished": False, "exception": "ValueError: no"})
    caveats = " ".join(read(run).caveats)
    assert "was not finished" in caveats
    assert "ValueError: no" in caveats


def test_without_steps_there_is_still_a_trace(tmp_path: Path) -> None:
    run = write_run(tmp_path / "job")
    write_rank(run, 0)
    trace = read(run)
    assert len(trace.steps) == len(trace.events) == 0
    assert "holds no steps" in trace.caveats[0]


def test_a_record_without_anchors_cannot_be_placed_in_time(tmp_path: Path) -> None:
    run = write_run(tmp_path / "job")
    folder = write_rank(run, 0, steps=[step_line(0)], info={"anchors": ()})
    with pytest.raises(BrokenFile, match="no clock anchor"):
        read_rank(RankFiles(0, "recorded", (), folder))


def test_a_clock_that_was_set_is_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "job")
    folder = write_rank(run, 0, steps=[step_line(0)])
    record = json.loads((folder / "rank.json").read_text())
    later = {
        "real_before_ns": OFFSET_NS + 10**9 + 7 * 10**8,
        "mono_ns": 10**9,
        "real_after_ns": OFFSET_NS + 10**9 + 7 * 10**8,
    }
    record["anchors"].append(later)
    (folder / "rank.json").write_text(json.dumps(record))
    assert "set by +700.0 ms" in " ".join(read(run).caveats)


HOSTILE = [
    b"1e999",
    b"-1",
    b"99999999999999999999",
    b"4611686018427387903",
    b'"x"',
    b"null",
    b"[]",
    b"{}",
    b"true",
    b"0.5",
]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_hostile_folders_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    run = recording(tmp_path_factory.mktemp("hostile"))
    files = sorted(path for path in run.rglob("*") if path.is_file())
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(files))
        packed = path.suffix == ".gz"
        text = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
        places = [found.span() for found in re.finditer(rb"(?<=: )-?\d+", text)]
        start, end = data.draw(st.sampled_from(places or [(0, 1)]))
        text = text[:start] + data.draw(st.sampled_from(HOSTILE)) + text[end:]
        path.write_bytes(gzip.compress(text) if packed else text)
    with suppress(InputError):
        (found,) = find_runs([run])
        read_rank(found.ranks[0])


def test_on_a_device_profiled_steps_end_with_their_kernels(tmp_path: Path) -> None:
    run = write_run(tmp_path / "job")
    folder = write_rank(run, 0, steps=[step_line(i) for i in range(5)], info={"device": "cuda"})
    events: list[Json] = []
    for i in (1, 2, 3):
        start = i * PERIOD_US
        events += [launch(start + 100, 10 * i), launch(start + 200, 10 * i + 1)]
        events += [kernel("gemm", start + 300, 5, 10 * i), kernel("gemm", start + 400, 110_000, 10 * i + 1)]
    write_window(folder, 1, 3, events)
    trace = read(run)
    ends = [OFFSET_NS + (i * PERIOD_US + 110_400) * 1000 for i in (1, 2, 3)]
    assert trace.steps.profiled.tolist() == [False, False, True, True, False], (
        "the first has no end of a step before it"
    )
    assert trace.steps.start_ns[2:4].tolist() == ends[:2]
    assert trace.steps.end_ns[1:4].tolist() == ends
    assert trace.steps.host_start_ns.tolist() == [OFFSET_NS + i * PERIOD_US * 1000 for i in range(5)]
    assert (trace.steps.start_ns[1:] >= trace.steps.end_ns[:-1]).all()
    on_device = trace.events.step[trace.on_device]
    assert on_device.tolist() == [1, 1, 2, 2, 3, 3]
    assert np.isnan(trace.steps.samples).sum() == 0
