"""Broken text: what can be read is read, what cannot is counted, and it takes no longer than its length."""

import json
import time
from typing import Any

import msgspec
import pytest

from scaleprof.readers.json_text import broken
from scaleprof.readers.json_text.broken import decode_each, decode_event, is_one_object, lies_inside, mended


class Event(msgspec.Struct):
    ph: str
    name: str
    args: dict[str, Any] = {}


ONE = msgspec.json.Decoder(Event)
GOOD = '{"ph":"X","name":"%s"}'


def names_of(text: str | bytes, *, at_end: bool = True) -> tuple[list[str], int, int | None]:
    """The names of the events read, how many were lost, and where."""
    data = text.encode() if isinstance(text, str) else text
    found = decode_each(data, ONE, at_end=at_end)
    return [event.name for event in found.events], found.lost, found.lost_at


def around(middle: str) -> str:
    """A text between two good events, in an array that closes."""
    return f"{GOOD % 'a'},{middle},{GOOD % 'z'}]}}"


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ('{"ph":"X","name":"b","args":{"x":nan}}', "b"),
        ('{"ph":"X","name":"b","args":{"x":[-Infinity,NaN , 1]}}', "b"),
        ('{"ph":"X","name":"a "quoted" word"}', 'a "quoted" word'),
        ('{"ph":"X","name":"a\nb\tc"}', "a b c"),
        (r'{"ph":"X","name":"C:\path\x"}', r"C:\path\x"),
        (r'{"ph":"X","name":"\ud83d!"}', "\ufffd!"),
        (r'{"ph":"X","name":"\ud83d\ude00 \q"}', "\U0001f600 \\q"),
        ('{"ph":"X","name":"a "b" \\"c\\" }"}', 'a "b" "c" }'),
        ('{"ph":"X","name":"b"}}', "b"),
        ('{"ph":"X","name":"b"} xx', "b"),
    ],
)
def test_what_has_been_met_is_mended(event: str, name: str) -> None:
    assert names_of(around(event)) == (["a", name, "z"], 0, None)


def test_bytes_that_are_no_text_become_signs_of_that() -> None:
    assert names_of(b'{"ph":"X","name":"a\xffb"}]') == (["a\ufffdb"], 0, None)


@pytest.mark.parametrize(
    ("event", "lost"),
    [
        ('{"ph":"X","name":}', 1),
        ('{"ph":"X","name":5}', 1),
        ('{"name":"b"}', 1),
        ("{}", 1),
        ('{"ph":"X","name":"half ' + "\0" * 99 + '"}', 1),
        ("{},5,null", 3),
        ('{"ph":"X","name":"b","args":{"v":[{"w":1},{"w":oops},{"w":2}]}}', 1),
    ],
)
def test_a_bad_event_costs_itself(event: str, lost: int) -> None:
    assert names_of(around(event)) == (["a", "z"], lost, len(GOOD % "a") + 1)


def test_events_without_commas_between_them_are_read() -> None:
    assert names_of("\n".join(GOOD % name for name in "abc") + "]") == (["a", "b", "c"], 0, None)


def test_a_valid_event_with_many_objects_in_its_arguments_is_one_event() -> None:
    inner = ",".join(f'{{"n":{number}}}' for number in range(1000))
    text = around('{"ph":"X","name":"b","args":{"v":[' + inner + "]}}")
    assert names_of(text) == (["a", "b", "z"], 0, None)
    cut = text.index('"n":900')
    found = decode_each(text[:cut].encode(), ONE, at_end=False)
    assert ([event.name for event in found.events], found.end, found.lost) == (["a"], len(GOOD % "a"), 0)


def test_the_last_event_needs_nothing_behind_it() -> None:
    assert names_of(f"{GOOD % 'a'},{GOOD % 'b'}") == (["a", "b"], 0, None)
    assert names_of(f"{GOOD % 'a'},{GOOD % 'b'},\n") == (["a", "b"], 0, None)
    assert names_of(f"{GOOD % 'a'},{GOOD % 'b'}", at_end=False) == (["a"], 0, None)


def test_the_array_closes_where_it_does() -> None:
    text = around(GOOD % "b").encode()
    assert decode_each(text, ONE, at_end=True).closed == text.index(b"]")


