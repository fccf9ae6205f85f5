"""What the arguments of an event say about a collective."""

from typing import Any

import msgspec
import pytest

from scaleprof.readers.base import CommNote
from scaleprof.readers.schema import ONE, Complete, Meta, note_of, text_of, whole
from tests.readers.making import c10d_allreduce, complete, gloo, kernel, thread_name


def note(event: dict[str, Any]) -> CommNote:
    decoded = ONE.decode(msgspec.json.encode(event))
    assert type(decoded) is Complete
    assert decoded.args is not None
    return note_of(decoded.name, decoded.args)


def test_a_kernel_says_what_it_communicates() -> None:
    found = note(kernel("k", 1, 1, 5, op="_allgather_base", n_in=10, n_out=20, dtype="BFloat16", group="3", seq=7))
    assert found == CommNote("_allgather_base", 10, 20, "BFloat16", "3", seq=7)


def test_a_send_goes_to_its_target_and_a_receive_comes_from_its_source() -> None:
    assert note(kernel("k", 1, 1, 5, op="send", n_in=10, dst=3, src=1)).peer == 3
    assert note(kernel("k", 1, 1, 5, op="recv", n_in=10, dst=1, src=2)).peer == 2


@pytest.mark.parametrize(
    ("name", "dims", "types", "values", "expected"),
    [
        ("gloo:all_reduce", [[3, 4]], ["float"], [""], CommNote("gloo:all_reduce", 12, -1, "float")),
        ("gloo:all_reduce", [[]], ["float"], [""], CommNote("gloo:all_reduce", 1, -1, "float")),
        ("gloo:scatter", [[8], [8]], ["float", "float"], [], CommNote("gloo:scatter", 16, -1, "float")),
        ("c10d::allreduce_", [[[5], [7]], []], ["TensorList", ""], [], CommNote("c10d::allreduce_", 12)),
        ("c10d::allreduce_", [[[]], []], ["TensorList", ""], [], CommNote("c10d::allreduce_", 1)),
        ("c10d::_allgather_base_", [[16], [8], []], ["float", "float", ""], [], CommNote("c10d::_allgather_base_", 8, 16, "float")),
        ("c10d::allgather_", [[], [[8]], []], ["", "TensorList", ""], [], CommNote("c10d::allgather_", 8)),
        ("c10d::send", [[[8]], [], [], []], ["TensorList", "", "Scalar", "Scalar"], ["", "", "1", "0"], CommNote("c10d::send", 8, peer=1)),
        ("gloo:barrier", None, None, None, CommNote("gloo:barrier")),
        ("gloo:all_reduce", "2;3", "float", None, CommNote("gloo:all_reduce")),
    ],
)  # fmt: skip
def test_shapes_say_how_much(name: str, dims: Any, types: Any, values: Any, expected: CommNote) -> None:
    assert note(complete(name, "cpu_op", 1, 1, dims=dims, types=types, values=values)) == expected


def test_made_events_are_like_torchs() -> None:
    assert note(gloo("all_reduce", 1, 1, 100)) == CommNote("gloo:all_reduce", 100, -1, "float")
    assert note(c10d_allreduce(1, 100)) == CommNote("c10d::allreduce_", 100)


def test_a_thread_has_a_name() -> None:
    meta = ONE.decode(msgspec.json.encode(thread_name(5, 'thread "5"')))
    assert type(meta) is Meta
    assert meta.args is not None
    assert text_of(meta.args.name) == 'thread "5"'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, 7),
        ("7", 7),
        (7.9, 7),
        (None, -1),
        ("0x0", -1),
        ([1], -1),
        (2**63, -1),
        (float("nan"), -1),
        (float("inf"), -1),
    ],
)
def test_what_stands_where_a_number_should(value: Any, expected: int) -> None:
    assert whole(value) == expected


@pytest.mark.parametrize("depth", [20, 300, 600, 900])
def test_shapes_that_nest_without_end_are_no_tensors(depth: int) -> None:
    event = gloo("all_reduce", 1, 1, 8)
    event["args"]["Input Dims"] = "deep"
    text = msgspec.json.encode(event).replace(b'"deep"', b"[" * depth + b"]" * depth)
    decoded = ONE.decode(text)
    assert note_of(decoded.name, decoded.args).in_elements == 0
