"""Thresholds of analyses as a user sets them: `scaling.target = 0.9`."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from scaleprof.analyses import OPTIONS
from scaleprof.errors import OptionError


def thresholds_of(settings: Sequence[tuple[str, str]]) -> dict[type, Any]:
    """One instance of every options dataclass, with the settings in it."""
    values: dict[str, dict[str, float]] = {name: {} for name in OPTIONS}
    fields = ((name, field) for name, kind in OPTIONS.items() for field in dataclasses.fields(kind))
    known = [f"{name}.{field.name}" for name, field in fields if field.type is float]
    for key, text in settings:
        if key not in known:
            raise OptionError(f"there is no setting {key!r}; there are: {', '.join(known)}")
        name, field = key.split(".")
        try:
            values[name][field] = float(text)
        except ValueError as error:
            raise OptionError(f"setting {key} must be a number, not {text!r}") from error
    return {kind: kind(**values[name]) for name, kind in OPTIONS.items()}
