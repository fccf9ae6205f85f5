"""Brackets outside strings, in text of any kind."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.readers.json_text import structure
from scaleprof.readers.json_text.structure import Brackets, Elements, depth_of, elements_of


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        (b"", 0),
        (b'{"a": [', 2),
        (b'{"a": [}', 1),
        (b'{"a": "[[[', -1),
        (b'{"a": "[[["', 1),
        (rb'{"a": "\"[', -1),
        (rb'{"a": "\\"[', 2),
        (rb'{"a": "\\\"[', -1),
        (b"}}", -2),
    ],
)
def test_depth_counts_brackets_outside_strings(text: bytes, depth: int) -> None:
    assert depth_of(text) == depth


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        (b"", Elements()),
        (b' {"a": 1}, {"b": [{}]}, {"c"', Elements(9, 22)),
        (b'{"a": "}"} ]} , {}', Elements(10, 10, 11)),
        (b" ] }", Elements(None, None, 1)),
        (b"[1], {}", Elements(7, 7)),
        (b'{"a": [1, 2', Elements()),
    ],
)
def test_elements_end_at_depth_zero_until_the_array_closes(text: bytes, elements: Elements) -> None:
    assert elements_of(text) == elements


@given(st.text('{}[]"\\a,', max_size=60), st.integers(1, 7))
def test_parts_of_any_size_say_the_same(text: str, size: int) -> None:
    data = text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "_PART_BYTES", size)
        in_parts = depth_of(data), elements_of(data)
    assert in_parts == (depth_of(data), elements_of(data))


@given(st.recursive(st.text('{}[]"\\', max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=9))
def test_whole_json_closes_what_it_opens(value: object) -> None:
    assert depth_of(json.dumps(value).encode()) == 0


def test_state_is_carried_between_parts() -> None:
    brackets = Brackets()
    for part in (b'{"a\\', b'" [', b'": [', b"{"):
        places, depth, which = brackets.feed(part)
    assert (brackets.depth, brackets.in_string) == (3, False)
    assert (places.tolist(), depth.tolist(), bytes(which)) == ([0], [3], b"{")


def test_memory_does_not_grow_with_the_number_of_brackets() -> None:
    text = b"[" * (8 << 20)
    tracemalloc.start()
    assert elements_of(text) == Elements()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20
