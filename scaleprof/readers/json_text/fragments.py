"""Pieces of text that occur again and again, as small numbers: each distinct piece is hashed over all its bytes and understood once.

Category, name, process and thread of an event stand side by side, and a trace of millions of events has a few hundred such pieces. So any escape,
any odd type and any order within them costs one exact parse, and afterwards nothing.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scaleprof.readers.json_text.swar import Buffer, Places, Words

UNREADABLE = -1
"""The number of pieces that could not be understood."""

_LONG_WORDS = 40
"""Pieces of more words than this are hashed one by one: the loop over words would run for a few of them only."""
_FIRST_BITS = 12
_MIX, _STEP = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC2B2AE3D27D4EB4F)
_3, _29, _64 = (np.uint64(number) for number in (3, 29, 64))


class Fragments:
    """`learn` gets the text of a new piece and gives its number, or `UNREADABLE`."""

    def __init__(self, learn: Callable[[bytes], int]) -> None:
        self._learn = learn
        self._numbers: dict[int, int] = {}
        self._set_table(_FIRST_BITS)

    def __len__(self) -> int:
        return len(self._numbers)

    def numbers(self, buffer: Buffer, starts: Places, ends: Places) -> NDArray[np.int32]:
        """The numbers of the pieces between the places. Every piece has at least eight bytes."""
        hashes = _hashes(buffer, starts, ends)
        table = (hashes >> self._shift).view(np.int64)
        numbers = self._table_numbers.take(table)
        unknown = np.flatnonzero(self._table_hashes.take(table) != hashes)
        if len(unknown):
            distinct, first, inverse = np.unique(hashes[unknown], return_index=True, return_inverse=True)
            found = np.empty(len(distinct), dtype=np.int32)
            # New pieces, and those whose place in the table is taken; in the order of the text, so that numbers do not depend on hashes.
            for place in np.argsort(first).tolist():
                row = unknown[first[place]]
                found[place] = self._number(int(distinct[place]), buffer, int(starts[row]), int(ends[row]))
            numbers[unknown] = found[inverse]
            if len(self._numbers) > len(self._table_hashes) // 4:
                self._set_table(self._bits + 3)
        return numbers

    def _number(self, hash: int, buffer: Buffer, start: int, end: int) -> int:
        number = self._numbers.get(hash)
        if number is None:
            number = self._numbers[hash] = self._learn(buffer.letters[start:end].tobytes())
            self._enter(hash, number)
        return number

    def _enter(self, hash: int, number: int) -> None:
        place = hash >> (64 - self._bits)
        if not self._table_used[place]:
            self._table_used[place], self._table_hashes[place], self._table_numbers[place] = True, hash, number

    def _set_table(self, bits: int) -> None:
        self._bits, self._shift = bits, np.uint64(64 - bits)
        self._table_hashes = np.zeros(1 << bits, dtype=np.uint64)
        self._table_numbers = np.full(1 << bits, UNREADABLE, dtype=np.int32)
        self._table_used = np.zeros(1 << bits, dtype=np.bool_)
        for hash, number in self._numbers.items():
            self._enter(hash, number)


def _hashes(buffer: Buffer, starts: Places, ends: Places) -> Words:
    """64 bits that depend on every byte of each piece and on its length. Longest first, so that each round goes over the words that are left."""
    length = ends - starts
    whole = length >> 3
    order = np.argsort(np.minimum(whole, _LONG_WORDS + 1).astype(np.uint8), kind="stable")[
        ::-1
    ]  # of small numbers: a radix sort
    start, size, whole = starts.take(order), length.take(order), whole.take(order)
    hashes = size.astype(np.uint64)
    hashes *= _MIX
    hashes ^= buffer.words_at(start + size - 8)  # the end, which no whole word may cover
    hashes *= _STEP
    hashes ^= hashes >> _29
    long = np.flatnonzero(whole > _LONG_WORDS)
    rest = slice(int(long[-1]) + 1 if len(long) else 0, None)
    _mix_words(buffer, hashes[rest], start[rest], whole[rest])
    if len(long):
        view, ends_of_long = buffer.view, (start[long] + size[long]).tolist()
        texts = [hash(bytes(view[begin:end])) for begin, end in zip(start[long].tolist(), ends_of_long, strict=True)]
        hashes[long] = np.array(texts, dtype=np.int64).view(np.uint64)
    in_order = np.empty_like(hashes)
    in_order[order] = hashes
    return in_order


def _mix_words(buffer: Buffer, hashes: Words, start: Places, whole: Places) -> None:
    """Mix the first `whole` words of each piece into its hash; pieces come in order of falling length."""
    if not len(hashes):
        return
    aligned = start >> 3
    shift = (start & 7).view(np.uint64) << _3
    back = _64 - shift
    left = len(hashes) - np.cumsum(
        np.bincount(np.minimum(whole, _LONG_WORDS + 1))
    )  # by round: how many have a further word
    word = buffer.words.take(aligned)
    for count in left.tolist():
        # `left[n]` pieces have more than n words.
        if count != len(hashes):
            aligned, shift, back, hashes, word = (
                aligned[:count],
                shift[:count],
                back[:count],
                hashes[:count],
                word[:count],
            )
        if not count:
            return
        word >>= shift
        aligned += 1
        after = buffer.words.take(aligned)
        hashes ^= word
        np.left_shift(after, back, out=word)
        hashes ^= word
        hashes *= _STEP
        np.right_shift(hashes, _29, out=word)
        hashes ^= word
        word = after
