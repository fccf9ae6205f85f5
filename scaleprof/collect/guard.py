"""The one fence between the recorder and the training job: what fails here becomes one warning of its kind, never an error of the job."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

log = logging.getLogger("scaleprof")

Answer = TypeVar("Answer")


class Guard:
    """Runs the recorder's own code and keeps what went wrong, each kind once."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, str]] = {}

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Code whose failure must not reach the job; `what` says in words what is then missing from the recording."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  the fence
            self.warn(what, f"{type(error).__name__}: {error}")

    def call(self, what: str, function: Callable[[], Answer], otherwise: Answer) -> Answer:
        """The function's answer, or `otherwise` where it fails."""
        answer = otherwise
        with self.on(what):
            answer = function()
        return answer

    def warn(self, what: str, reason: str) -> None:
        """Keep a warning; the first of its kind is also logged."""
        count, first = self._seen.get(what, (0, reason))
        self._seen[what] = (count + 1, first)
        if not count:
            log.warning("scaleprof: %s (%s); the training goes on", what, reason)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence per kind."""
        return tuple(
            f"{what} ({first})" + (f", {count} times" if count > 1 else "")
            for what, (count, first) in self._seen.items()
        )
