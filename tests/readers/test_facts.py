"""What a file says about itself, from its head and tail."""

import json
from pathlib import Path
from typing import Any

import pytest

from scaleprof.errors import BrokenFile
from scaleprof.readers.kineto import facts as facts_module
from scaleprof.readers.kineto.facts import facts_of, rank_in_name
from scaleprof.run import ProcessGroup
from tests.readers.making import complete, write_bytes, write_trace

EVENTS = [complete(f"op {number}", "cpu_op", 100 + number, 5) for number in range(400)]
INFO = {
    "backend": "nccl", "rank": 3, "world_size": 8, "pg_count": 3,
    "pg_config": [
        {"pg_name": "0", "pg_desc": "default_pg", "backend_config": "cuda:nccl", "pg_size": 8, "ranks": [0, 1, 2, 3, 4, 5, 6, 7]},
        {"pg_name": "1", "pg_desc": "tp", "pg_size": 2, "ranks": "[2, 3]"},
        {"pg_name": "1", "pg_desc": "tp", "pg_size": 2, "ranks": "[2, 3]"},
        "nonsense",
    ],
}  # fmt: skip


@pytest.fixture(params=["small parts", "whole files"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Head and tail much smaller than the file, and larger."""
    if request.param == "small parts":
        monkeypatch.setattr(facts_module, "_HEAD_BYTES", 2_500)
        monkeypatch.setattr(facts_module, "_TAIL_BYTES", 2_500)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
@pytest.mark.parametrize("last", [False, True])
def test_metadata_is_found_before_and_after_the_events(tmp_path: Path, name: str, last: bool) -> None:
    metadata: dict[str, Any] = {
        "distributedInfo": INFO,
        "deviceProperties": [{"id": 0, "name": "H100"}],
        "host_name": "node-a",
    }
    content = {"traceEvents": EVENTS, **metadata} if last else {**metadata, "traceEvents": EVENTS}
    facts = facts_of(write_bytes(tmp_path / name, json.dumps({"schemaVersion": 1, **content}).encode()))
    assert facts is not None
    assert (facts.rank, facts.world_size, facts.host, facts.pid, facts.backend) == (3, 8, "node-a", 100, "nccl")
    assert (facts.device, facts.device_name) == ("cuda", "H100")
    assert facts.process_groups == (
        ProcessGroup("0", tuple(range(8)), "default_pg", "cuda:nccl"),
        ProcessGroup("1", (2, 3), "tp"),
    )
    assert facts.whole_span_us() == (100, 499)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (None, (None, None, None)),
        ({}, (None, None, None)),
        ({"rank": 2}, (2, None, None)),
        ({"rank": "2", "world_size": "4"}, (2, 4, None)),
        ({"backend": "nccl"}, (None, None, "nccl")),
        ({"rank": -1, "world_size": 0}, (None, None, None)),
        ({"rank": "?", "backend": "gloo"}, (None, None, "gloo")),
        ([1], (None, None, None)),
    ],
)
def test_every_form_of_distributed_info(tmp_path: Path, info: Any, expected: tuple[Any, ...]) -> None:
    facts = facts_of(write_trace(tmp_path / "t.json", EVENTS, distributedInfo=info))
    assert facts is not None
    assert (facts.rank, facts.world_size, facts.backend) == expected


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("rank0.json", 0),
        ("rank-34.Jul_15_10_52_41.1074.pt.trace.json.gz", 34),
        ("rank0_trace.json", 0),
        ("graph_capture_rank_7.123456.pt.trace.json.gz", 7),
        ("worker3_step_12.1694128201557.pt.trace.json.gz", 3),
        ("bert__1016001.json.gz", None),
        ("rank-unavailable.json", None),
        ("crank5.json", None),
    ],
)
def test_a_name_may_hold_the_rank(name: str, rank: int | None) -> None:
    assert rank_in_name(Path(name)) == rank


def test_a_name_that_only_looks_like_torchs_names_no_host(tmp_path: Path) -> None:
    path = write_trace(
        tmp_path / "worker3_step_12.1694128201557.pt.trace.json", [complete("a", "cpu_op", 1, 1)], schemaVersion=1
    )
    facts = facts_of(path)
    assert facts is not None
    assert (facts.host, facts.rank) == (None, 3)


def test_torchs_own_file_names_hold_host_and_process(tmp_path: Path) -> None:
    path = write_trace(
        tmp_path / "node-b_4711.1694128201557.pt.trace.json", [{"ph": "M", "name": "x"}], schemaVersion=1
    )
    facts = facts_of(path)
    assert facts is not None
    assert (facts.host, facts.pid, facts.rank) == ("node-b", 4711, None)


def test_a_bare_array_of_torchs_events_is_recognised(tmp_path: Path) -> None:
    assert facts_of(write_bytes(tmp_path / "rank2.json", json.dumps(EVENTS).encode())) is not None
    assert facts_of(write_bytes(tmp_path / "numbers.json", b"[1, 2]")) is None
    assert facts_of(write_bytes(tmp_path / "report.json", b'{"format": "x"}')) is None


@pytest.mark.parametrize("content", [b"", b"  ", b"hello", b'{"a": '])
def test_what_nothing_can_read_is_broken(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BrokenFile):
        facts_of(write_bytes(tmp_path / "t.json", content))


def test_a_zip_archive_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match=r"t\.zip: is a zip archive: call it \.zip and it is unpacked$"):
        facts_of(write_bytes(tmp_path / "t.zip", b"PK\x03\x04\x14\x00"))


def test_a_computed_trace_says_so(tmp_path: Path) -> None:
    def said(name: str, **metadata: object) -> bool:
        facts = facts_of(write_trace(tmp_path / name, [{"ph": "M", "name": "x"}], schemaVersion=1, **metadata))
        assert facts is not None
        return facts.synthetic

    assert said("computed.json", scaleprof_synthetic=True)
    assert not said("recorded.json")
    assert not said("odd.json", scaleprof_synthetic="maybe")
    mark = {"ph": "M", "name": "scaleprof_synthetic", "args": {}}
    bare = facts_of(write_bytes(tmp_path / "bare.json", json.dumps([mark, *EVENTS]).encode()))
    assert bare is not None and bare.synthetic


def test_numbers_that_no_machine_has_are_not_believed(tmp_path: Path) -> None:
    text = json.dumps({"schemaVersion": 1, "traceEvents": [complete("a", "cpu_op", 1, 1, pid="PID")]})
    facts = facts_of(write_bytes(tmp_path / "t.json", text.replace('"PID"', "9" * 5000).encode()))
    assert facts is not None
    assert facts.pid is None
    assert rank_in_name(Path("rank-" + "9" * 30 + ".json")) is None
