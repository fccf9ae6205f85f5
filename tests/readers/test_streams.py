"""The line streams of a recording, whole and as a killed job leaves them."""

import gzip
import json
import math
from pathlib import Path

import pytest

from scaleprof.readers.streams import issued_by_recorder, read_lines, sample_columns, step_lines, wait_spans
from tests.readers.making import write_bytes

LINES = [{"i": number, "t0": 100 * number, "t1": 100 * number + 90} for number in range(50)]
TEXT = "".join(json.dumps(line) + "\n" for line in LINES).encode()


@pytest.mark.parametrize("name", ["s.jsonl", "s.jsonl.gz"])
def test_whole_lines_are_read(tmp_path: Path, name: str) -> None:
    assert read_lines(write_bytes(tmp_path / name, TEXT)) == (LINES, [])


def test_a_stream_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "s.jsonl") == ([], [])


def test_a_cut_off_last_line_is_a_caveat(tmp_path: Path) -> None:
    found, said = read_lines(write_bytes(tmp_path / "s.jsonl", TEXT[:-5]))
    assert found == LINES[:-1]
    assert said == ["the last line of s.jsonl is damaged, as a killed job leaves it: 49 lines were read"]


def test_cut_off_compressed_data_keeps_its_lines(tmp_path: Path) -> None:
    found, said = read_lines(write_bytes(tmp_path / "s.jsonl.gz", gzip.compress(TEXT)[:-10], gz=False))
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
    found, said = read_lines(write_bytes(tmp_path / "t.jsonl.gz", flushed, gz=False))
    assert found == LINES
    assert "ends too early" in said[0]


def test_damaged_lines_in_the_middle_are_counted(tmp_path: Path) -> None:
    lines = TEXT.splitlines(keepends=True)
    lines[3], lines[9] = b"\x00\x00\n", b"[1]\n"
    found, said = read_lines(write_bytes(tmp_path / "s.jsonl", b"".join(lines)))
    assert len(found) == 48
    assert said == ["2 of 50 lines of s.jsonl are damaged and were left out"]


def test_a_step_line_says_what_it_knows() -> None:
    (line,) = step_lines([{"i": 4, "t0": 5, "t1": 95, "cpu": 7, "runq": 9, "runq_wait": 4, "data": 3, "wait": 20,
                           "samples": 16, "profiled": False, "perturbed": True}])  # fmt: skip
    assert (line.index, line.t0, line.t1, line.cpu, line.runq, line.input, line.blocked) == (4, 5, 95, 7, 5, 3, 20)
    assert (line.samples, line.profiled, line.perturbed) == (16.0, False, True)


def test_an_absent_value_is_unknown() -> None:
    (line,) = step_lines([{"t0": 5, "t1": 95}])
    assert (line.index, line.cpu, line.runq, line.input, line.blocked) == (0, -1, -1, -1, -1)
    assert math.isnan(line.samples)
    assert (line.profiled, line.perturbed) == (True, False)


def test_run_queue_wait_outside_waits_is_known_only_where_the_share_inside_is() -> None:
    lines = [
        {"i": 0, "t0": 0, "t1": 9, "runq": 5},
        {"i": 1, "t0": 10, "t1": 19, "runq": 5, "wait": 3},
        {"i": 2, "t0": 20, "t1": 29, "runq": 5, "runq_wait": 6},
    ]
    assert [line.runq for line in step_lines(lines)] == [5, -1, 0]


def test_steps_come_in_order_of_time_and_nonsense_is_left_out() -> None:
    lines = [{"i": 2, "t0": 50, "t1": 60}, {"i": 1, "t0": 10, "t1": 20}, {"i": 3, "t0": 90, "t1": 80}, {"i": 4}]
    assert [line.index for line in step_lines(lines)] == [1, 2]


def test_waits_are_a_set_in_unix_time() -> None:
    found = wait_spans(
        [{"t": 50, "d": 10, "what": "x", "i": 0}, {"t": 10, "d": 20}, {"t": 25, "d": 10}, {"d": 5}], 1000
    )
    assert list(zip(found.start.tolist(), found.end.tolist(), strict=True)) == [(1010, 1035), (1050, 1060)]
    assert len(wait_spans([], 0).start) == 0


def test_a_counter_that_a_sample_lacks_is_nan() -> None:
    found = sample_columns([{"t": 1, "rss_bytes": 5}, {"t": 2, "gpu_power_w": 3.5, "x": None}, {"no": 1}], 100)
    assert found.time_ns.tolist() == [101, 102]
    assert sorted(found.values) == ["gpu_power_w", "rss_bytes"]
    assert found.values["rss_bytes"][0] == 5
    assert math.isnan(found.values["rss_bytes"][1])


def test_flight_recorder_entries_are_collectives() -> None:
    entry = {
        "profiling_name": "gloo:all_gather", "input_sizes": [[8, 2]], "output_sizes": [[2, 8, 2]], "input_dtypes": ["Float"],
        "process_group": ["3", "mesh_tp"], "collective_seq_id": 7, "p2p_seq_id": 0, "is_p2p": False, "time_created_ns": 500, "record_id": 4,
    }  # fmt: skip
    late = {
        **entry,
        "record_id": 3,
        "time_created_ns": 400,
        "profiling_name": "gloo:barrier",
        "input_sizes": [],
        "input_dtypes": [],
    }
    found = issued_by_recorder([entry, entry, late, {"profiling_name": "no time"}])
    assert [(one.time_ns, one.op, one.in_elements, one.out_elements) for one in found] == [
        (400, "barrier", 0, 32),
        (500, "all_gather", 16, 32),
    ]
    assert (found[1].dtype, found[1].group, found[1].seq) == ("Float", "3", 7)
