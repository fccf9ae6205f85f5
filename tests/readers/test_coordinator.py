"""A Horovod timeline beside the ranks' own files: its operations become their communication, from when each rank was ready."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scaleprof.clock import ClockAnchor, ClockOffset, HostClock
from scaleprof.pipeline import Options, analyze
from scaleprof.readers import find_runs, read_rank
from scaleprof.run import COLLECTIVES_FILE, RANK_FILE, read_rank_info, write_json
from scaleprof.trace import Kind, Trace
from tests.readers.making import write_bytes
from tests.readers.making_timelines import (
    START_US,
    STEPS,
    TITLES,
    begin,
    negotiation,
    operation,
    profiles,
    tensor,
    tick,
    timeline,
)
from tests.recording import Recorded, write_run

EPOCH_NS = START_US * 1000


def spans(trace: Trace) -> list[tuple[str, int, int, int]]:
    """Name, start (us since the timeline began), duration (us) and step of the operations."""
    rows = np.flatnonzero(np.array([one == "horovod" for one in trace.names.category])[trace.events.name])
    events = trace.events
    return [
        (
            trace.names.text[events.name[row]],
            int(events.start_ns[row] - EPOCH_NS) // 1000,
            int(events.dur_ns[row]) // 1000,
            int(events.step[row]),
        )
        for row in rows.tolist()
    ]


# ---- profiles of another tool


def test_operations_of_a_timeline_are_the_communication_of_profiled_ranks(tmp_path: Path) -> None:
    profiles(tmp_path)
    timeline(tmp_path / "t.json", *STEPS)
    (run,) = find_runs([tmp_path])
    assert (run.info.name, run.info.framework, run.info.world_size) == (tmp_path.name, "horovod", 2)
    for files in run.ranks.values():
        trace = read_rank(files)
        assert spans(trace) == [("GLOO_ALLREDUCE", 1410, 11, 0), ("GLOO_ALLREDUCE", 2450, 11, 1)]
        assert trace.comm.bytes.tolist() == [24, 24] and trace.comm.seq.tolist() == [0, 1]
        assert trace.comm.row.tolist() == [-1, -1], "when they began for this rank nobody wrote down"
        assert any("nobody wrote down" in caveat for caveat in trace.caveats)
    (report,) = analyze([tmp_path], options=Options(engine="serial")).runs
    values = {metric.id: metric.value for section in report.sections for metric in section.metrics}
    assert values["collectives.matched_share"] == 1.0 and values["collectives.bytes"] == 24
    assert "collectives.wait_share" not in values, "for whom they waited is not known"
    # The first operation begins when the matrix product ends, at 1410; so does the second: nothing is hidden.
    assert values["time.exposed_comm_share"] == pytest.approx(11 / 1000)
    assert values["time.compute_share"] == pytest.approx(400 / 1000)


def test_what_the_coordinator_heard_says_when_each_rank_was_ready(tmp_path: Path) -> None:
    profiles(tmp_path)
    both = negotiation(1300, 60, 1, {0: 0, 1: 40}), negotiation(1305, 50, 2, {1: 0, 0: 5})
    timeline(tmp_path / "t.json", *both, operation(1400, {1: "[4]", 2: "[2]"}))
    (run,) = find_runs([tmp_path])
    first, second = (read_rank(files) for files in run.ranks.values())
    assert spans(first) == [("GLOO_ALLREDUCE", 1310, 131, 0)]
    assert spans(second) == [("GLOO_ALLREDUCE", 1340, 101, 0)]
    assert any("is when the coordinator heard of it" in caveat for caveat in first.caveats)


def test_a_timeline_without_a_start_joins_nothing(tmp_path: Path) -> None:
    profiles(tmp_path)
    events = [event for part in STEPS for event in part]
    write_bytes(tmp_path / "t.json", json.dumps([*TITLES, *events]).encode())
    assert len(find_runs([tmp_path])) == 2
    (run,) = find_runs([], [("job", f"{tmp_path}/*.json")])
    trace = read_rank(run.ranks[0])
    assert not spans(trace)
    assert any("t.json does not say when it started" in caveat for caveat in trace.caveats)


def test_own_spans_of_a_rank_are_put_together_as_the_coordinator_fused_them(tmp_path: Path) -> None:
    """TensorFlow's profiler shows each tensor from being handed over to being done, under the timeline's name."""
    profiles(tmp_path)
    timeline(tmp_path / "t.json", operation(1400, {1: "[4]", 2: "[2]"}))
    (run,) = find_runs([tmp_path])
    plain = read_rank(replace(run.ranks[1], timeline=None))
    names = plain.names
    own = ("allreduce.w:HorovodAllreduce", "allreduce.b:HorovodAllreduce")
    grown = replace(
        names, text=(*names.text, *own), category=(*names.category, "collective", "collective"),
        kind=np.append(names.kind, [Kind.COLLECTIVE] * 2).astype(np.uint8), by_rule=np.append(names.by_rule, [True, True]),
    )  # fmt: skip
    events, count = plain.events, len(names.text)
    start = np.append(events.start_ns, EPOCH_NS + np.array([1_350_000, 1_370_000]))
    order = np.argsort(start, kind="stable")
    columns = {
        "start_ns": start, "dur_ns": np.append(events.dur_ns, [80_000, 55_000]),
        "name": np.append(events.name, [count, count + 1]).astype(np.int32),
        "lane": np.append(events.lane, [0, 0]).astype(np.int32), "step": np.append(events.step, [0, 0]).astype(np.int32),
        "link": np.append(events.link, [-1, -1]).astype(np.int32),
    }  # fmt: skip
    place = np.argsort(order)[-2:].astype(np.int32)
    two = np.full(2, -1, dtype=np.int64)
    comm = replace(
        plain.comm, row=place, issued_ns=two, op=("all_reduce",) * 2, bytes=two, dtype=("", ""), group=("", ""), seq=two,
        peer=two.astype(np.int32),
    )  # fmt: skip
    from scaleprof.readers.horovod.coordinator import with_timeline

    profiled = replace(plain, names=grown, events=type(events)(**{k: v[order] for k, v in columns.items()}), comm=comm)
    trace = with_timeline(profiled, run.ranks[1])
    assert spans(trace) == [("GLOO_ALLREDUCE", 1370, 60, 0)], "from the last handed over to the last done"
    assert trace.comm.bytes.tolist() == [24] and trace.comm.row.tolist() != [-1]
    kinds = dict(zip(trace.names.text, trace.names.kind.tolist(), strict=True))
    assert kinds[own[0]] == kinds[own[1]] == Kind.OTHER, "the single tensors count no second time"


# ---- recordings of our own


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Two recorded ranks: rank 1 hands its tensors over 300 us later than rank 0, and the second operation has to wait for the wire."""
    folder = write_run(tmp_path, Recorded(ranks=2, steps=2))
    for rank, late_us in ((0, 0), (1, 300)):
        lines = []
        for nth, at in ((0, 1000), (1, 2400)):
            for name, bytes in (("allreduce.w", 4), ("allreduce.b", 2)):
                lines.append({
                    "record_id": len(lines), "time_created_ns": EPOCH_NS + (at + late_us) * 1000, "profiling_name": "horovod:allreduce",
                    "process_group": ["horovod"], "input_sizes": [[bytes]], "input_dtypes": ["float32"], "tensor": name, "nth": nth,
                })  # fmt: skip
        lines.append({**lines[0], "record_id": 9, "time_created_ns": EPOCH_NS + 9_000_000, "nth": 2})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"rank-0000{rank}" / COLLECTIVES_FILE).write_bytes(gzip.compress(text.encode()))
    own = operation(500, {3: "[1]"}, op="ALLGATHER")
    parts = (
        [tensor(3, "allgather.scaleprof.clock.start.0")],
        operation(200, {1: "[4]", 2: "[2]"}),
        operation(300, {1: "[4]", 2: "[2]"}),
        own,
    )
    slower = [[{**event, "ts": 10 * event["ts"]} if "ts" in event else event for event in part] for part in parts]
    timeline(folder / "rank-00000" / "horovod-timeline.json", *slower)
    return folder


