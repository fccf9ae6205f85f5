"""Decimal text to ns: exact, whatever the shape."""

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaleprof.readers.json_text.decimals import ns_of_us


def ns(*texts: str) -> list[int]:
    values, bad = ns_of_us([text.encode() for text in texts])
    assert not bad.any()
    return values.tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("7", 7_000),
        ("1.5", 1_500),
        ("4558494720794.994", 4_558_494_720_794_994),
        ("1712195495519689.047", 1_712_195_495_519_689_047),  # a double is 47 ns off here
        ('"1736408883731508.790"', 1_736_408_883_731_508_790),
        ("1694128201435418", 1_694_128_201_435_418_000),
        ("-0.004", -4),
        ("1.2345", 1_235),
        ("1.0004999", 1_000),
        ("1.5e3", 1_500_000),
        ("2.5e-3", 3),
    ],
)
def test_a_number_becomes_whole_ns(text: str, expected: int) -> None:
    assert ns(text) == [expected]
    assert ns(text, "12", text) == [expected, 12_000, expected]


@pytest.mark.parametrize("text", ["null", '"abc"', "1,5", "9999999999999999", '""', "1.2.3", "nan", "[1]"])
def test_what_is_no_time_is_marked(text: str) -> None:
    values, bad = ns_of_us([b"5", text.encode(), b"6"])
    assert values.tolist() == [5_000, 0, 6_000]
    assert bad.tolist() == [False, True, False]


def test_nothing_gives_nothing() -> None:
    values, bad = ns_of_us([])
    assert len(values) == len(bad) == 0
    assert values.dtype == np.int64


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4_611_686_018_427_387 // 1_000), st.none() | st.text("0123456789", min_size=1, max_size=7)
        )
    )
)
def test_any_column_agrees_with_decimal(numbers: list[tuple[int, str | None]]) -> None:
    texts = [str(whole) if fraction is None else f"{whole}.{fraction}" for whole, fraction in numbers]
    exact = [int((Decimal(text) * 1000).to_integral_value(ROUND_HALF_UP)) for text in texts]
    assert ns(*texts) == exact


@given(st.integers(0, 2**61 // 1000), st.integers(0, 999))
def test_nineteen_digits_survive(us: int, thousandths: int) -> None:
    assert ns(f"{us}.{thousandths:03}") == [us * 1000 + thousandths]


def test_more_digits_than_any_number_has_are_no_time() -> None:
    values, bad = ns_of_us([b"1" * 2_000_000, b"1e999999999", b"1e-999999999", b"5"])
    assert values.tolist() == [0, 0, 0, 5_000]
    assert bad.tolist() == [True, True, False, False]
