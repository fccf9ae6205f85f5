"""Decimal numbers out of text, many at once, eight characters in one machine word (SWAR: SIMD within a register).

A word is the eight bytes from some place of the text, first byte lowest. Its leading digits are found with a carry that only digits let pass,
and their value by three multiplications that add up neighbours. Everything is integer, so 19 digits are exact.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]

MARGIN = 64
"""Bytes that must be readable before and behind the text of a buffer: numbers at its end are read in whole words."""

_POWERS = np.array([10**power for power in range(20)], dtype=np.uint64)
_POINT = ord(".")
_ENDS = np.zeros(256, dtype=np.bool_)
_ENDS[[ord(sign) for sign in ", }]\n\r\t"]] = True
"""What may follow a number."""


def _u(value: int) -> np.uint64:
    return np.uint64(value)


_3, _8, _16, _32, _64 = (_u(number) for number in (3, 8, 16, 32, 64))
_ONE, _10, _100, _1000, _10_000 = (_u(number) for number in (1, 10, 100, 1000, 10_000))
_ZEROS = _u(0x3030303030303030)
_CARRY = _u(0x7676767676767676)
_HIGH_BITS = _u(0x8080808080808080)
_EVERY_2ND = _u(0x00FF00FF00FF00FF)
_EVERY_4TH = _u(0x0000FFFF0000FFFF)
_LOW_HALF = _u(0xFFFFFFFF)


@dataclass(frozen=True)
class Buffer:
    """Text in memory, as bytes and as the aligned words that hold them; `MARGIN` bytes on both sides belong to the buffer."""

    letters: Bytes
    words: Words

    @classmethod
    def of_size(cls, size: int) -> "Buffer":
        """An empty buffer for so many bytes."""
        words = np.zeros((size + 2 * MARGIN) // 8 + 1, dtype=np.uint64)
        return cls(words.view(np.uint8), words)

    @property
    def view(self) -> memoryview:
        """The same bytes, to be filled or searched."""
        return self.letters.data

    def words_at(self, places: Places) -> Words:
        """The eight bytes from each place on."""
        aligned = places >> 3
        shift = (places & 7).view(np.uint64)
        shift <<= _3
        low = self.words.take(aligned)
        aligned += 1
        high = self.words.take(aligned)
        low >>= shift
        np.subtract(_64, shift, out=shift)
        high <<= shift  # by 64 where the place is aligned: numpy gives 0 then
        low |= high
        return low


def leading_digits(words: Words) -> tuple[NDArray[np.uint8], Words]:
    """How many digits each word begins with, 0 to 8, and their value. The words are used up."""
    words ^= _ZEROS
    other = words + _CARRY
    other |= words
    other &= _HIGH_BITS  # the high bit of every byte that is no digit
    below = np.negative(other)
    below &= other
    below -= _ONE  # all bits below the first of them
    count = np.bitwise_count(below)
    count >>= 3
    if len(count) and count[0] == count[-1] and (count == count[0]).all():
        words <<= _u(64 - 8 * int(count[0]))
    else:
        shift = count.astype(np.uint64)
        shift <<= _3
        np.subtract(_64, shift, out=shift)
        words <<= shift
    neighbour = words >> _8
    words *= _10
    words += neighbour
    words &= _EVERY_2ND
    np.right_shift(words, _16, out=neighbour)
    words *= _100
    words += neighbour
    words &= _EVERY_4TH
    np.right_shift(words, _32, out=neighbour)
    words *= _10_000
    words += neighbour
    words &= _LOW_HALF
    return count, words


def whole_numbers(buffer: Buffer, places: Places) -> tuple[NDArray[np.int64], Flags]:
    """The numbers that begin at the places, and which of them are plain whole numbers of at most 15 digits."""
    count, value = _up_to_sixteen(buffer, places)
    good = (count > 0) & (count < 16)
    good &= _ENDS.take(buffer.letters.take(places + count))
    return value.view(np.int64), good


def thousandths(buffer: Buffer, places: Places) -> tuple[NDArray[np.int64], Flags]:
    """The decimal numbers that begin at the places, in thousandths with halves rounded up, and which of them are plain decimals.

    Plain: at most 16 digits before the point (the first at most 4 then) and 7 behind it, no sign, no exponent.
    """
    count, value = _up_to_sixteen(buffer, places)
    good = count > 0
    ends = places + count
    with_point = buffer.letters.take(ends) == _POINT
    large = count == 16
    if large.any():
        good &= ~large | (value < _u(4_500_000_000_000_000))
    value *= _1000
    if with_point.all():
        decimals, ends = _decimals(buffer, ends + 1, good)
        value += decimals
    elif with_point.any():
        rows = np.flatnonzero(with_point)
        fine = good.take(rows)
        decimals, after = _decimals(buffer, ends.take(rows) + 1, fine)
        value[rows] += decimals
        good[rows] = fine
        ends[rows] = after
    good &= _ENDS.take(buffer.letters.take(ends))
    return value.view(np.int64), good


def _up_to_sixteen(buffer: Buffer, places: Places) -> tuple[NDArray[np.int64], Words]:
    """Count and value of the digits from each place on, as far as two words show them."""
    short, value = leading_digits(buffer.words_at(places))
    count = short.astype(np.int64)
    full = short == 8
    if full.all():
        more, low = leading_digits(buffer.words_at(places + 8))
        value *= _POWERS.take(more)
        value += low
        count += more
    elif full.any():
        rows = np.flatnonzero(full)
        more, low = leading_digits(buffer.words_at(places.take(rows) + 8))
        value[rows] = value.take(rows) * _POWERS.take(more) + low
        count[rows] += more
    return count, value


def _decimals(buffer: Buffer, places: Places, good: Flags) -> tuple[Words, Places]:
    """The digits behind a point as thousandths, and where they end; `good` is cleared where they are none or too many."""
    word = buffer.words_at(places)
    count, value = leading_digits(word.copy())
    if (count == 3).all():
        return value, places + 3
    good &= (count > 0) & (count < 8)
    kept = np.minimum(count, 3)
    thousands = value * _POWERS.take(3 - kept)
    long = count > 3
    if long.any():
        cut = _POWERS.take(count - kept)
        thousands = np.where(long, (value + cut // _u(2)) // cut, thousands)
    return thousands, places + count
