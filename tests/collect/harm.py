"""What can go wrong while a job is recorded, as real processes that really end that way; `python -m tests.collect.harm` prints what became of each.

Every case runs twice, once with the recorder switched off: that is how the job ends by itself, and how it must end when recorded. One process
imports torch and forks the cases, which must not have used torch before.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import scaleprof
from tests.collect.harm_cases import CASES, NEEDS_MOUNT

ROOT = Path(__file__).parent.parent.parent
SMALL_DISK_BYTES = 200_000
NOISE = ("scaleprof:", "[", " ", "USDT:", "ERROR:")
"""How lines of the error output begin that do not say how a job ended: warnings, kineto's announcements, source lines."""


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    status: int
    """Exit code, negative for a signal."""
    output: str
    last_words: str
    """The last line of the error output that is no log line."""

    @property
    def alike(self) -> tuple[int, str, str]:
        """What two endings have in common if they are the same: the message of an error may name a port, and two ranks may take turns."""
        return self.status, "\n".join(sorted(self.output.splitlines())), self.last_words.partition(":")[0]


def _start(name: str, folder: Path, *, is_recorded: bool) -> tuple[int, list[Path]]:
    """Fork a process that runs the case in a folder; its output goes beside it, where no case fills the disk."""
    streams = [folder.with_suffix(suffix) for suffix in (".out", ".err")]
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _be_case(CASES[name], folder, streams, is_recorded=is_recorded)
    return child, streams


def _wait(child: int, streams: list[Path]) -> Ended:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    output, errors = (stream.read_text() for stream in streams)
    words = [line for line in errors.splitlines() if line.strip() and not line.startswith(NOISE)]
    return Ended(status, output, words[-1] if words else "")


def _be_case(case: Callable[[Path], None], folder: Path, streams: list[Path], *, is_recorded: bool) -> None:
    """The life of a process, with the end that Python would give it."""
    code = 1
    try:
        for number, stream in enumerate(streams, 1):
            os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.environ["SCALEPROF"] = "timeline" if is_recorded else "0"
        case(folder)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001  as Python does
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A small file system at a folder, and whether this process may mount one; its files are kept when it is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={SMALL_DISK_BYTES}".encode()
    if libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, options) != 0:
        yield False
        return
    try:
        yield True
        shutil.copytree(folder, folder.with_suffix(".kept"), ignore=shutil.ignore_patterns("filler"))
    finally:
        libc.umount2(bytes(folder), 2)
    folder.rmdir()
    folder.with_suffix(".kept").rename(folder)


def _preload() -> None:
    """Import what a training and a recording import when they begin: no case shall wait for it, and one may not read it any more."""
    import torch._dynamo
    import torch.distributed.fsdp
    import torch.profiler

    for file in sorted((ROOT / "scaleprof" / "collect").rglob("*.py")):
        importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    importlib.import_module("psutil")
    assert torch.profiler
    gc.freeze()  # the cases look for their model among the objects of their own, not among all of torch's


def run_all(folder: Path) -> dict[str, tuple[Ended, Ended] | None]:
    """Every case without and with the recorder, side by side; None for what this machine does not permit."""
    _preload()
    found: dict[str, tuple[Ended, Ended] | None] = {}
    for name in CASES:
        places = [place_of(folder, name) / kind for kind in ("bare", "recorded")]
        with contextlib.ExitStack() as disks:
            for place in places:
                place.mkdir(parents=True)
            if name in NEEDS_MOUNT and not all(disks.enter_context(small_disk(place)) for place in places):
                found[name] = None
                continue
            running = [_start(name, place, is_recorded=place.name == "recorded") for place in places]
            bare, recorded = (_wait(*one) for one in running)
            found[name] = bare, recorded
    return found


def place_of(folder: Path, name: str) -> Path:
    """The folder of a case."""
    return folder / f"{list(CASES).index(name):02d}"


def results(folder: Path) -> dict[str, tuple[Ended, Ended] | None]:
    """What `run_all` finds in a fresh process."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SCALEPROF")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.collect.harm", str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    found = json.loads((folder / "results.json").read_text())
    return {name: tuple(Ended(**one) for one in pair) if pair else None for name, pair in found.items()}


def readable(folder: Path) -> tuple[int | None, str]:
    """How many steps an analysis finds (of the rank with the fewest), and what it says is missing; None where there is nothing to read."""
    try:
        report = scaleprof.analyze([folder])
    except scaleprof.ScaleprofError as error:
        return None, str(error)
    lines = [[*rank.glob("steps*.jsonl")] for rank in folder.glob("**/rank-*")]
    steps = min(sum(file.read_bytes().count(b"\n") for file in files) for files in lines)
    said = [caveat for run in report.runs for caveat in run.caveats]
    return steps, "; ".join(said)


def table(folder: Path, found: Mapping[str, tuple[Ended, Ended] | None]) -> Iterator[str]:
    """One line a case, in Markdown."""
    yield "| case | how the job ended | as without us | what was readable afterwards |\n| --- | --- | --- | --- |"
    for name, pair in found.items():
        if pair is None:
            yield f"| {name} | not run: this machine permits no mount | | |"
            continue
        bare, ended = pair
        steps, said = readable(place_of(folder, name) / "recorded")
        how = f"exit code {ended.status}" if ended.status >= 0 else f"signal {signal.Signals(-ended.status).name}"
        how += f": {ended.last_words[:80]}" if ended.last_words else ""
        what = f"{steps} steps; {said}" if steps is not None else f"nothing: {said}"
        yield f"| {name} | {how} | {'yes' if bare.alike == ended.alike else 'NO'} | {what.replace(str(folder), '...')} |"


def main() -> None:
    """With a folder: run the cases in it, and write down how they ended. Without: print the table."""
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        found = run_all(folder)
        content = {name: [asdict(one) for one in pair] if pair else None for name, pair in found.items()}
        (folder / "results.json").write_text(json.dumps(content))
        return
    with tempfile.TemporaryDirectory() as place:
        for line in table(Path(place), results(Path(place))):
            print(line)  # noqa: T201


if __name__ == "__main__":
    main()