def test_operations_begin_when_a_rank_had_handed_over_all_tensors_and_the_wire_was_free(recorded: Path) -> None:
    (run,) = find_runs([recorded])
    first, second = (read_rank(files) for files in run.ranks.values())
    # On the wire from 2300 to 2410 and from 3300 to 3410: rank 0 handed the second over at 2400, when the first had not ended.
    assert [span[1:3] for span in spans(first)] == [(1000, 1410), (2410, 1000)]
    assert [span[1:3] for span in spans(second)] == [(1300, 1110), (2700, 710)]
    own = first.comm.issued_ns >= 0
    assert first.comm.bytes.tolist() == [4000, 4000, 24, 24, 16], "gloo's own stand beside them"
    assert first.comm.bytes[own].tolist() == [24, 24, 16], (
        "what is in no operation of the timeline stays as it was issued"
    )
    assert first.comm.row.tolist()[-1] == -1 and first.comm.group[2:] == ("horovod",) * 3
    assert first.comm.seq.tolist()[2:4] == second.comm.seq.tolist()[2:4] == [0, 1]
    assert first.comm.issued_ns.tolist()[2:4] == [EPOCH_NS + 1_000_000, EPOCH_NS + 2_400_000]


def test_a_rank_without_its_notes_has_the_time_on_the_wire(recorded: Path) -> None:
    (recorded / "rank-00001" / COLLECTIVES_FILE).unlink()
    (run,) = find_runs([recorded])
    trace = read_rank(run.ranks[1])
    assert [span[1:3] for span in spans(trace)] == [(2300, 110), (3300, 110)]
    assert any("nobody wrote down" in caveat for caveat in trace.caveats)


