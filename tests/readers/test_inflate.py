"""Inflating: nothing before damage is lost, and a small file may not become a huge one."""

import gzip
import random
import zlib
from pathlib import Path

import pytest

from scaleprof.errors import BrokenFile
from scaleprof.readers.json_text import inflate
from scaleprof.readers.json_text.inflate import LIMIT_VARIABLE, Text, is_compressed, most_inflated
from scaleprof.readers.kineto.kineto import read_columns
from tests.readers.making import complete, write_bytes, write_trace

DICE = random.Random(7)
TEXT = b"".join(b"%d," % DICE.getrandbits(40) for _ in range(100_000))
"""1.2 MB that hardly shrink, so that places in the compressed data tell places in the text."""


def text_of(path: Path, most: int = 1 << 24) -> tuple[bytes, str]:
    """What can be read, and what is said to be wrong."""
    text, buffer = Text(path), bytearray(most)
    try:
        got = text.readinto(memoryview(buffer))
        return bytes(buffer[:got]), text.damage
    finally:
        text.close()


def write(path: Path, data: bytes) -> Path:
    return write_bytes(path, data, gz=False)


def test_plain_and_compressed_text_is_the_same(tmp_path: Path) -> None:
    plain, compressed = write(tmp_path / "a", TEXT), write(tmp_path / "b", gzip.compress(TEXT))
    assert text_of(plain) == text_of(compressed) == (TEXT, "")
    assert (is_compressed(plain), is_compressed(compressed)) == (False, True)


def test_cut_off_data_gives_all_that_it_holds(tmp_path: Path) -> None:
    data = gzip.compress(TEXT)
    cut = len(data) // 2
    whole = zlib.decompressobj(31).decompress(data[:cut])
    text, damage = text_of(write(tmp_path / "t.gz", data[:cut]))
    assert text == whole
    assert damage == "the compressed data ends before its end mark"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_damage_in_the_middle_keeps_all_before_it(tmp_path: Path, share: float) -> None:
    data = bytearray(gzip.compress(TEXT))
    at = int(len(data) * share)
    before = zlib.decompressobj(31).decompress(bytes(data[:at]))
    data[at : at + 64] = bytes(64)
    text, damage = text_of(write(tmp_path / "t.gz", bytes(data)))
    assert text.startswith(before)
    assert len(text) < len(TEXT)
    assert "the compressed data is damaged" in damage


def test_damage_in_the_middle_keeps_the_events_before_it(tmp_path: Path) -> None:
    path = write_trace(
        tmp_path / "t.json.gz", [complete(f"{DICE.getrandbits(64):x}", "cpu_op", n, 1) for n in range(9000)]
    )
    data = bytearray(path.read_bytes())
    at = len(data) // 2
    events_before = zlib.decompressobj(31).decompress(bytes(data[:at])).count(b"}")
    data[at : at + 64] = bytes(64)
    path.write_bytes(data)
    columns = read_columns([path])
    assert len(columns.start_ns) >= events_before
    assert columns.start_ns[:events_before].tolist() == [n * 1000 for n in range(events_before)]
    assert any("damaged" in caveat for caveat in columns.caveats)


def test_a_wrong_checksum_is_said_and_costs_nothing(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.json.gz", [complete("a", "cpu_op", n, 1) for n in range(10)])
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    columns = read_columns([path])
    assert len(columns.start_ns) == 10
    assert len(columns.caveats) == 1
    assert "t.json.gz: the compressed data is damaged" in columns.caveats[0]


def test_a_read_that_goes_on_behind_damage_ends_where_it_began(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(TEXT))
    data[len(data) // 2 :] = b"x" * 1000
    text = Text(write(tmp_path / "t.gz", bytes(data)))
    buffer, parts = bytearray(1000), []
    while got := text.readinto(memoryview(buffer)):
        parts.append(bytes(buffer[:got]))
    text.close()
    assert TEXT.startswith(b"".join(parts)[: len(TEXT) // 3])
    assert text.damage


@pytest.mark.parametrize("careful_bytes", [1, 7, 1 << 14])
def test_members_are_one_text_also_on_the_careful_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, careful_bytes: int
) -> None:
    monkeypatch.setattr(inflate, "_CAREFUL_BYTES", careful_bytes)
    parts = [TEXT[:1000], b"", TEXT[1000:1500], TEXT[1500:1600]]
    data = b"".join(gzip.compress(part) for part in parts)
    cut_off = text_of(write(tmp_path / "t.gz", data + gzip.compress(b"more")[:-9]))
    assert cut_off[0].startswith(TEXT[:1600])
    assert text_of(write(tmp_path / "u.gz", data + b"rubbish"))[0] == TEXT[:1600]


def bomb(path: Path, megabytes: int) -> Path:
    """A trace with one event and many blanks."""
    head = b'{"schemaVersion":1,"traceEvents":[{"ph":"X","cat":"cpu_op","name":"a","pid":1,"tid":1,"ts":1,"dur":1},'
    return write(path, gzip.compress(head + b" " * (megabytes << 20) + b"]}"))


def test_a_small_file_may_not_become_a_huge_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    monkeypatch.setattr(inflate, "_HARMLESS_BYTES", 1 << 20)
    path = bomb(tmp_path / "t.json.gz", 8)
    with pytest.raises(BrokenFile, match=rf"inflates to more than 0\.0\d+ GB.*set {LIMIT_VARIABLE}"):
        read_columns([path])
    monkeypatch.setenv(LIMIT_VARIABLE, "1")
    assert len(read_columns([path]).start_ns) == 1


def test_the_limit_can_be_raised_and_lowered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bomb(tmp_path / "t.json.gz", 8)
    monkeypatch.setenv(LIMIT_VARIABLE, "0.001")
    assert most_inflated(path) == 1e6
    with pytest.raises(BrokenFile, match="inflates to more than"):
        read_columns([path])
    monkeypatch.setenv(LIMIT_VARIABLE, "200")
    assert most_inflated(path) == 200e9
    for nonsense in ("much", "nan", "-1", ""):
        monkeypatch.setenv(LIMIT_VARIABLE, nonsense)
        assert most_inflated(path) == 1 << 30, "as if nothing were said"


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match="cannot be read"):
        Text(tmp_path / "absent")
    with pytest.raises(BrokenFile, match="cannot be read"):
        Text(tmp_path)
