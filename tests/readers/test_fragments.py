"""Pieces of text as numbers: equal pieces have equal numbers, others have others, and each is learnt once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.readers.json_text.fragments import UNREADABLE, Fragments
from scaleprof.readers.json_text.swar import MARGIN, Buffer


class Learnt:
    """Numbers pieces in the order in which they are learnt."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def __call__(self, piece: bytes) -> int:
        assert piece not in self.pieces, "learnt twice"
        self.pieces.append(piece)
        return UNREADABLE if piece.startswith(b"unreadable") else len(self.pieces) - 1


def numbers(pieces: list[bytes], fragments: Fragments, *, gap: int = 1) -> list[int]:
    joined = b"".join(piece + b"\xff" * gap for piece in pieces)
    buffer = Buffer.of_size(len(joined))
    buffer.letters[MARGIN : MARGIN + len(joined)] = np.frombuffer(joined, dtype=np.uint8)
    ends = np.cumsum([len(piece) + gap for piece in pieces]).astype(np.int64) + MARGIN - gap
    starts = ends - np.array([len(piece) for piece in pieces])
    return fragments.numbers(buffer, starts, ends).tolist()


PIECES = st.lists(
    st.binary(min_size=9, max_size=40)
    | st.binary(min_size=300, max_size=400)
    | st.builds(lambda count, tail: b"a" * count + tail, st.integers(9, 60), st.binary(max_size=3)),
    min_size=1,
    max_size=40,
)


@given(PIECES, st.integers(1, 9))
def test_a_number_stands_for_its_piece(pieces: list[bytes], gap: int) -> None:
    learnt = Learnt()
    fragments = Fragments(learnt)
    for _ in range(2):  # the second time everything is known, at other places
        found = numbers(pieces, fragments, gap=gap)
        readable = [None if piece.startswith(b"unreadable") else piece for piece in pieces]
        assert [learnt.pieces[number] if number != UNREADABLE else None for number in found] == readable
        pieces = pieces[::-1]


def test_unreadable_pieces_stay_unreadable_and_are_tried_once() -> None:
    learnt = Learnt()
    fragments = Fragments(learnt)
    pieces = [b"unreadable one", b"a readable one", b"unreadable one"]
    for _ in range(2):
        found = numbers(pieces, fragments)
        assert found == [UNREADABLE, learnt.pieces.index(b"a readable one"), UNREADABLE]


def test_thousands_of_pieces_find_room() -> None:
    learnt = Learnt()
    fragments = Fragments(learnt)
    pieces = [f"piece number {number}".encode() for number in range(20_000)]
    assert len({*numbers(pieces, fragments)}) == 20_000
    assert numbers(pieces[::-1], fragments)[::-1] == numbers(pieces, fragments)
    assert len(fragments) == len(learnt.pieces) == 20_000
