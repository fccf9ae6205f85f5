"""The on-disk contract: names, records, and what a damaged record costs."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from scaleprof.clock import ClockAnchor, ClockOffset, HostClock
from scaleprof.errors import BrokenFile
from scaleprof.run import (
    Emulated,
    ProcessGroup,
    RankFiles,
    RankInfo,
    RunInfo,
    cache_folder,
    rank_folder_name,
    rank_of_folder,
    read_rank_info,
    read_run_info,
    trace_file_name,
    window_of_trace_file,
    write_json,
)

FULL = RankInfo(
    rank=3,
    world_size=8,
    host="node-a",
    pid=42,
    level="timeline",
    local_batch=32,
    process_groups=(ProcessGroup("0", (0, 1, 2), "default_pg", "gloo"),),
    anchors=(ClockAnchor(1, 2, 3), ClockAnchor(4, 5, 6)),
    clock=HostClock("abc", "def", (ClockOffset(1, 2, -3, 4, rounds=50),)),
    details={"buckets": [1, 2]},
    warnings=("a", "b"),
    overhead={"export_ms": 1.5},
    finished=False,
    emulated=Emulated(compute_ms_per_step=96.0),
)


def test_names_on_disk_go_both_ways() -> None:
    assert rank_folder_name(3) == "rank-00003"
    assert rank_of_folder("rank-00003") == 3
    assert rank_of_folder("rank-123456") == 123456
    assert [rank_of_folder(name) for name in ("rank-3", "rank00003", "rank-00003x", "x")] == [None] * 4
    assert trace_file_name(5, 7, "timeline") == "trace-000005-000007.timeline.json.gz"
    assert window_of_trace_file("trace-000005-000007.timeline.json.gz") == (5, 7, "timeline")
    assert window_of_trace_file("trace-000005-000007.full.json") == (5, 7, "full")
    assert window_of_trace_file("trace-5.json.gz") is None


def test_a_rank_record_survives_the_disk(tmp_path: Path) -> None:
    write_json(FULL, tmp_path / "rank.json")
    assert read_rank_info(tmp_path / "rank.json") == FULL
    assert [path.name for path in tmp_path.iterdir()] == ["rank.json"], "no temporary file is left"


def test_a_run_record_survives_the_disk(tmp_path: Path) -> None:
    info = RunInfo("job", 4, series="weak", tags={"a": "b"}, mesh={"dp": 2, "tp": 2}, emulated=Emulated())
    write_json(info, tmp_path / "run.json")
    assert read_run_info(tmp_path / "run.json") == info


def test_absent_values_are_left_out_of_the_file(tmp_path: Path) -> None:
    write_json(RunInfo("job", 4), tmp_path / "run.json")
    assert "strategy" not in json.loads((tmp_path / "run.json").read_text())


def test_keys_of_newer_versions_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"name": "job", "world_size": 2, "colour": "red"}')
    assert read_run_info(tmp_path / "run.json") == RunInfo("job", 2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "is missing"),
        ("", "is not readable JSON"),
        ('{"rank": 0, "wor', "is not readable JSON"),
        ("[1]", "holds no JSON object"),
        ('{"rank": 0}', "does not hold what a RankInfo needs"),
        ('{"rank": 0, "world_size": 0}', "world_size 0"),
        ('{"rank": 0, "world_size": "2"}', "says world_size '2', which is no int"),
        ('{"rank": 0, "world_size": true}', "says world_size True, which is no int"),
        ('{"rank": "0", "world_size": 1}', "says rank '0', which is no int"),
        ('{"rank": 0, "world_size": 1, "local_batch": "8"}', "says local_batch '8', which is no float"),
        ('{"rank": 0, "world_size": 1, "strategy": 3}', "says strategy 3, which is no str"),
        ('{"rank": 0, "world_size": 1, "level": "loud"}', "says level 'loud'"),
        ('{"rank": 0, "world_size": 1, "overhead": {"a": "b"}}', "says overhead"),
        ('{"rank": 0, "world_size": 1, "process_groups": [{"name": "0"}]}', "does not hold what"),
        ('{"rank": 0, "world_size": 1, "process_groups": null}', "does not hold what"),
        ('{"rank": 0, "world_size": 1, "anchors": [[1, 2, 3]]}', "does not hold what"),
        ('{"rank": 0, "world_size": 1, "clock": [1]}', "does not hold what"),
        ('{"rank": 0, "world_size": 1, "clock": {"id": 3}}', "says clock"),
        ('{"rank": 0, "world_size": 1, "clock": {"id": "a", "offsets": [1]}}', "does not hold what"),
        (
            '{"rank": 0, "world_size": 1, "clock": {"id": "a", "offsets": '
            '[{"mono_ns": 1, "unix_ns": 2, "offset_ns": "x", "bound_ns": 3}]}}',
            "says clock",
        ),
        (
            '{"rank": 0, "world_size": 1, "clock": {"id": "a", "offsets": '
            '[{"mono_ns": 1, "unix_ns": 2, "offset_ns": 1, "bound_ns": -3}]}}',
            "says clock",
        ),
        (
            '{"rank": 0, "world_size": 1, "anchors": [{"real_before_ns": 1e999, "mono_ns": 1, "real_after_ns": 2}]}',
            "says anchors",
        ),
        ('{"rank": 0, "world_size": 99999999999}', "whole number from 1 to 1,048,576"),
    ],
)
def test_a_damaged_record_says_what_is_wrong(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "rank.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BrokenFile, match=reason) as caught:
        read_rank_info(path)
    assert str(path) in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.reason) == (str(caught.value), caught.value.reason)


@pytest.mark.parametrize(
    "field", [{"local_batch": 8}, {"flops_per_step": 1e12}, {"parameters": 7}, {"details": {"x": [1]}}]
)
def test_whole_numbers_serve_where_real_ones_are_asked_for(tmp_path: Path, field: dict[str, Any]) -> None:
    (tmp_path / "rank.json").write_text(json.dumps({"rank": 0, "world_size": 1, **field}))
    read_rank_info(tmp_path / "rank.json")


def test_the_size_of_a_rank_counts_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"12345")
    (tmp_path / "b.json").write_bytes(b"123")
    assert RankFiles(0, "kineto", (tmp_path / "a.json",)).size_bytes == 5
    assert RankFiles(0, "recorded", (tmp_path / "a.json",), tmp_path).size_bytes == 8


def test_the_environment_says_where_things_are_kept() -> None:
    assert cache_folder({"SCALEPROF_CACHE": "0"}) is None
    assert cache_folder({"SCALEPROF_CACHE": "/a/b"}) == Path("/a/b")
    assert cache_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/scaleprof")
    assert cache_folder({}) == Path("~/.cache/scaleprof").expanduser()
