"""XPlane files that nobody should have written: every answer is a sentence or a Trace, in bounded time."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaleprof.errors import BrokenFile, InputError
from scaleprof.readers import find_runs, read_rank
from scaleprof.readers.xplane.schema import messages
from scaleprof.readers.xplane.space import read_space
from scaleprof.readers.xplane.wire import Damaged, fields
from scaleprof.run import RankFiles
from tests.readers.making_xplanes import (
    Plane,
    collective,
    environment,
    group_of,
    hlo,
    op,
    part,
    program,
    space,
    step,
    varint,
)

WHOLE = space(
    Plane(
        "/host:metadata", {"jax_version": b"1"}, {"jit(1)": program({"name": b"all-reduce.1", "opcode": b"all-reduce"})}
    ),
    Plane("/host:CPU")
    .line("python", [step(0, 0, 50), step(1, 60, 50)])
    .line("tf_Compute/1", [op("matmul:MatMul", 5, 10), hlo("all-reduce.1", 20, 5)])
    .line("collective_ops/1", [group_of(2), *collective(3, 30, 10, chunk=4096)]),
    Plane("/device:GPU:0").line("Stream #1(Compute)", [("gemm", 1, 2, {"correlation_id": 4})]),
)


def outcome(path: Path) -> str:
    """What becomes of a file: "read", or the sentence."""
    try:
        [run] = find_runs([path])
        for files in run.ranks.values():
            read_rank(files)
    except InputError as error:
        return str(error)
    return "read"


def test_a_file_cut_off_at_any_byte_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "a.xplane.pb"
    whole_planes = set()
    for length in range(len(WHOLE)):
        path.write_bytes(WHOLE[:length])
        found = outcome(path)
        if found == "read":
            whole_planes.add(length)
        else:
            assert "a.xplane.pb: is" in found or "holds no event" in found, found
    # Only where a plane ends exactly nothing shows that more had been there.
    ends = {0}
    for one in fields(WHOLE, 0, len(WHOLE)):
        ends.add(one.end)
    assert whole_planes <= ends


@pytest.mark.parametrize("seed", range(300))
def test_changed_bytes_never_crash(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(WHOLE)
    for _ in range(chance.randrange(1, 12)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    path = tmp_path / "a.xplane.pb"
    path.write_bytes(bytes(data))
    assert outcome(path)


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_random_bytes_never_crash(data: bytes) -> None:
    place = 0
    try:
        for one in fields(data, 0, len(data)):
            place = one.end
    except Damaged as error:
        place = error.place
    assert 0 <= place <= len(data)


def test_fields_of_all_kinds_and_where_they_break() -> None:
    data = varint(1 << 3) + varint(300) + part(2, b"ab") + varint(3 << 3 | 1) + bytes(8) + varint(4 << 3 | 5) + bytes(4)
    assert [(one.number, data[one.start : one.end], one.is_bytes) for one in fields(data, 0, len(data))] == [
        (1, varint(300), False),
        (2, b"ab", True),
        (3, bytes(8), False),
        (4, bytes(4), False),
    ]
    for bad, cut_off in (
        (varint(2 << 3 | 2) + varint(9) + b"ab", True),
        (varint(1 << 3) + b"\xff" * 11, False),
        (varint(1 << 3 | 3), False),
        (varint(0), False),
        (b"\xff", True),
    ):
        with pytest.raises(Damaged) as caught:
            list(fields(bad, 0, len(bad)))
        assert caught.value.cut_off is cut_off


def test_evil_names_are_kept_as_text(tmp_path: Path) -> None:
    plane = Plane("/host:CPU").line(
        "tf_Compute/\x1b[31m", [op("<script>alert(1)</script>:Evil", 0, 5), op("x" * 100_000, 9, 1)]
    )
    entry = messages()["Entry"](key=77, value={"name": b"\xff\xfe\x00bad"}).SerializeToString()
    path = tmp_path / "a.xplane.pb"
    path.write_bytes(part(1, plane.bytes() + part(4, entry)) + part(1, environment().bytes()))
    trace = read_rank(RankFiles(0, "xplane", (path,)))
    assert trace.names.text[0] == "<script>alert(1)</script>:Evil"
    assert len(trace.names.text[1]) == 2000


def test_events_without_a_name_and_stats_of_every_kind(tmp_path: Path) -> None:
    line = messages()["Line"](id=1, name=b"tf_Compute/1")
    for value in (
        {"double_value": 1.5},
        {"uint64_value": 2**64 - 1},
        {"int64_value": -(2**63)},
        {"ref_value": 12345},
        {"str_value": b"\xff"},
        {},
    ):
        event = line.events.add(metadata_id=5, offset_ps=1000, duration_ps=1000)
        event.stats.add(metadata_id=1, **value)
        event.stats.add(metadata_id=99, int64_value=1)
    keys = messages()["Entry"](key=1, value={"name": b"step_num"}).SerializeToString()
    path = tmp_path / "a.xplane.pb"
    path.write_bytes(part(1, part(2, b"/host:CPU") + part(3, line.SerializeToString()) + part(5, keys)))
    trace = read_rank(RankFiles(0, "xplane", (path,)))
    assert trace.names.text == ("event 5, which has no name",)


def test_a_hundred_thousand_lines_and_planes_take_no_long_time(tmp_path: Path) -> None:
    path = tmp_path / "a.xplane.pb"
    path.write_bytes(part(1, part(2, b"/host:CPU") + part(3, b"") * 100_000) + part(1, b"") * 100_000)
    with pytest.raises(BrokenFile, match="holds no event"):
        read_rank(RankFiles(0, "xplane", (path,)))


def test_nested_shapes_end(tmp_path: Path) -> None:
    shape: dict[str, object] = {"element_type": 11, "dimensions": [2**62, 2**62]}
    for _ in range(60):
        shape = {"element_type": 13, "tuple_shapes": [shape]}
    one = {"name": b"all-reduce.1", "opcode": b"all-reduce", "id": 1, "operand_ids": [1, 1], "shape": shape}
    plane = Plane("/host:metadata", {}, {"jit(1)": program(one)})
    path = tmp_path / "a.xplane.pb"
    path.write_bytes(space(plane, Plane("/host:CPU").line("tf_XLA/1", [hlo("all-reduce.1", 0, 1)])))
    trace = read_rank(RankFiles(0, "xplane", (path,)))
    assert len(trace.comm.row) == 1


def test_a_file_of_another_kind_under_this_name_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "a.xplane.pb"
    for content in (b'{"traceEvents": []}', b"PK\x03\x04zip", b"version https://git-lfs.github.com/spec/v1\n"):
        path.write_bytes(content)
        with pytest.raises(BrokenFile, match="XPlane"):
            read_space(path)
