"""The scan of a block: what it reads, what it hands out to be decoded, and which blocks it leaves alone."""

from collections.abc import Callable

import numpy as np
import pytest

from scaleprof.readers.json_text.fragments import UNREADABLE, Fragments
from scaleprof.readers.json_text.scan import Block, Scanned, Scanner
from scaleprof.readers.json_text.swar import MARGIN, Buffer

OP = (
    '{"ph": "X", "cat": "cpu_op", "name": "op", "pid": 1, "tid": 2, "ts": 10.125, "dur": 2, "args": {"External id": 7}}'
)
KERNEL = '{"ph": "X", "cat": "kernel", "name": "k", "pid": 0, "tid": 7, "ts": 20, "dur": 1.5, "args": {"correlation": 9, "bytes": 64}}'
NAMED = '{"name": "thread_name", "ph": "M", "ts": 0, "pid": 1, "tid": 2, "args": {"name": "main"}}'


def block_of(text: bytes) -> Block:
    buffer = Buffer.of_size(len(text))
    buffer.letters[:] = ord(" ")
    buffer.letters[MARGIN : MARGIN + len(text)] = np.frombuffer(text, dtype=np.uint8)
    return Block(buffer, MARGIN, MARGIN + len(text), at=1000)


def scan(*events: str, between: str = ",\n", learn: Callable[[bytes], int] | None = None) -> Scanned | None:
    pieces: list[bytes] = []

    def number(text: bytes) -> int:
        pieces.append(text)
        return len(pieces) - 1

    return Scanner(Fragments(learn or number)).scan(block_of(between.join(events).encode()))


def test_columns_are_what_the_text_says() -> None:
    pieces: list[bytes] = []

    def learn(text: bytes) -> int:
        pieces.append(text)
        return len(pieces) - 1

    found = scan(OP, NAMED, KERNEL, OP, learn=learn)
    assert found is not None
    assert found.start_ns.tolist() == [10_125, 20_000, 10_125]
    assert found.dur_ns.tolist() == [2_000, 1_500, 2_000]
    assert found.fragment.tolist() == [0, 1, 0]
    assert pieces == [
        b' "X", "cat": "cpu_op", "name": "op", "pid": 1, "tid": 2'.lstrip(),
        b'"X", "cat": "kernel", "name": "k", "pid": 0, "tid": 7',
    ]
    assert found.correlation.tolist() == [-1, 9, -1]
    assert [part.tolist() for part in found.copied] == [[1], [64]]
    assert found.odd.tolist() == []
    assert len(found.metas) == 1
    assert found.metas[0].startswith(NAMED.encode())
    assert found.text_of(2).decode() == OP
    assert found.place_of(2) == 1000 + len(OP + NAMED + KERNEL) + 6


@pytest.mark.parametrize(
    "odd",
    [
        OP.replace("10.125", '"10.125"'),
        OP.replace("10.125", "-10.125"),
        OP.replace("10.125", "1e3"),
        OP.replace("10.125", "12345678901234567"),
        OP.replace('"dur": 2', '"dur": null'),
        OP.replace('"dur": 2, ', ""),
        OP.replace('"External id"', '"correlation": nan, "x"'),
        KERNEL.replace("9", '"9"'),
        '{"ph": "X", "ts": 10.125, "cat": "cpu_op", "name": "op", "pid": 1, "tid": 2, "dur": 2}',
    ],
)
def test_events_that_differ_are_handed_out(odd: str) -> None:
    found = scan(*[OP] * 20, odd, *[OP] * 20)
    assert found is not None
    assert found.odd.tolist() == [20]
    assert found.text_of(20).decode().startswith(odd)


def test_what_cannot_be_understood_once_is_handed_out_each_time() -> None:
    found = scan(KERNEL, OP, OP, learn=lambda text: UNREADABLE if b"cpu_op" in text else 0)
    assert found is not None
    assert found.odd.tolist() == [1, 2]


INNER = '{"ph": "X", "name": "inner", "ts": 1, "dur": 1}'


@pytest.mark.parametrize(
    "strange",
    [
        OP.replace("7}", '7, "event": ' + INNER + "}"),
        OP.replace("7}", '7, "events": [' + INNER + "]}"),
        OP.replace("7}", '7, "x": 1, "ph": "X"}'),
        OP.replace("7}", '7, "ph": 5}'),
        OP.replace(": ", ":").replace(", ", ","),
        OP + ', {"name": "no phase", "ts": 5, "dur": 5}',
        OP.replace("op", "o\0p"),
        '{"cat": "cpu_op", "ph": "X", "name": "op", "pid": 1, "tid": 2, "ts": 10.125, "dur": 2}',
    ],
)
def test_a_block_whose_events_might_be_mistaken_is_left_to_the_decoder(strange: str) -> None:
    assert scan(*[OP] * 300, strange, *[OP] * 300) is None


def test_a_block_without_an_event_is_left_to_the_decoder() -> None:
    assert scan('{"name": "x"}') is None
    assert scan(" ") is None


def test_many_odd_events_are_left_to_the_decoder() -> None:
    assert scan(*[OP, OP.replace("10.125", '"1"')] * 50) is None


def test_a_block_of_other_phases_has_no_rows() -> None:
    found = scan('{"ph": "i", "name": "x", "ts": 1}', NAMED)
    assert found is not None
    assert (len(found.start_ns), len(found.metas)) == (0, 1)


@pytest.mark.parametrize("between", [",", ", ", ",\n  ", "\n,\n", " \r\n,\r\n\t"])
def test_whatever_stands_between_events(between: str) -> None:
    found = scan(OP, KERNEL, OP, between=between)
    assert found is not None
    assert found.start_ns.tolist() == [10_125, 20_000, 10_125]


def test_a_few_events_may_be_set_apart_otherwise() -> None:
    found = scan(*[OP] * 30, OP + ",\n\n\n" + OP, *[OP] * 30)
    assert found is not None
    assert len(found.start_ns) == 62