def test_a_process_set_without_this_rank_is_none_of_its_operations(recorded: Path) -> None:
    notes = recorded / "rank-00001" / COLLECTIVES_FILE
    text = (
        gzip.decompress(notes.read_bytes())
        .replace(b"allreduce.w", b"allreduce.x")
        .replace(b"allreduce.b", b"allreduce.y")
    )
    notes.write_bytes(gzip.compress(text))
    (run,) = find_runs([recorded])
    assert not spans(read_rank(run.ranks[1]))


@pytest.mark.parametrize(("ahead_us", "expected"), [(5_000, (1300, 1110)), (None, None)])
def test_a_rank_on_another_host_has_the_timeline_on_its_own_clock(
    recorded: Path, ahead_us: int | None, expected: tuple[int, int] | None
) -> None:
    """Its clock is 5 ms ahead; where nobody compared them, nothing can be placed."""
    anchor = ClockAnchor(0, 0, 0)
    offsets = () if ahead_us is None else (ClockOffset.of_rounds([(0, -ahead_us * 1000, 0)], anchor, anchor),)
    for rank, clock in ((0, HostClock("a", "a")), (1, HostClock("b", "a", offsets))):  # type: ignore[arg-type]
        path = recorded / f"rank-0000{rank}" / RANK_FILE
        write_json(replace(read_rank_info(path), clock=clock), path)
    notes = recorded / "rank-00001" / COLLECTIVES_FILE
    lines = [json.loads(line) for line in gzip.decompress(notes.read_bytes()).splitlines()]
    for line in lines:
        line["time_created_ns"] += (ahead_us or 0) * 1000
    notes.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    (run,) = find_runs([recorded])
    trace = read_rank(run.ranks[1])
    if expected is None:
        assert not spans(trace)
        assert any("has the clock of another host" in caveat for caveat in trace.caveats)
    else:
        assert spans(trace)[0][1:3] == (expected[0] + (ahead_us or 0), expected[1])


def test_a_timeline_that_was_cut_off_costs_its_end_only(recorded: Path) -> None:
    path = recorded / "rank-00000" / "horovod-timeline.json"
    events = json.loads(path.read_text())
    path.write_text(json.dumps([*events[:-9], begin("ALLREDUCE", 6000, 1)])[:-1])
    (run,) = find_runs([recorded])
    trace = read_rank(run.ranks[0])
    assert spans(trace)[0][1:3] == (1000, 1410)
    assert any(
        "was open when the timeline ended" in caveat or "were open when the timeline ended" in caveat
        for caveat in trace.caveats
    )


def test_a_timeline_in_which_nothing_ran_yet_leaves_what_was_issued(recorded: Path) -> None:
    timeline(recorded / "rank-00000" / "horovod-timeline.json", negotiation(1, 9, 1, {0: 1}))
    (run,) = find_runs([recorded])
    trace = read_rank(run.ranks[0])
    assert not spans(trace) and len(trace.comm.row) == 7
    (recorded / "rank-00000" / RANK_FILE).write_text("{")
    (run,) = find_runs([recorded])
    assert any("rank.json is not readable JSON" in caveat for caveat in read_rank(run.ranks[1]).caveats)


def test_a_job_that_hung_names_the_rank_that_is_missing(recorded: Path) -> None:
    path = recorded / "rank-00000" / "horovod-timeline.json"
    heard = negotiation(1, 9, 1, {0: 1, 1: 2})
    waiting = [begin("NEGOTIATE_ALLREDUCE", 6000, 1), tick(0, 6001, 1)]
    path.write_text(json.dumps([*json.loads(path.read_text()), *heard, *waiting])[:-1] + ",\n")
    (run,) = find_runs([recorded])
    assert any("1 tensor waited for rank 1" in caveat for caveat in read_rank(run.ranks[0]).caveats)


def test_the_real_operations_lie_in_the_steps_of_both_profiled_ranks(foreign_traces: Path) -> None:
    (run,) = [run for run in find_runs([foreign_traces / "horovod"]) if run.info.name == "np2_torchprof"]
    for files in run.ranks.values():
        trace = read_rank(files)
        inside = [span for span in spans(trace) if span[3] >= 0]
        for _, start, dur, step in inside:
            end_us = (int(trace.steps.host_end_ns[step]) - EPOCH_NS) // 1000
            assert start + dur <= end_us, "an operation ends in the step in which it began"
        last = [span for span in inside if span[3] == 1]
        begun_us = (int(trace.steps.start_ns[1]) - EPOCH_NS) / 1000
        if trace.rank == 0:  # step 4, the middle one: 36.0 to 44.1 of 45.0 ms
            assert (last[0][1] - begun_us) / 1e3 == pytest.approx(36.0, abs=1.5)
        assert len(inside) == 4


def test_a_broken_timeline_costs_the_communication_not_the_rank(recorded: Path) -> None:
    (recorded / "rank-00000" / "horovod-timeline.json").write_text("[\n")
    (run,) = find_runs([recorded])
    trace = read_rank(run.ranks[0])
    assert len(trace.steps) == 2 and not spans(trace)
    assert any(
        "horovod-timeline.json was left out: horovod-timeline.json holds no event" in caveat for caveat in trace.caveats
    )
