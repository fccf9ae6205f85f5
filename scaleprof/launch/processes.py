"""Run a command, hand on its lines as they come, and never leave a process of it behind."""

import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from scaleprof.errors import LaunchError

_LAST_LINES = 20
_GRACE_S = 10.0
"""What a job gets to end by itself when it is interrupted: torchrun ends its workers in this time, and the recorder writes."""
_SILENCE_S = 0.5
"""A pipe that is still open this long after its process has ended is held by something the job left behind."""
_CHUNK_BYTES = 65536


@dataclass(frozen=True)
class Ended:
    """How a command ended, with the last lines it wrote."""

    exit_code: int
    last_lines: tuple[str, ...]


def run_command(
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    on_line: Callable[[str], None] | None = None,
    timeout_s: float | None = None,
) -> Ended:
    """Run a command to its end; its output and errors come line by line. An interruption ends it and everything it started.

    So does `timeout_s`, which is a LaunchError.
    """
    last: deque[str] = deque(maxlen=_LAST_LINES)
    try:
        # A session of its own: an interruption from the keyboard reaches us first, and we end the job in order.
        process = subprocess.Popen(
            words,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise LaunchError(f"{words[0]} cannot be started: {error.strerror}") from error
    with process:
        try:
            for line in _lines(process, timeout_s):
                last.append(line)
                if on_line:
                    on_line(line)
            process.wait()
        finally:
            _end(process)
    return Ended(process.returncode, tuple(last))


def _lines(process: "subprocess.Popen[bytes]", timeout_s: float | None) -> Iterator[str]:
    """The lines of a process, until it has ended and said all it had to say."""
    assert process.stdout is not None
    pipe, rest = process.stdout.fileno(), b""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        if deadline is not None and time.monotonic() > deadline:
            raise LaunchError(f"did not end within {timeout_s:g} s")
        ready, _, _ = select.select([pipe], [], [], _SILENCE_S)
        if not ready:
            if process.poll() is not None:
                break
            continue
        chunk = os.read(pipe, _CHUNK_BYTES)
        if not chunk:
            break
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip("\r")
    if rest:
        yield rest.decode(errors="replace")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a command that still runs, and its descendants: torchrun's workers have sessions of their own, a signal to its group misses them."""
    if process.poll() is not None:
        return
    try:
        descendants = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        descendants = []
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for descendant in descendants:
        with suppress(
            psutil.NoSuchProcess
        ):  # psutil compares start times: a number that was given to someone else is not killed
            descendant.kill()
