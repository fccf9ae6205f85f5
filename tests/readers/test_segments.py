"""The line streams of a recording: whole, as a killed job leaves them, and with a middle that was not kept."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from scaleprof.readers import find_runs, read_rank
from scaleprof.readers.recorded.segments import Gap, Line, Stream
from scaleprof.run import COLLECTIVES_FILE, SAMPLES_FILE, STEPS_FILE, WAITS_FILE, segment_name, segments_of
from scaleprof.trace import Trace
from tests.readers.making import (
    OFFSET_NS,
    STEP_NS,
    kernel,
    launch,
    step_line,
    write_bytes,
    write_rank,
    write_run,
    write_window,
)

LINES = [{"i": number, "t0": 100 * number, "t1": 100 * number + 90} for number in range(50)]
TEXT = "".join(json.dumps(line) + "\n" for line in LINES).encode()
PERIOD_NS = STEP_NS + 1_000_000


def read(path: Path) -> tuple[list[Line], list[str]]:
    stream = Stream(path.parent, path.name)
    return list(stream), stream.caveats


@pytest.mark.parametrize("name", ["s.jsonl", "s.jsonl.gz"])
def test_whole_lines_are_read(tmp_path: Path, name: str) -> None:
    assert read(write_bytes(tmp_path / name, TEXT)) == (LINES, [])


def test_a_stream_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "s.jsonl") == ([], [])


def test_a_cut_off_last_line_is_a_caveat(tmp_path: Path) -> None:
    found, said = read(write_bytes(tmp_path / "s.jsonl", TEXT[:-5]))
    assert found == LINES[:-1]
    assert said == ["the last line of s.jsonl is damaged, as a killed job leaves it: 49 lines were read"]


def test_cut_off_compressed_data_keeps_its_lines(tmp_path: Path) -> None:
    found, said = read(write_bytes(tmp_path / "s.jsonl.gz", gzip.compress(TEXT)[:-10], gz=False))
    assert found == LINES[: len(found)]
    assert len(found) > 40
    assert len(said) == 1


def test_flushed_compressed_data_without_its_end_keeps_all_lines(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl.gz"
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb") as file:
        file.write(TEXT)
        file.flush()
        raw.flush()
        flushed = path.read_bytes()
    found, said = read(write_bytes(tmp_path / "t.jsonl.gz", flushed, gz=False))
    assert found == LINES
    assert "ends too early" in said[0]


def test_damaged_lines_in_the_middle_are_counted(tmp_path: Path) -> None:
    lines = TEXT.splitlines(keepends=True)
    lines[3], lines[9] = b"\x00\x00\n", b"[1]\n"
    found, said = read(write_bytes(tmp_path / "s.jsonl", b"".join(lines)))
    assert len(found) == 48
    assert said == ["2 of 50 lines of s.jsonl are damaged and were left out"]


def test_a_value_that_is_no_number_is_no_damage(tmp_path: Path) -> None:
    found, said = read(write_bytes(tmp_path / "s.jsonl", b'{"samples": NaN}\n{"samples": -Infinity}\n'))
    assert (len(found), said) == (2, [])


def write_segments(folder: Path, stream: str, segments: dict[int, Sequence[Line]]) -> None:
    for number, lines in segments.items():
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        write_bytes(folder / segment_name(stream, number), text)


@pytest.mark.parametrize("name", ["s.jsonl", "s.jsonl.gz"])
def test_segments_are_read_in_order_of_their_numbers(tmp_path: Path, name: str) -> None:
    write_segments(tmp_path, name, {number: LINES[number : number + 1] for number in reversed(range(12))})
    (tmp_path / "other.00001.jsonl").write_text("no line of this stream")
    assert read(tmp_path / name) == (LINES[:12], [])


def test_segment_names_do_not_mistake_one_stream_for_another(tmp_path: Path) -> None:
    assert segment_name("steps.jsonl", 0) == "steps.jsonl"
    assert segment_name("collectives.jsonl.gz", 123456) == "collectives.123456.jsonl.gz"
    for name in ("s.jsonl", "s.00001.jsonl.gz", "s.00001.jsonl", "s.1.jsonl", "s.00000.jsonl", "a.s.00001.jsonl"):
        (tmp_path / name).write_text("")
    assert [path.name for path in segments_of(tmp_path, "s.jsonl").values()] == ["s.jsonl", "s.00001.jsonl"]


def test_a_damaged_line_at_the_end_of_any_segment_costs_that_line(tmp_path: Path) -> None:
    for number in range(3):
        write_bytes(tmp_path / segment_name("s.jsonl", number), TEXT[:-5])
    found, said = read(tmp_path / "s.jsonl")
    assert len(found) == 3 * 49
    assert [caveat.partition(" is damaged")[0] for caveat in said] == [
        "the last line of s.jsonl", "the last line of s.00001.jsonl", "the last line of s.00002.jsonl",
    ]  # fmt: skip


def test_a_segment_that_cannot_be_read_costs_itself(tmp_path: Path) -> None:
    write_segments(tmp_path, "s.jsonl", {0: LINES[:2], 2: LINES[4:6]})
    (tmp_path / "s.00001.jsonl").mkdir()
    found, said = read(tmp_path / "s.jsonl")
    assert found == LINES[:2] + LINES[4:6]
    assert "s.00001.jsonl cannot be read" in said[0]


def test_gaps_say_what_stands_beside_them(tmp_path: Path) -> None:
    lost = [LINES[0], {"lost": 7}, LINES[8]]
    write_segments(tmp_path, "s.jsonl", {0: lost, 5: [], 7: [LINES[20], {"lost": 2}]})
    stream = Stream(tmp_path, "s.jsonl")
    assert list(stream) == [LINES[0], LINES[8], LINES[20]]
    assert stream.gaps[0] == Gap(LINES[0], LINES[8], 7)
    assert stream.gaps[1:3] == [Gap(LINES[8], LINES[20])] * 2
    assert stream.gaps[3] == Gap(LINES[20], None, 2)


KEPT = [*range(10), *range(40, 60)]


def long_recording(run: Path, *, device: str = "cpu") -> Path:
    """Sixty steps blocked for 30 ms each, 60 ms after their start, of which ten to forty were not kept in any stream."""
    folder = write_rank(write_run(run), 0, info={"device": device})
    streams = {
        STEPS_FILE: lambda i: step_line(i, wait=30_000_000, data=0),
        WAITS_FILE: lambda i: {"t": i * PERIOD_NS + 60_000_000, "d": 30_000_000, "what": "Work.wait", "i": i},
        SAMPLES_FILE: lambda i: {"t": i * PERIOD_NS, "rss_bytes": i},
        COLLECTIVES_FILE: lambda i: {"record_id": i, "profiling_name": "gloo:barrier", "time_created_ns": OFFSET_NS + i * PERIOD_NS},
    }  # fmt: skip
    for stream, line in streams.items():
        write_segments(folder, stream, {0: [line(i) for i in range(10)], 4: [line(i) for i in range(40, 60)]})
    return folder


def trace_of(folder: Path) -> Trace:
    (found,) = find_runs([folder.parent])
    return read_rank(found.ranks[0])


def test_what_was_not_kept_is_said_once_a_stream(tmp_path: Path) -> None:
    trace = trace_of(long_recording(tmp_path / "job"))
    assert trace.steps.index.tolist() == KEPT
    assert trace.caveats == (
        "steps 10 to 39 were not kept: steps.jsonl is limited to 64 MB",
        "a part of the waits of steps 9 to 40 was not kept: waits.jsonl.gz is limited to 16 MB",
        "a part of the samples of steps 9 to 40 was not kept: samples.jsonl is limited to 32 MB",
        "a part of the collectives of steps 9 to 40 was not kept: collectives.jsonl.gz is limited to 8 MB",
    )


def test_no_step_reaches_over_a_gap(tmp_path: Path) -> None:
    steps = trace_of(long_recording(tmp_path / "job")).steps
    assert ((steps.end_ns - steps.start_ns) == STEP_NS).all()
    assert not steps.perturbed.any()


def test_on_a_device_the_first_step_after_a_gap_has_no_cut_before_it(tmp_path: Path) -> None:
    folder = long_recording(tmp_path / "job", device="cuda")
    for steps in ((8, 9), (40, 41, 42)):
        events = []
        for i in steps:
            at_us = i * PERIOD_NS / 1000
            events += [launch(at_us + 100, 10 * i), launch(at_us + 200, 10 * i + 1)]
            events += [kernel("gemm", at_us + 300, 5, 10 * i), kernel("gemm", at_us + 400, 50_000, 10 * i + 1)]
        write_window(folder, steps[0], steps[-1], events)
    steps = trace_of(folder).steps
    assert steps.index[steps.profiled].tolist() == [9, 41, 42]
    assert (steps.end_ns - steps.start_ns).max() < 2 * STEP_NS


def test_waits_that_were_not_kept_count_by_the_sums_of_their_steps(tmp_path: Path) -> None:
    folder = long_recording(tmp_path / "job")
    whole = [step_line(i, wait=30_000_000, data=0) for i in range(60)]
    write_segments(folder, STEPS_FILE, {0: whole})
    (folder / segment_name(STEPS_FILE, 4)).unlink()
    trace = trace_of(folder)
    assert trace.caveats[0].startswith("a part of the waits of steps 9 to 40")
    assert len(trace.steps) == 60
    assert len(trace.waits.start) == 60
    assert (trace.waits.end - trace.waits.start == 30_000_000).all()
    from_start = trace.waits.start - trace.steps.host_start_ns
    assert np.unique(from_start[[*KEPT]]).tolist() == [60_000_000], "where they were is known"
    assert np.unique(from_start[10:40]).tolist() == [70_000_000], "at the end of the step"


def test_lines_that_could_not_be_written_are_counted(tmp_path: Path) -> None:
    folder = write_rank(write_run(tmp_path / "job"), 0)
    early, late = [step_line(i) for i in range(4)], [step_line(i) for i in range(9, 12)]
    write_segments(folder, STEPS_FILE, {0: [*early, {"lost": 5}, *late]})
    assert trace_of(folder).caveats == ("5 lines of steps.jsonl are missing: they could not be written in time",)
