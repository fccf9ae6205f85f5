"""Replace attributes for the time of a recording, and put them back exactly as they were."""

import inspect
from collections.abc import Callable
from typing import Any


class Patches:
    """Attributes replaced, to be undone in reverse order."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any, Any]] = []

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace `owner.name` by what `make` builds around it."""
        original = getattr(owner, name)
        # What the class holds, not what getattr gives: for a pybind11 method the two differ, and restoring the latter breaks it for good.
        held = inspect.getattr_static(owner, name)
        replacement = make(original)
        setattr(owner, name, replacement)
        self._undo.append((owner, name, held, replacement))

    def undo(self) -> None:
        """Put everything back that is still ours; what somebody wrapped again stays, and our wrapper then only passes on."""
        while self._undo:
            owner, name, held, replacement = self._undo.pop()
            if inspect.getattr_static(owner, name) is replacement:
                setattr(owner, name, held)
