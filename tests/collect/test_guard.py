"""The fence holds whatever is thrown at it, and lets through what is the training's own."""

import logging
import signal
import time
from collections.abc import Iterator

import pytest

from scaleprof.collect.guard import MOST_KINDS, MOST_LETTERS, Guard


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [ValueError("no"), MemoryError(), RecursionError(), StopIteration(1), Unspeakable()])
def test_an_error_of_ours_becomes_a_warning(error: Exception) -> None:
    guard = Guard()
    with guard.on("something is missing"):
        raise error
    (warning,) = guard.warnings
    assert warning.startswith(f"something is missing ({type(error).__name__}")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_an_end_of_the_job_passes_through(error: BaseException) -> None:
    with pytest.raises(type(error)), Guard().on("something is missing"):
        raise error


def test_each_kind_is_said_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard()
    for number in range(3):
        with guard.on("something is missing"):
            raise ValueError(number)
    assert guard.warnings == ("something is missing (ValueError: 0), 3 times",)
    assert caplog.text.count("the training goes on") == 1


def test_what_went_wrong_takes_little_memory() -> None:
    guard = Guard()
    for number in range(10 * MOST_KINDS):
        guard.warn(f"thing {number}", "x" * 10_000)
    assert len(guard.warnings) == MOST_KINDS
    assert max(map(len, guard.warnings)) < MOST_LETTERS + 50


@pytest.fixture
def raising_handler() -> Iterator[None]:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the log server is gone")

    handler, log = Handler(), logging.getLogger("scaleprof")
    log.addHandler(handler)
    yield
    log.removeHandler(handler)


@pytest.mark.usefixtures("raising_handler")
def test_a_log_handler_that_raises_harms_nobody() -> None:
    guard = Guard()
    with guard.on("something is missing"):
        raise ValueError("no")
    assert len(guard.warnings) == 1


class Watchdog:
    """As training scripts have them: a time limit that raises wherever the process is."""

    def bite(self, *_: object) -> None:
        raise TimeoutError("the step took too long")


def test_an_exception_of_a_signal_handler_is_the_trainings_own() -> None:
    guard = Guard()
    before = signal.signal(signal.SIGALRM, Watchdog().bite)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        with pytest.raises(TimeoutError, match="took too long"), guard.on("something is missing"):
            time.sleep(5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not guard.warnings
