"""Decimal text to whole nanoseconds, exactly: a float loses up to 125 ns of a microsecond count since 1970.

Whole columns at once: every character's weight is a power of ten that depends on its distance from the decimal point.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal, DecimalException

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import Ints

_DECIMALS = 3  # from us to ns
_MOST_DIGITS = 16  # before the point; with a first digit above 4 they go the slow way, which sees an overflow
_POWERS = 10 ** np.arange(_MOST_DIGITS + _DECIMALS, dtype=np.int64)
_LARGEST = 2**62
_FEW = 8  # texts for which columns do not pay
_COMMA, _POINT, _MINUS, _QUOTE, _ZERO = (ord(sign) for sign in ',.-"0')


def ns_of_us(texts: Sequence[bytes]) -> tuple[Ints, NDArray[np.bool_]]:
    """Microseconds as JSON text (number or string) in whole ns, halves rounded up, and which of them are no number (given as 0).

    `texts` may be anything with a buffer, such as `msgspec.Raw`.
    """
    if not texts:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
    if len(texts) < _FEW:
        return _one_by_one(texts)
    letters = np.frombuffer(b",".join(texts) + b",", dtype=np.uint8)
    if (letters == _QUOTE).any():
        letters = letters[letters != _QUOTE]
    ends = np.flatnonzero(letters == _COMMA)
    if len(ends) != len(texts):  # a comma inside a string
        return _one_by_one(texts)
    starts = np.concatenate(([0], ends[:-1] + 1))
    if (ends[1:] - ends[:-1] == ends[0] + 1).all():
        values, odd = _same_shape(letters.reshape(len(texts), -1))
    else:
        values, odd = _any_shape(letters, starts, ends)
    bad = np.zeros(len(texts), dtype=np.bool_)
    rows = np.flatnonzero(odd)
    if len(rows):
        values[rows], bad[rows] = _one_by_one([texts[row] for row in rows.tolist()])
    return values, bad


def _same_shape(table: NDArray[np.uint8]) -> tuple[Ints, NDArray[np.bool_]]:
    """All texts have one length; those whose point stands elsewhere than in the first are odd."""
    table = table[:, :-1]
    points = np.flatnonzero(table[0] == _POINT) if table.shape[1] else np.zeros(0, dtype=np.int64)
    whole = int(points[0]) if len(points) else table.shape[1]
    if whole > _MOST_DIGITS or len(points) > 1 or not table.shape[1]:
        return np.zeros(len(table), dtype=np.int64), np.ones(len(table), dtype=np.bool_)
    decimals = min(table.shape[1] - whole - 1, _DECIMALS) if len(points) else 0
    columns = [*range(whole), *range(whole + 1, whole + 1 + decimals)]
    odd = np.zeros(len(table), dtype=np.bool_)
    values = np.zeros(len(table), dtype=np.int64)
    for column in columns:  # one pass per digit
        digit = table[:, column] - _ZERO  # wraps to above 9 for all else
        odd |= digit > 9
        values = values * 10 + digit
    values *= int(_POWERS[_DECIMALS - decimals])
    if whole == _MOST_DIGITS:
        odd |= table[:, 0] > _ZERO + 4
    for column in range(whole + 1 + decimals, table.shape[1]):
        odd |= table[:, column] - _ZERO > 9
    if len(points):
        odd |= table[:, whole] != _POINT
        if table.shape[1] > whole + 1 + _DECIMALS:
            values += table[:, whole + 1 + _DECIMALS] >= _ZERO + 5
    return values, odd


def _any_shape(letters: NDArray[np.uint8], starts: Ints, ends: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    row = np.repeat(np.arange(len(starts)), ends - starts + 1)
    points = np.flatnonzero(letters == _POINT)
    point = ends.copy()
    point[row[points]] = points
    distance = point[row] - np.arange(len(letters))  # 1 for the units, -1 for the first decimal
    exponent = np.where(distance > 0, distance - 1, distance) + _DECIMALS
    digit = letters - _ZERO
    is_digit = digit <= 9
    weight = np.where((exponent >= 0) & is_digit, _POWERS[np.clip(exponent, 0, len(_POWERS) - 1)], 0)
    values = np.add.reduceat(digit * weight, starts)
    values += np.add.reduceat(((exponent == -1) & is_digit & (digit >= 5)).astype(np.int64), starts)
    digits = np.add.reduceat(is_digit.astype(np.int64), starts)
    negative = letters[starts] == _MINUS
    expected = ends - starts - negative - (point < ends)
    whole = point - starts
    large = (whole > _MOST_DIGITS) | ((whole == _MOST_DIGITS) & (letters[starts] > _ZERO + 4))
    odd = (digits != expected) | (digits == 0) | large | negative
    return values, odd


def _one_by_one(texts: Sequence[bytes]) -> tuple[Ints, NDArray[np.bool_]]:
    """The exact way for the few that are signed, have an exponent or are no number."""
    values, bad = np.zeros(len(texts), dtype=np.int64), np.zeros(len(texts), dtype=np.bool_)
    for row, text in enumerate(texts):
        try:
            us = Decimal(bytes(text).decode("ascii").strip('" '))
            ns = us.scaleb(_DECIMALS).to_integral_value(ROUND_HALF_UP)
            bad[row] = abs(ns) >= _LARGEST
        except (DecimalException, UnicodeDecodeError):
            bad[row] = True
        values[row] = 0 if bad[row] else int(ns)
    return values, bad
