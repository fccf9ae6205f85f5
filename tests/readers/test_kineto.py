"""Kineto files to columns: row by row what the file says, in little memory."""

import gzip
import json
import subprocess
import sys
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof.errors import BrokenFile
from scaleprof.readers.kineto.kineto import no_columns, read_columns, read_rows
from tests.readers.making import BASE_NS, MAIN, complete, kernel, launch, thread_name, write_bytes, write_trace


def test_rows_keep_the_order_of_the_file_and_whole_ns(tmp_path: Path) -> None:
    events = [complete("b", "cpu_op", 20.5, 1.25), complete("a", "cpu_op", 10.001, 0), {"ph": "i", "name": "x"}]
    columns = read_rows([write_trace(tmp_path / "t.json", events, baseTimeNanoseconds=BASE_NS)])
    assert (columns.start_ns - BASE_NS).tolist() == [20_500, 10_001]
    assert columns.dur_ns.tolist() == [1_250, 0]
    assert [columns.names[name] for name in columns.name] == [("cpu_op", "b"), ("cpu_op", "a")]
    assert not columns.caveats


def test_base_time_may_follow_the_events(tmp_path: Path) -> None:
    text = json.dumps({"traceEvents": [complete("a", "cpu_op", 1.5, 1)], "baseTimeNanoseconds": BASE_NS})
    assert read_columns([write_bytes(tmp_path / "t.json", text.encode())]).start_ns.tolist() == [BASE_NS + 1_500]


def test_times_as_strings_and_with_nineteen_digits_are_exact(tmp_path: Path) -> None:
    text = '[{"ph":"X","name":"a","cat":"cpu_op","ts":"1736408883731508.790","dur":"2.5"},' + (
        '{"ph":"X","name":"b","cat":"cpu_op","ts":1712195495519689.047,"dur":1}]'
    )
    columns = read_rows([write_bytes(tmp_path / "t.json", text.encode())])
    assert columns.start_ns.tolist() == [1_736_408_883_731_508_790, 1_712_195_495_519_689_047]
    assert columns.dur_ns.tolist() == [2_500, 1_000]


def test_odd_durations_are_counted(tmp_path: Path) -> None:
    missing = complete("a", "cpu_op", 1, 1)
    del missing["dur"]
    events = [missing, complete("b", "cpu_op", 2, -5), complete("c", "cpu_op", 3, None)]
    columns = read_columns([write_trace(tmp_path / "t.json", events)])
    assert columns.dur_ns.tolist() == [0, 0, 0]
    assert columns.extra == {"events_without_duration": 2, "negative_durations": 1}


def test_an_event_without_a_time_is_lost_and_counted(tmp_path: Path) -> None:
    events = [complete("a", "cpu_op", 1, 1), complete("b", "cpu_op", "soon", 1), complete("c", "cpu_op", 3, 1)]
    columns = read_columns([write_trace(tmp_path / "t.json", events)])
    assert columns.start_ns.tolist() == [1_000, 3_000]
    assert columns.extra == {"events_lost": 1}
    assert columns.caveats == ("t.json: events lost: 1 of 3, the first at byte 103: they could not be decoded",)


def test_host_and_device_with_the_same_numbers_are_different_lanes(tmp_path: Path) -> None:
    events = [
        complete("op", "cpu_op", 1, 1, pid=0, tid=7),
        kernel("k", 2, 1, 5),
        complete("op", "cpu_op", 3, 1, pid="0", tid="7"),
    ]
    columns = read_columns([write_trace(tmp_path / "t.json", [*events, thread_name(MAIN, "main")])])
    assert [lane.on_device for lane in columns.lanes] == [False, True, False]
    assert columns.lane.tolist() == [0, 1, 2]


def test_numbers_may_be_strings_floats_or_null(tmp_path: Path) -> None:
    events = [
        kernel("k", 1, 1, 5),
        complete("k", "kernel", 2, 1, pid=0, tid="stream 16", correlation="6", stream="0x0", dtype=["odd"]),
        complete("k", "kernel", 3, 1, pid=0, tid=7, correlation=7.0),
        complete("k", "kernel", 4, 1, pid=0, tid=7, correlation=None),
        complete("k", "kernel", 5, 1, pid=0, tid=7, correlation=2**63 + 5),
    ]
    columns = read_columns([write_trace(tmp_path / "t.json", events)])
    assert columns.correlation.tolist() == [5, 6, 7, -1, -1]


def test_only_calls_and_device_activities_carry_a_correlation(tmp_path: Path) -> None:
    events = [complete("op", "cpu_op", 1, 1, correlation=5), launch(2, 5), kernel("k", 3, 1, 5)]
    assert read_columns([write_trace(tmp_path / "t.json", events)]).correlation.tolist() == [-1, 5, 5]


def test_a_cut_off_file_keeps_what_it_has_and_says_so(tmp_path: Path) -> None:
    text = json.dumps({"traceEvents": [complete(f"a{number}", "cpu_op", number, 1) for number in range(100)]})
    path = write_bytes(tmp_path / "rank0.json", text[: text.index('"a40"')].encode())
    columns = read_columns([path])
    assert len(columns.start_ns) == 40
    assert columns.cut_off == {0}
    assert "rank0.json is cut off after 40 events, at byte" in columns.caveats[0]


