"""One block of a trace file as columns, without making an object of any event.

Where all keys stand is found at once (`keys.py`); times are read where their keys are (`swar.py`); category, name, process and thread are the text
between the keys `ph` and `ts`, which is one of a few hundred pieces (`fragments.py`). That holds for the order in which Kineto has always written the
keys of an event. Events that differ are handed out as text, to be decoded exactly; where they are many, the whole block is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints
from scaleprof.readers.json_text.fragments import UNREADABLE, Fragments
from scaleprof.readers.json_text.keys import Found, KeyFinder
from scaleprof.readers.json_text.structure import depth_of
from scaleprof.readers.json_text.swar import Buffer, Flags, Places, thousandths, whole_numbers
from scaleprof.trace import UNKNOWN

PH, TS, DUR, CORRELATION, BYTES, COLLECTIVE = range(1, 7)
_WANTED = {"ph": PH, "ts": TS, "dur": DUR, "correlation": CORRELATION, "bytes": BYTES, "Collective name": COLLECTIVE}
_BLANK, _OPEN, _CLOSE, _COMMA, _QUOTE, _COMPLETE, _META = (ord(sign) for sign in ' {},"XM')
_TAB = 9
_MOST_ODD = 1 / 50
"""Above this share of a block the decoder is faster than one event after the other."""
_MOST_META = 1 / 10
"""Likewise for events that name processes and threads, most of which are passed over unread."""
_META_BYTES = 512
_THREAD_NAME = b'"thread_name"'
_SHORTEST_FRAGMENT = 9


@dataclass(frozen=True)
class Block:
    """Whole events of a trace file, in a buffer that is filled anew after it was looked at."""

    buffer: Buffer
    start: int
    end: int
    at: int = 0
    """The byte of the file's text where it begins."""

    def text(self) -> bytes:
        """The events as text."""
        return self.buffer.letters[self.start : self.end].tobytes()


@dataclass(frozen=True)
class Scanned:
    """The complete events of a block, one row each, in the order of the text. Rows that are `odd` hold nothing yet."""

    start_ns: Ints
    dur_ns: Ints
    fragment: NDArray[np.int32]
    correlation: Ints
    """UNKNOWN where there is none."""
    copied: tuple[Ints, Ints]
    """Rows that say `bytes`, and how many."""
    noted: Ints
    """Rows that carry metadata of a collective."""
    odd: Ints
    """Rows that must be decoded exactly."""
    metas: list[bytes]
    """The texts around events that name a thread."""
    block: Block
    opens: Places
    """Where each row's event begins."""
    next_opens: Places
    """Where what follows each row's event begins, at the latest."""

    def place_of(self, row: int) -> int:
        """The byte of the file's text where a row's event begins."""
        return self.block.at + int(self.opens[row]) - self.block.start

    def text_of(self, row: int) -> bytes:
        """The text of a row's event, and perhaps a little of what follows."""
        return self.block.buffer.letters[int(self.opens[row]) : int(self.next_opens[row])].tobytes()

    def texts_of(self, rows: Ints) -> Iterator[bytes]:
        """The same of many rows."""
        letters = self.block.buffer.letters
        for start, end in zip(self.opens[rows].tolist(), self.next_opens[rows].tolist(), strict=True):
            yield letters[start:end].tobytes()


