"""The demo: record a small real study here, without a GPU, or take the one that travels with the package where torch is missing."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scaleprof.errors import BrokenFile, LaunchError
from scaleprof.launch.network import refusal
from scaleprof.launch.processes import run_command
from scaleprof.run import RUN_FILE, read_run_info

PACKAGED_STUDY = Path(__file__).parent / "demo_study"
NAME = "scaleprof-demo"
STEPS = 14
STEP_MS = 300.0
"""Shorter than in the recorded samples, so that the demo takes about a minute."""
GRADIENT_MB = 4.8
LINK = "200mbit"


@dataclass(frozen=True)
class Demo:
    """A study to analyze, and where it comes from."""

    runs: tuple[Path, ...]
    origin: str


def record_demo(out: Path, *, on_line: Callable[[str], None] | None = None) -> Demo:
    """A small data-parallel study, strong and weak, at 1, 2 and 4 ranks; earlier recordings of the demo in `out` are replaced."""
    if importlib.util.find_spec("torch") is None:
        return Demo(
            (PACKAGED_STUDY,), "torch is not installed, so this is a study that was recorded on another machine"
        )
    for earlier in _recorded(out):
        shutil.rmtree(earlier)
    link = "" if refusal() else LINK
    settings = ["--steps", str(STEPS), "--step-ms", str(STEP_MS), "--gradient-mb", str(GRADIENT_MB), "--link", link]
    words = [sys.executable, "-m", "scaleprof.launch.study", "--out", str(out), "--name", NAME, *settings]
    ended = run_command(words, environment=os.environ, on_line=lambda line: _pass_on(line, on_line))
    if ended.exit_code != 0:
        raise LaunchError("the demo could not be recorded:" + "".join(f"\n  {line}" for line in ended.last_lines))
    network = f"a network of {link} between namespaces" if link else "the loopback interface"
    return Demo(_recorded(out), f"recorded here just now: compute emulated, communication real, over {network}")


def _pass_on(line: str, on_line: Callable[[str], None] | None) -> None:
    """Hand on a line, unless it is one that torch's profiler writes each time it starts or stops."""
    if on_line and not line.startswith("USDT:"):
        on_line(line)


def _recorded(out: Path) -> tuple[Path, ...]:
    """The run folders in `out` that the demo recorded: whatever else lies there is not touched."""
    found = []
    for file in sorted(out.glob(f"*/{RUN_FILE}")):
        with suppress(BrokenFile):
            if (read_run_info(file).series or "").startswith(f"{NAME}-"):
                found.append(file.parent)
    return tuple(found)