def test_metadata_is_mended_or_said_to_be_missing(tmp_path: Path) -> None:
    event = json.dumps(complete("a", "cpu_op", 1, 1))
    mended = write_bytes(
        tmp_path / "a.json", f'{{"x": nan, "traceEvents": [{event}], "y": "C:\\dir", "z": 1}}'.encode()
    )
    columns = read_columns([mended])
    assert columns.metadata == {"x": None, "y": "C:\\dir", "z": 1}
    assert not columns.caveats
    cut_off = write_bytes(tmp_path / "b.json", f'{{"x": 1, "traceEvents": [{event}], "baseTimeNano'.encode())
    columns = read_columns([cut_off])
    assert columns.metadata == {"x": 1}
    assert columns.caveats == (
        "b.json: what stands beside its events (rank, process groups, base time) is not readable",
    )


def test_a_file_cut_off_before_its_first_event_is_broken(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "rank0.json", b'{"traceEvents": [{"ph": "X", "na')
    with pytest.raises(BrokenFile, match=r"rank0\.json: is cut off at byte 17, before any complete event"):
        read_columns([path])


def test_of_several_files_a_broken_one_costs_itself(tmp_path: Path) -> None:
    good = write_trace(tmp_path / "b.json", [complete("a", "cpu_op", 1, 1)], baseTimeNanoseconds=1_000)
    broken = write_bytes(tmp_path / "a.json", b"")
    columns = read_columns([broken, good])
    assert columns.start_ns.tolist() == [2_000]
    assert columns.unread == {0}
    assert columns.caveats == ("a.json was left out: it is empty",)
    with pytest.raises(BrokenFile, match="is empty"):
        read_columns([broken, broken])


def test_no_columns_are_columns() -> None:
    assert len(no_columns().start_ns) == 0


NATIVE = '  {{\n    "ph": "X", "cat": "kernel", "name": "void at::native::elementwise_{kind}<float>(int, float)", "pid": 0, "tid": 7,\n'
NATIVE += '    "ts": {ts}.125, "dur": 1.5,\n    "args": {{\n      "External id": 7, "device": 0, "stream": 7, "correlation": {id}, '
NATIVE += '"registers per thread": 16, "shared memory": 0, "grid": [8, 1, 1], "block": [128, 1, 1]\n    }}\n  }}'


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.json.gz"
    rows = 0
    size = 0
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'{\n  "schemaVersion": 1,\n  "traceEvents": [\n')
        while size < 120_000_000:
            block = ",\n".join(
                NATIVE.format(kind=row % 40, ts=1_000 + 2 * row, id=row) for row in range(rows, rows + 5_000)
            )
            size += file.write((",\n" if rows else "").encode() + block.encode())
            rows += 5_000
        file.write(b"\n  ]\n}\n")
    code = (
        "import resource, sys; from pathlib import Path; from scaleprof.readers.kineto.kineto import read_columns; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; columns = read_columns([Path(sys.argv[1])]); "
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "print(len(columns.start_ns), int(columns.start_ns[-1]), before, after)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    found, last_ns, before_kb, after_kb = map(int, done.stdout.split())
    assert found == rows
    assert last_ns == (1_000 + 2 * (rows - 1)) * 1_000 + 125
    assert (after_kb - before_kb) / 1024 < 25 + 80 * rows / 1e6, "a row takes 44 bytes, twice while parts are joined"


FOREIGN = (
    "kineto/dlrm-8xv100/*.json.gz",
    "kineto/edge/*.json*",
    "kineto/sync/*.json.gz",
    "kineto/sampled-2-of-128/*.json.gz",
    "kineto/vendor-pairs/*/*.json.gz",
    "torch_gloo/strategies/*/rank0.plain.json.gz",
    "torch_gloo/emulated/veth_200mbit/strong_n2/*/trace_*.json.gz",
)


@pytest.mark.parametrize("pattern", FOREIGN)
def test_every_foreign_file_reads_row_by_row_as_plain_json_does(foreign_traces: Path, pattern: str) -> None:
    paths = sorted(foreign_traces.glob(pattern))
    assert paths
    for path in paths:
        data = path.read_bytes()
        text = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        content = json.loads(text, parse_float=Decimal, parse_int=Decimal)
        base = int(content.get("baseTimeNanoseconds", 0))
        expected = [event for event in content["traceEvents"] if event["ph"] == "X"]
        columns = read_rows([path])
        assert columns.start_ns.tolist() == [_ns(event["ts"]) + base for event in expected], path.name
        assert columns.dur_ns.tolist() == [_ns(event.get("dur", 0)) for event in expected], path.name
        assert [columns.names[name][1] for name in columns.name.tolist()] == [event["name"] for event in expected]
        assert [columns.names[name][0] for name in columns.name.tolist()] == [event["cat"] for event in expected]
        lanes = [columns.lanes[lane] for lane in columns.lane.tolist()]
        assert [(lane.pid, lane.tid) for lane in lanes] == [(event["pid"], event["tid"]) for event in expected]
        linked = np.array(
            ["runtime" in event["cat"] or "driver" in event["cat"] or event["cat"] in DEVICE for event in expected]
        )
        correlations = [_correlation(event) if keep else -1 for event, keep in zip(expected, linked, strict=True)]
        assert columns.correlation.tolist() == correlations, path.name
        assert not columns.caveats
        assert columns.metadata == json.loads(
            json.dumps({k: v for k, v in json.loads(text).items() if k != "traceEvents"})
        )


DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")


def _ns(us: Any) -> int:
    return max(int((Decimal(us) * 1000).to_integral_value(ROUND_HALF_UP)), 0)


def _correlation(event: dict[str, Any]) -> int:
    return int(event.get("args", {}).get("correlation", -1))
