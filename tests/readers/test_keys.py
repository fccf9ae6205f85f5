"""The places of wanted keys: what a plain search for them finds, in every layout and across every edge."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.readers.json_text import keys as module
from scaleprof.readers.json_text.keys import KeyFinder
from scaleprof.readers.json_text.swar import MARGIN, Buffer

WANTED = {"ph": 1, "ts": 2, "dur": 3, "correlation": 4, "bytes": 5, "Collective name": 6}


def find(text: str, finder: KeyFinder | None = None) -> list[tuple[int, int]]:
    data = text.encode()
    buffer = Buffer.of_size(len(data))
    buffer.letters[:] = ord('"')  # what lies around a block must not matter
    buffer.letters[MARGIN : MARGIN + len(data)] = np.frombuffer(data, dtype=np.uint8)
    found = (finder or KeyFinder(WANTED)).find(buffer, MARGIN, MARGIN + len(data))
    return list(zip((found.colons - MARGIN).tolist(), found.ids.tolist(), strict=True))


def expected(text: str) -> list[tuple[int, int]]:
    """Keys of valid JSON, by a regular expression over its strings."""
    strings = re.finditer(r'"((?:[^"\\]|\\.)*)"(:?)', text)
    known = [(one.end() - 1, WANTED.get(one[1], 0)) for one in strings if one[2]]
    return [(len(text[:place].encode()), id) for place, id in known if id]


def wanted_only(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(place, id) for place, id in found if id]


EVENT = {"ph": "X", "ts": 1, "dur": 2, "args": {"correlation": 3, "Collective name": "all", "bytes": 9, "b": 1}}


@pytest.mark.parametrize("indent", [None, 0, 1, 2, 3, 4, 7])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_every_layout_shows_the_same_keys(indent: int | None, separators: tuple[str, str]) -> None:
    text = json.dumps([EVENT] * 40, indent=indent, separators=separators)
    assert [id for _, id in find(text)] == [1, 2, 3, 4, 6, 5] * 40
    assert wanted_only(find(text)) == expected(text)


@pytest.mark.parametrize(
    "key",
    [
        "xcorrelation",
        "elation",
        "a_correlation",
        "nts",
        "p",
        "ve name",
        "Collectiv3 name",
        "bytess",
        "sdur",
        "xCollective name",
        'x"correlation',
        'x"ts',
    ],
)
def test_keys_that_end_alike_are_others(key: str) -> None:
    text = json.dumps([{key: 1, "correlation": 2, "Collective name": 3, "ts": 4}] * 3)
    for finder in (KeyFinder(WANTED), KeyFinder(WANTED)):
        find(json.dumps({key: 1}), finder)  # met first, it must not stand for the wanted one
        assert wanted_only(find(text, finder)) == expected(text)


def test_strings_that_look_like_keys_are_none() -> None:
    text = json.dumps([{"name": 'a \\"ph\\": "ph": 1', "ph": ['"ts":', "\\"], "ts": 1}])
    assert wanted_only(find(text)) == expected(text)


def test_blocks_larger_than_a_part_are_found_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART_BYTES", 64)
    text = json.dumps([EVENT] * 30)
    assert wanted_only(find(text)) == expected(text)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=12),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from([*WANTED, "a", "xts", 'q"ph', 'q"correlation', "\\", "é"]), inner, max_size=5
            )
        ),
        max_leaves=25,
    ),
    st.booleans(),
)
def test_any_json_shows_what_a_search_finds(content: object, ascii_only: bool) -> None:
    text = json.dumps(content, ensure_ascii=ascii_only)
    assert wanted_only(find(text)) == expected(text)
