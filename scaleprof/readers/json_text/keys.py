"""Where the wanted keys of a block of JSON stand: every key ends with `":`, and the eight bytes before the colon tell which one it is.

In valid JSON `":` stands inside a string only behind a backslash, so two comparisons over the whole block find all keys. The eight bytes are looked
up in a table that teaches itself: an unknown word is resolved once, by looking at its text. Words and layouts are few.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.readers.json_text.swar import Buffer, Places, Words

_QUOTE, _COLON, _BACKSLASH = (ord(sign) for sign in '":\\')
_PART_BYTES = 1 << 19
"""Looked at in one go: the temporaries stay in the processor's cache, and in memory that is already there."""
_TABLE_BITS = 14
_SHIFT = np.uint64(64 - _TABLE_BITS)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_ONE, _EIGHT, _SIXTY_FOUR, _NOTHING = (np.uint64(number) for number in (1, 8, 64, 0))
_SAMPLE = 2000  # unknown words that are looked at together
_LONGEST_KEY = 64
_IN_ONE_WORD = 7  # letters: a key with fewer stands in eight bytes with both its quotes

OTHER = 0
"""The id of keys that nobody wants."""


@dataclass(frozen=True)
class Found:
    """The wanted keys of a block, in the order of the text."""

    colons: Places
    ids: NDArray[np.uint8]


class KeyFinder:
    """Finds keys by their ids (1 to 255); what it has learnt about words it keeps from block to block."""

    def __init__(self, wanted: Mapping[str, int]) -> None:
        self._wanted = {key.encode(): id for key, id in wanted.items()}
        # A key of seven letters or more is not in one word with both quotes: it is recognised by its end, and checked by the eight bytes before.
        self._long = {key: id for key, id in self._wanted.items() if len(key) >= _IN_ONE_WORD}
        self._words = np.zeros(1 << _TABLE_BITS, dtype=np.uint64)
        self._ids = np.zeros(1 << _TABLE_BITS, dtype=np.uint8)
        self._used = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
        self._elsewhere: dict[int, int] = {}
        """Words whose place in the table another one has."""
        self._room = 0

    def find(self, buffer: Buffer, start: int, end: int) -> Found:
        """The wanted keys between two places of a buffer."""
        self._make_room(end - start)
        count = 0
        for at in range(start & ~7, end, _PART_BYTES):
            colons, words = self._key_ends(buffer, at, min(at + _PART_BYTES, (end + 7) & ~7))
            ids = self._ids_of(buffer, colons, words)
            chosen = np.flatnonzero(ids)
            room = slice(count, count + len(chosen))
            np.take(colons, chosen, out=self._colons[room], mode="clip")
            np.take(ids, chosen, out=self._found[room], mode="clip")
            count += len(chosen)
        colons, ids = self._colons[:count], self._found[:count]
        # The first and the last word may hold a few bytes that are not of this block.
        if count and (colons[0] < start or colons[-1] >= end):
            inside = (colons >= start) & (colons < end)
            colons, ids = colons[inside], ids[inside]
        return Found(colons, self._checked(buffer, colons, ids))

    def _make_room(self, size: int) -> None:
        if size <= self._room:
            return
        self._room = size
        self._colons = np.empty(size // 3 + 8, dtype=np.int64)
        self._found = np.empty(size // 3 + 8, dtype=np.uint8)
        part = min(size, _PART_BYTES) + 64
        self._is_end = np.empty(part, dtype=np.bool_)
        self._is_colon = np.empty(part, dtype=np.bool_)
        self._is_hit = np.empty(part // 8 + 8, dtype=np.bool_)

    def _key_ends(self, buffer: Buffer, start: int, end: int) -> tuple[Places, Words]:
        """Every colon of a key between two aligned places, and the eight bytes before it."""
        is_end, is_colon = self._is_end[: end - start], self._is_colon[: end - start]
        np.equal(buffer.letters[start:end], _QUOTE, out=is_end)
        np.equal(buffer.letters[start + 1 : end + 1], _COLON, out=is_colon)
        is_end &= is_colon
        eights = is_end.view(np.uint64)
        hit = np.flatnonzero(np.not_equal(eights, _NOTHING, out=self._is_hit[: len(eights)]))
        if np.count_nonzero(is_end) != len(hit):  # two keys end within eight bytes: short ones, without blanks
            quotes = np.flatnonzero(is_end)
            quotes += start
            return quotes + 1, buffer.words_at(quotes - 7)
        flags = eights.take(hit)
        flags -= _ONE
        lane = np.bitwise_count(flags)  # eight times the place within the eight
        shift = lane.astype(np.uint64)
        hit += (start >> 3) - 1
        before = buffer.words.take(hit)
        hit += 1
        words = buffer.words.take(hit)
        place = shift.view(np.int64) >> 3
        shift += _EIGHT
        before >>= shift  # by 64 where the quote is the last of the eight: 0
        np.subtract(_SIXTY_FOUR, shift, out=shift)
        words <<= shift
        words |= before
        hit <<= 3
        hit += place
        hit += 1
        return hit, words

    def _ids_of(self, buffer: Buffer, colons: Places, words: Words) -> NDArray[np.uint8]:
        places = words * _MULTIPLIER
        places >>= _SHIFT
        table = places.view(np.int64)
        while True:
            ids = self._ids.take(table)
            unknown = np.flatnonzero(self._words.take(table) != words)
            for word, id in self._elsewhere.items() if len(unknown) else ():
                here = words[unknown] == word
                ids[unknown[here]] = id
                unknown = unknown[~here]
            if not len(unknown):
                return ids
            _, first = np.unique(words[unknown[:_SAMPLE]], return_index=True)
            for place in unknown[first].tolist():  # a few hundred words in a trace
                self._learn(int(words[place]), int(table[place]), self._meaning(buffer, int(colons[place])))

    def _learn(self, word: int, place: int, id: int) -> None:
        if self._used[place]:
            self._elsewhere[word] = id
        else:
            self._used[place], self._words[place], self._ids[place] = True, word, id

    def _meaning(self, buffer: Buffer, colon: int) -> int:
        """The id of the key that ends before a colon. Of a long key only the end counts: its words must mean the same wherever they stand."""
        text = buffer.letters[max(colon - _LONGEST_KEY, 0) : colon - 1].tobytes()
        if text.endswith(b"\\"):
            return OTHER
        opens = text.rfind(b'"')
        key = text[opens + 1 :]
        if len(key) < _IN_ONE_WORD:
            is_whole = text[opens - 1 : opens] != b"\\"  # else the quote is one of the key's own
            return self._wanted.get(key, OTHER) if is_whole else OTHER
        return next((id for long, id in self._long.items() if key[-7:] == long[-7:]), OTHER)

    def _checked(self, buffer: Buffer, colons: Places, ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Long keys again, by what stands before their last letters: up to eight further letters, and a quote that is none of the key's."""
        for key, id in self._long.items():
            rows = np.flatnonzero(ids == id)
            if not len(rows):
                continue
            opens = colons[rows] - (len(key) + 2)
            right = buffer.letters.take(opens) == _QUOTE
            right &= buffer.letters.take(opens - 1) != _BACKSLASH
            front = key[:-_IN_ONE_WORD][-8:]
            words = (
                buffer.words_at(colons[rows] - 16) >> np.uint64(8 * (8 - len(front)))
                if front
                else np.zeros(1, dtype=np.uint64)
            )
            right &= words == np.uint64(int.from_bytes(front, "little"))
            if not right.all():
                ids = ids.copy()
                ids[rows[~right]] = OTHER
        return ids