class Scanner:
    """Scans the blocks of one rank's files; `fragments` numbers the pieces from the value of `ph` to the comma before `ts`."""

    def __init__(self, fragments: Fragments) -> None:
        self._keys = KeyFinder(_WANTED)
        self._fragments = fragments

    def scan(self, block: Block) -> Scanned | None:
        """The block's columns; None where its layout is another one, and the decoder should have it."""
        found = self._keys.find(block.buffer, block.start, block.end)
        letters = block.buffer.letters
        if letters[block.start : block.end].min() < _TAB:  # the zeros of a hole in the file hide whole events
            return None
        phases = np.flatnonzero(found.ids == PH)
        if not len(phases):
            return None
        colons = found.colons.take(phases)
        gap = 2 if letters[colons[0] + 1] == _BLANK else 1  # from a colon to its value
        phase = letters.take(colons + (gap + 1))
        if (letters.take(colons + gap) != _QUOTE).any():  # several layouts in one block, or `ph` is something else, too
            return None
        complete = np.flatnonzero(phase == _COMPLETE)
        meta = colons[phase == _META]
        if len(meta) > _MOST_META * len(phases) + 64:
            return None
        metas = [text for colon in meta.tolist() if (text := _naming_a_thread(block, colon))]
        opens, next_opens = _frames(block, colons, complete)
        if not _stand_alone(block, opens) or not _ends_whole(block, opens):
            return None
        scanned = self._rows(block, found, phases, complete, gap)
        if scanned is None:
            return None
        start_ns, dur_ns, fragment, correlation, copied, noted, bad = scanned
        odd = np.flatnonzero(bad)
        if len(odd) > _MOST_ODD * len(complete) + 4:
            return None
        return Scanned(start_ns, dur_ns, fragment, correlation, copied, noted, odd, metas, block, opens, next_opens)

    def _rows(
        self, block: Block, found: Found, phases: Ints, complete: Ints, gap: int
    ) -> tuple[Ints, Ints, NDArray[np.int32], Ints, tuple[Ints, Ints], Ints, Flags] | None:
        buffer, count = block.buffer, len(complete)
        first = phases.take(complete)
        if not count:
            nothing = np.zeros(0, dtype=np.int64)
            return (
                nothing,
                nothing,
                nothing.astype(np.int32),
                nothing,
                (nothing, nothing),
                nothing,
                nothing.astype(np.bool_),
            )
        last = len(found.ids) - 1
        second, third = np.minimum(first + 1, last), np.minimum(first + 2, last)
        bad = (found.ids.take(second) != TS) | (found.ids.take(third) != DUR)
        ts = found.colons.take(second)
        start_ns, good = thousandths(buffer, ts + gap)
        bad |= ~good
        dur_ns, good = thousandths(buffer, found.colons.take(third) + gap)
        bad |= ~good
        starts = found.colons.take(first) + gap
        ends = ts - _before_key(block, int(ts[0]), 2)
        whole = buffer.letters.take(ends) == _COMMA
        whole &= ends - starts >= _SHORTEST_FRAGMENT
        if not whole.all():
            bad |= ~whole
            ends = np.where(whole, ends, starts + _SHORTEST_FRAGMENT)
        if np.count_nonzero(bad) > _MOST_ODD * count + 4:
            return None
        fragment = self._fragments.numbers(buffer, starts, ends)
        bad |= fragment == UNREADABLE
        row_of_key = _row_of_key(phases, complete, len(found.ids))
        is_ts = found.ids == TS
        direct = np.count_nonzero(is_ts.take(np.minimum(phases + 1, last)))
        if np.count_nonzero(is_ts) > direct and np.count_nonzero(row_of_key[is_ts] >= 0) > count:
            return None  # some are of arguments, or of events without `ph`
        correlation = np.full(count, UNKNOWN, dtype=np.int64)
        rows, values = self._numbers(buffer, found, CORRELATION, row_of_key, gap, bad)
        correlation[rows] = values
        copied = self._numbers(buffer, found, BYTES, row_of_key, gap, bad)
        noted = row_of_key[found.ids == COLLECTIVE]
        return start_ns, dur_ns, fragment, correlation, copied, np.unique(noted[noted >= 0]), bad

    @staticmethod
    def _numbers(buffer: Buffer, found: Found, key: int, row_of_key: Ints, gap: int, bad: Flags) -> tuple[Ints, Ints]:
        """Rows and values of a key with whole numbers; rows where it has something else become `bad`."""
        at = np.flatnonzero(found.ids == key)
        rows = row_of_key.take(at)
        if len(rows) and rows.min() < 0:  # of events that are not complete ones
            at, rows = at[rows >= 0], rows[rows >= 0]
        values, good = whole_numbers(buffer, found.colons.take(at) + gap)
        if not good.all():
            bad[rows[~good]] = True
            rows, values = rows[good], values[good]
        return rows, values


def _frames(block: Block, colons: Places, complete: Ints) -> tuple[Places, Places]:
    """Where each complete event begins, if it begins as the first one of the block does, and where the event after it does."""
    opens = colons - _before_key(block, int(colons[complete[0]]) if len(complete) else int(colons[0]), 2)
    next_opens = np.append(opens[1:], block.end)
    return opens.take(complete), next_opens.take(complete)


def _stand_alone(block: Block, opens: Places) -> bool:
    """Whether each event begins with its `ph` and another one ends before it: what does not may be an argument of another event."""
    letters = block.buffer.letters
    if (letters.take(opens) != _OPEN).any():
        return False
    behind = opens[1:]  # the first one begins where the block does
    if not len(behind):
        return True
    back = int(behind[0]) - _closer_before(block, int(behind[0]))
    alone = letters.take(behind - back) == _CLOSE  # in one layout it is equally far away
    others = behind[~alone]
    return len(others) <= _MOST_ODD * len(opens) + 4 and all(
        letters[_closer_before(block, int(place))] == _CLOSE for place in others
    )


def _ends_whole(block: Block, opens: Places) -> bool:
    """Whether the last event is whole: the block may have been cut within it, in front of an argument that begins as events do."""
    start = int(opens[-1]) if len(opens) else block.start
    text = block.buffer.letters[start : block.end].tobytes()
    as_many = text.count(b"{") == text.count(b"}") and text.count(b"[") == text.count(b"]")
    return as_many or depth_of(text) == 0  # strings may hold brackets, too


def _closer_before(block: Block, place: int) -> int:
    """Where the event before the comma before a place ends, if that is what stands there."""
    comma = _back_over_blanks(block, place - 1)
    is_comma = block.buffer.letters[comma] == _COMMA
    return _back_over_blanks(block, comma - 1) if is_comma else comma


def _back_over_blanks(block: Block, place: int) -> int:
    """The nearest place, going back, where no blank stands."""
    while place > block.start and block.buffer.letters[place] in b" \n\r\t":
        place -= 1
    return place


def _before_key(block: Block, colon: int, letters_of_key: int) -> int:
    """How far before a key's colon the sign stands that its blanks follow: what one event of a block has, all have."""
    return colon - _back_over_blanks(block, colon - letters_of_key - 3)


def _row_of_key(phases: Ints, complete: Ints, keys: int) -> Ints:
    """For each wanted key the row of the complete event it belongs to, -1 for the other events and what is before the first."""
    row = np.full(len(phases), -1, dtype=np.int64)
    row[complete] = np.arange(len(complete))
    return np.concatenate((np.full(int(phases[0]), -1), np.repeat(row, np.diff(phases, append=keys))))


def _naming_a_thread(block: Block, colon: int) -> bytes:
    """The text from the beginning of a metadata event on, whose `ph` ends at the colon; empty where it names no thread."""
    letters = block.buffer.letters
    before = letters[max(block.start, colon - _META_BYTES) : colon].tobytes()
    start = colon - len(before) + max(before.rfind(b"{"), 0)
    text = letters[start : min(block.end, start + 2 * _META_BYTES)].tobytes()
    return text if _THREAD_NAME in text[: colon - start + _META_BYTES] else b""
