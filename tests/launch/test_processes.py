"""Running commands: lines as they come, and nothing left behind."""

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from scaleprof.errors import LaunchError
from scaleprof.launch.processes import run_command


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_lines_and_the_exit_code_come_back() -> None:
    lines: list[str] = []
    code = "import sys; print('one'); print('zwei \\u00e4'); print('three', end=''); sys.stderr.write('!'); sys.exit(3)"
    ended = run_command(python(code), environment={**os.environ, "PYTHONIOENCODING": "utf8"}, on_line=lines.append)
    assert ended.exit_code == 3
    assert sorted("".join(lines)) == sorted("onezwei äthree!")
    assert ended.last_lines == tuple(lines)


def test_only_the_last_lines_are_kept() -> None:
    ended = run_command(python("for i in range(100): print(i)"), environment=os.environ)
    assert ended.last_lines == tuple(str(i) for i in range(80, 100))


def test_a_line_comes_before_the_command_ends() -> None:
    seen: list[float] = []
    run_command(
        python("import time; print('now', flush=True); time.sleep(0.5)"),
        environment=os.environ,
        on_line=lambda line: seen.append(time.monotonic()),
    )
    assert time.monotonic() - seen[0] > 0.3


def test_something_left_in_the_background_does_not_hold_us_up() -> None:
    began = time.monotonic()
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '30']).pid)"
    ended = run_command(python(code), environment=os.environ)
    took_s = time.monotonic() - began
    os.kill(int(ended.last_lines[0]), signal.SIGKILL)  # the test started it
    assert took_s < 10


def test_an_interruption_ends_the_command_and_all_it_started(tmp_path: Path) -> None:
    # The grandchild has a session of its own, as torchrun's workers do.
    inner = "import time; time.sleep(60)"
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {inner!r}], start_new_session=True)\n"
    code += "print(p.pid, flush=True); p.wait()"
    seen: list[int] = []

    def interrupt(line: str) -> None:
        seen.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_command(python(code), environment=os.environ, on_line=interrupt)
    deadline = time.monotonic() + 5
    while psutil.pid_exists(seen[0]) and psutil.Process(seen[0]).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_command_that_does_not_exist_is_explained() -> None:
    with pytest.raises(LaunchError, match="no-such-program cannot be started"):
        run_command(["no-such-program"], environment=os.environ)


@pytest.mark.parametrize("code", ["import time; time.sleep(60)", "while True: print('on and on')"])
def test_a_command_that_takes_too_long_is_ended(code: str) -> None:
    began = time.monotonic()
    with pytest.raises(LaunchError, match=r"did not end within 0\.5 s"):
        run_command(python(code), environment=os.environ, timeout_s=0.5)
    assert time.monotonic() - began < 8
