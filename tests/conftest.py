"""What every test promises: it leaves no thread, process or profiler running behind it."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")
_HELPERS = ("resource_tracker", "--type=")
"""In the command lines of processes that come and go by themselves: multiprocessing's helper, what a running Chromium starts."""
_ALONE = ("collect", "launch", "gpu", "horovod", "tensorflow", "test_cli.py", "test_project.py", "test_readme.py")
_PATIENCE_S = 15.0
"""Threads and processes that were told to end may take this long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that record jobs have the machine for themselves; the others may run side by side (pytest-xdist)."""
    for item in items:
        place = item.path.relative_to(Path(__file__).parent).parts[0]
        if place in _ALONE:
            item.add_marker(pytest.mark.alone)


@pytest.fixture(scope="session")
def foreign_traces() -> Path:
    """The folder of other people's traces: `$SCALEPROF_TRACES`, else one beside the project; without either the test is skipped, visibly."""
    stated = os.environ.get("SCALEPROF_TRACES")
    folder = Path(stated) if stated else Path(__file__).parents[2] / "shared" / "traces"
    if not (folder / "kineto").is_dir():
        pytest.skip("no foreign traces here: set SCALEPROF_TRACES to their folder")
    return folder


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds what another one, or the user, has read before."""
    monkeypatch.setenv("SCALEPROF_CACHE", "0")


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    threads, processes = _threads(), _processes()
    yield
    assert _settles(lambda: _threads() - threads), f"threads left running: {_threads() - threads}"
    assert _settles(lambda: _processes() - processes), f"processes left running: {_processes() - processes}"
    assert sys.getprofile() is None, "a profile function was left installed"
    torch = sys.modules.get("torch")
    if torch is not None:
        assert not torch._C._autograd._profiler_enabled(), "torch's profiler was left running"
        assert not torch.distributed.is_available() or not torch.distributed.is_initialized(), (
            "a process group was left"
        )


def _settles(left: Callable[[], set[object]]) -> bool:
    deadline = time.monotonic() + _PATIENCE_S
    while left():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _threads() -> set[object]:
    return {thread for thread in threading.enumerate() if thread.is_alive()}


def _processes() -> set[object]:
    """Children and their children, but for helpers. A browser that was left running is found: its first process is none of its helpers."""
    found: set[object] = set()
    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and not any(helper in command for helper in _HELPERS):
                found.add(process)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture
def repository() -> Path:
    """The folder of the project."""
    return Path(__file__).parent.parent
