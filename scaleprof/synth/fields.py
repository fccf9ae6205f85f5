"""Values of a description: from the words of a command line to the type of their field, and what is said about values that do not fit."""

from typing import Any, get_args, get_origin

from scaleprof.errors import OptionError

_YES_OR_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parsed(name: str, text: str, kind: Any) -> Any:
    """A value from the command line in the type of its field."""
    try:
        if kind is bool:
            return _YES_OR_NO[text.lower()]
        if get_origin(kind) is tuple:
            return tuple(get_args(kind)[0](part.strip()) for part in text.split(",") if part.strip())
        return kind(text)
    except (ValueError, KeyError) as error:
        raise OptionError(f"{name} must be {_spoken(kind)}, not {text!r}") from error


def check_type(name: str, value: Any, kind: Any) -> None:
    """Raise an OptionError unless the value is of the type of its field."""
    if not _is(value, kind):
        raise OptionError(f"{name} must be {_spoken(kind)}, not {value!r}")


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Raise an OptionError unless a number lies within its bounds, both included."""
    if not least <= value <= most:
        raise OptionError(f"{name} must lie between {least:,.12g} and {most:,.12g}, not {value:,.12g}")


def check_word(name: str, value: str, words: tuple[str, ...]) -> None:
    """Raise an OptionError unless a word is one of those there are."""
    if value not in words:
        raise OptionError(f"{name} must be one of {', '.join(words)}, not {value!r}")


def _spoken(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"{_SEVERAL[get_args(kind)[0]]} with commas between"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}[kind]


_SEVERAL = {int: "whole numbers", float: "numbers", str: "words"}


def _is(value: Any, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is(part, get_args(kind)[0]) for part in value)
    if kind is float:  # not NaN, not infinite
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
