"""Values of a description, from text and back."""

from typing import Any

import pytest

from scaleprof.errors import OptionError
from scaleprof.synth.fields import check_range, check_type, check_word, parsed


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("8", int, 8),
        ("2.5", float, 2.5),
        ("no", bool, False),
        ("0,-3.5", tuple[float, ...], (0.0, -3.5)),
        ("3, 4", tuple[int, ...], (3, 4)),
        ("seq,sizes", tuple[str, ...], ("seq", "sizes")),
        ("", tuple[int, ...], ()),
    ],
)
def test_text_becomes_what_its_field_holds(text: str, kind: Any, value: Any) -> None:
    found = parsed("x", text, kind)
    assert (found, type(found)) == (value, type(value))
    check_type("x", found, kind)


def test_what_does_not_fit_is_one_sentence() -> None:
    with pytest.raises(OptionError, match="x must be whole numbers with commas between, not 'a'"):
        parsed("x", "a", tuple[int, ...])
    with pytest.raises(OptionError, match=r"x must be words with commas between, not \(1,\)"):
        check_type("x", (1,), tuple[str, ...])
    with pytest.raises(OptionError, match="x must lie between 1 and 1,000, not 0"):
        check_range("x", 0, 1, 1000)
    with pytest.raises(OptionError, match="x must be one of a, b, not 'c'"):
        check_word("x", "c", ("a", "b"))
