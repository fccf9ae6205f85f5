"""Numbers out of text, eight characters at a time: every value as Python's own arithmetic has it."""

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.readers.json_text.swar import MARGIN, Buffer, leading_digits, thousandths, whole_numbers


def buffer_of(texts: list[str], end: str) -> tuple[Buffer, np.ndarray]:
    """Texts one behind the other, each followed by `end`, and where they begin."""
    joined = b"".join((text + end).encode() for text in texts)
    buffer = Buffer.of_size(len(joined))
    buffer.letters[:] = ord(" ")
    buffer.letters[MARGIN : MARGIN + len(joined)] = np.frombuffer(joined, dtype=np.uint8)
    lengths = [len(text) + len(end) for text in texts]
    return buffer, MARGIN + np.cumsum([0, *lengths[:-1]]).astype(np.int64)


def test_words_are_the_eight_bytes_from_any_place() -> None:
    buffer, _ = buffer_of(["abcdefghijklmnopqrstuvwxyz"], ",")
    places = np.arange(MARGIN, MARGIN + 19)
    found = [int(word).to_bytes(8, "little") for word in buffer.words_at(places)]
    assert found == [b"abcdefghijklmnopqrstuvwxyz"[at : at + 8] for at in range(19)]


@pytest.mark.parametrize("digits", range(9))
def test_leading_digits_are_counted_and_valued(digits: int) -> None:
    text = ("12345678"[:digits] + "x:/,.e-+")[:8].encode()
    count, value = leading_digits(np.array([int.from_bytes(text, "little")], dtype=np.uint64))
    assert (count[0], value[0]) == (digits, int("12345678"[:digits] or 0))


@given(
    st.lists(st.integers(0, 10**15 - 1).map(str), min_size=1, max_size=20), st.sampled_from([",", " ", "}", "\n", "]"])
)
def test_whole_numbers_are_exact(texts: list[str], end: str) -> None:
    values, good = whole_numbers(*buffer_of(texts, end))
    assert good.all()
    assert values.tolist() == [int(text) for text in texts]


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e5", "0x7", "1234567890123456", '"7"', "null", "7a"])
def test_what_is_no_plain_whole_number_is_said_to_be_none(text: str) -> None:
    assert not whole_numbers(*buffer_of([text], ","))[1].any()


DECIMALS = st.builds(
    lambda whole, digits: f"{whole}.{digits}" if digits else str(whole),
    st.integers(0, 4_499_999_999_999_999),
    st.text("0123456789", max_size=7),
)


@given(st.lists(DECIMALS, min_size=1, max_size=20))
def test_microseconds_become_whole_ns_with_halves_rounded_up(texts: list[str]) -> None:
    values, good = thousandths(*buffer_of(texts, ","))
    assert good.all()
    expected = [int((Decimal(text) * 1000).to_integral_value(ROUND_HALF_UP)) for text in texts]
    assert values.tolist() == expected


def test_nineteen_digits_are_exact() -> None:
    values, good = thousandths(*buffer_of(["1712195495519689.047"] * 3, ","))
    assert good.all()
    assert set(values.tolist()) == {1_712_195_495_519_689_047}


@pytest.mark.parametrize(
    "text",
    ["", ".5", "-1.5", "1.", "1.5e3", "1e3", "1.12345678", "12345678901234567", "9999999999999999", '"1.5"', "nan"],
)
def test_what_is_no_plain_decimal_is_said_to_be_none(text: str) -> None:
    values, good = thousandths(*buffer_of([text, "1.5"], ","))
    assert good.tolist() == [False, True]
    assert values[1] == 1500
