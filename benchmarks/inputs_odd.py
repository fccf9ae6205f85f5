"""Trace files to break: one of our own recordings, and one as a GPU job leaves it; and what else lies at hand."""

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDING = "sample_traces/emulated-ddp-strong-n2-*/rank-00000/trace-*.json.gz"
LYING_ABOUT = ("kineto/**/*.json*", "ascend/**/*.json*", "horovod/**/*.json*")


def own_recording() -> bytes:
    """The text of a profiler file that this project recorded."""
    path = sorted(ROOT.glob(RECORDING))[0]
    return gzip.decompress(path.read_bytes())


def gpu_trace(folder: Path, dialect: str = "native") -> bytes:
    """The text of a computed trace of a GPU job, as torch.profiler writes it."""
    settings = ("--set", "steps=3", "--set", "gz=no", "--dialect", dialect, "--foreign")
    command = [sys.executable, "-m", "scaleprof", "synth", "ddp", "-q", "-o", str(folder / dialect), *settings]
    subprocess.run(command, check=True, capture_output=True)
    return sorted((folder / dialect).rglob("rank*.json"))[0].read_bytes()


def foreign_folder() -> Path | None:
    """The folder of traces of other tools, where there is one: `$SCALEPROF_TRACES`, else one beside the project."""
    folder = Path(os.environ.get("SCALEPROF_TRACES") or ROOT.parent / "shared" / "traces")
    return folder if folder.is_dir() else None


def foreign_files() -> Iterator[Path]:
    """The traces of other tools that lie at hand, those of Kineto, Ascend and Horovod."""
    folder = foreign_folder()
    for pattern in LYING_ABOUT if folder else ():
        yield from sorted(path for path in folder.glob(pattern) if path.is_file())  # type: ignore[union-attr]