def test_the_array_closes_behind_a_trailing_comma() -> None:
    text = f'{GOOD % "a"},{{"ph":}},\n ],'.encode()
    found = decode_each(text, ONE, at_end=True)
    assert (len(found.events), found.lost, found.closed) == (1, 1, text.index(b"]"))


def test_a_list_that_never_closes_costs_its_event() -> None:
    text = around('{"ph":"X","name":"b","args":{"v":[{"w":1}')
    assert names_of(text) == (["a", "z"], 1, len(GOOD % "a") + 1)


def test_an_event_is_read_whatever_follows_behind_its_comma() -> None:
    for behind in ("", ",", ' , {"name": "proc'):
        assert decode_event(f" ,{GOOD % 'a'}{behind}".encode(), ONE) == Event("X", "a")
        assert decode_event(f'{{"ph":"X","name":"a","args":{{"x":nan}}}}{behind}'.encode(), ONE).name == "a"  # type: ignore[union-attr]
    for behind in ("}", "]", " {", "x"):
        assert decode_event(f"{GOOD % 'a'}{behind}".encode(), ONE) is None


def test_what_nothing_mends_is_none() -> None:
    assert mended(b'{"ph":"X","name":', ONE) is None
    assert mended(b"", ONE) is None


def test_deep_nesting_is_refused_not_a_crash() -> None:
    deep = '{"ph":"X","name":"b","args":{"x":%s}}' % ("[" * 100_000 + "]" * 100_000)
    assert names_of(around(deep)) == (["a", "z"], 1, len(GOOD % "a") + 1)


def test_a_text_of_nothing_but_bad_events_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broken, "MOST_LOST", 100)
    names, lost, _ = names_of("{}," * 1000 + GOOD % "a")
    assert (names, lost) == ([], 101)


MILLION = 1 << 20


@pytest.mark.parametrize(
    "text",
    [
        b"}" * MILLION,
        b"},{" * MILLION,
        b"{}," * MILLION,
        b"[" * MILLION,
        b'{"a":' * MILLION,
        b'{"ph":"X","name":"' + b'"' * MILLION + b'"},{"ph":"X"}]',
        b'{"ph":"X","name":"' + b'a" ' * MILLION + b'"},{"ph":"X"}]',
        b'{"ph":"X","name":"' + b"\\" * MILLION + b'"},{"ph":"X"}]',
        b'{"ph":"X","args":[' + b'{"a":1},' * MILLION + b"nan]},{}]",
        b'{"ph"' * MILLION,
        b'},{"ph"' * (MILLION // 4),
        b"".join(b'{"ph"%s:x},' % (b" " * number) for number in range(1400)),
        b"{" + b" " * MILLION + b"},]",
        b"," * MILLION,
    ],
    ids=lambda text: repr(text[:24]),
)
def test_hostile_text_costs_as_much_time_as_its_length(text: bytes) -> None:
    start = time.process_time()
    decode_each(text, ONE, at_end=True)
    decode_event(text, ONE)
    assert time.process_time() - start < 20, "what is not linear takes hours here"


def test_mended_events_are_valid_json() -> None:
    text = r'{"ph":"X","name":"say "a\b" to \ud800 ' + "\x01" + r'","args":{"x":NaN}}'
    event = mended(text.encode("utf-8", "surrogatepass"), msgspec.json.Decoder())
    assert event == {"ph": "X", "name": 'say "a\b" to \ufffd  ', "args": {"x": None}}
    json.dumps(event)


@pytest.mark.parametrize(
    ("text", "one", "inside"),
    [
        ('{"a": [1]}', True, False),
        ('{"a": {}}, {"name": "proc', True, False),
        ('{"a": "]}}"} ,\n', True, False),
        ('{"a": [{"b": 1}, ', False, False),
        ('{"a": 1}]}}', False, True),
        ('{"a": 1}, {"b": 2}]}', True, True),
    ],
)
def test_a_part_of_another_event_is_told_by_its_brackets(text: str, one: bool, inside: bool) -> None:
    assert (is_one_object(text.encode()), lies_inside(text.encode())) == (one, inside)
