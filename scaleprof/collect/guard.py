"""The one fence between the recorder and the training job: what fails here becomes one warning of its kind, never an error of the job."""

import logging
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

log = logging.getLogger("scaleprof")

Answer = TypeVar("Answer")

MOST_KINDS = 100
"""Different things that can be missing: a job of weeks must not fill the memory with what went wrong."""
MOST_LETTERS = 300
"""Of a reason."""


class Guard:
    """Runs the recorder's own code and keeps what went wrong, each kind once."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, str]] = {}

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Code whose failure must not reach the job; `what` says in words what is then missing from the recording."""
        try:
            yield
        except Exception as error:  # the fence
            if _is_of_a_signal_handler(error):
                raise
            self.warn(what, in_words(error))

    def call(self, what: str, function: Callable[[], Answer], otherwise: Answer) -> Answer:
        """The function's answer, or `otherwise` where it fails."""
        answer = otherwise
        with self.on(what):
            answer = function()
        return answer

    def warn(self, what: str, reason: str) -> None:
        """Keep a warning; the first of its kind is also logged."""
        count, first = self._seen.get(what, (0, reason[:MOST_LETTERS]))
        if not count and len(self._seen) >= MOST_KINDS:
            return
        self._seen[what] = (count + 1, first)
        if not count:
            with suppress(Exception):  # the job's own log handlers may raise
                log.warning("scaleprof: %s (%s); the training goes on", what, first)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence per kind."""
        return tuple(
            f"{what} ({first})" + (f", {count} times" if count > 1 else "")
            for what, (count, first) in list(self._seen.items())  # the sampler's thread may add one meanwhile
        )


def _is_of_a_signal_handler(error: BaseException) -> bool:
    """Whether a signal handler of the training's raised this, such as a watchdog's: it may run in the middle of our own code."""
    handlers = (signal.getsignal(number) for number in signal.valid_signals())
    codes = {getattr(handler, "__code__", None) for handler in handlers if callable(handler)} - {None}
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def in_words(error: BaseException) -> str:
    """Kind and message of an error; of the user's own kinds not every one can be put in words."""
    kind = type(error).__name__
    with suppress(Exception):
        return f"{kind}: {error}"[:MOST_LETTERS]
    return kind
