"""Makes the traces that are measured, once: they stay in `build/bench` until their description changes.

Most are computed by `scaleprof synth`; `recorded` is a recording of our own, repeated (`recorded.py`). The computed job is the built-in `large`:
per step and rank 5 MB, half of it what stack recording adds (Python frames, memory events), half operators, launches, kernels and the arrows
between them. About half of all events are complete ones, which become rows.
"""

import argparse
import dataclasses
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import BUILD

if TYPE_CHECKING:
    from scaleprof.synth.spec import Spec

RECORDED = "recorded"
"""Stands for a dialect: a recording of our own, repeated."""
_ABOUT = "about.json"
_PIECE_BYTES = 1 << 22
_PHASE, _COMPLETE = b'"ph": "', b'"ph": "X"'
_KIND = "large"
_COMPRESSION = 4  # as the recorder's files


@dataclass(frozen=True)
class Input:
    """One job's trace files, plain and compressed, and what they hold over all ranks."""

    folder: Path
    ranks: int
    text_bytes: int
    """JSON text, before compression."""
    packed_bytes: int
    events: int
    rows: int
    """Complete events: those that have a duration."""

    @property
    def plain(self) -> list[Path]:
        """The `.json` files by rank."""
        return sorted((self.folder / "json").iterdir())

    @property
    def packed(self) -> list[Path]:
        """The `.json.gz` files by rank."""
        return sorted((self.folder / "gz").iterdir())

    @property
    def mb(self) -> float:
        """Megabytes (1e6) of JSON text, all ranks."""
        return self.text_bytes / 1e6

    def __str__(self) -> str:
        ranks = "" if self.ranks == 1 else f"{self.ranks} ranks, "
        return (
            f"{ranks}{self.mb:,.0f} MB of JSON ({self.packed_bytes / 1e6:,.0f} MB compressed), {self.events:,} events of "
            f"{self.text_bytes / self.events:.0f} bytes, {self.rows:,} of them rows"
        )


def made(megabytes: int, *, ranks: int = 1, dialect: str = "native") -> Input:
    """The input, which is made first where it is not there. Making it happens in another process, so that this one stays small."""
    words = ["--megabytes", str(megabytes), "--ranks", str(ranks), "--dialect", dialect]
    subprocess.run([sys.executable, __file__, *words], check=True)
    folder = _folder(megabytes, ranks, dialect)
    about = json.loads((folder / _ABOUT).read_text())
    return Input(folder, ranks, about["text_bytes"], about["packed_bytes"], about["events"], about["rows"])


def _folder(megabytes: int, ranks: int, dialect: str) -> Path:
    return BUILD / "inputs" / f"{dialect}-{ranks}x{megabytes}"


def make(megabytes: int, ranks: int, dialect: str) -> None:
    """Write the files, unless those that are there were made from the same description."""
    BUILD.mkdir(parents=True, exist_ok=True)
    spec = _spec(megabytes, ranks, dialect) if dialect != RECORDED else None
    described = json.loads(json.dumps(dataclasses.asdict(spec) if spec else {"megabytes": megabytes}))
    folder = _folder(megabytes, ranks, dialect)
    if (folder / _ABOUT).exists() and json.loads((folder / _ABOUT).read_text())["spec"] == described:
        return
    shutil.rmtree(folder, ignore_errors=True)
    print(f"making {folder.relative_to(BUILD.parent.parent)} ...", file=sys.stderr, flush=True)
    packed, plain = folder / "gz", folder / "json"
    packed.mkdir(parents=True)
    plain.mkdir()
    if spec:
        _compute(spec, packed)
    else:
        _repeat(megabytes, packed / "rank-00000.pt.trace.json.gz")
    counts = [_inflated(file, plain / file.name.removesuffix(".gz")) for file in sorted(packed.iterdir())]
    text_bytes, events, rows = (sum(column) for column in zip(*counts, strict=True))
    about = {
        "text_bytes": text_bytes,
        "packed_bytes": sum(file.stat().st_size for file in packed.iterdir()),
        "events": events,
        "rows": rows,
        "spec": described,
    }
    (folder / _ABOUT).write_text(json.dumps(about, indent=2))


def _spec(megabytes: int, ranks: int, dialect: str) -> "Spec":
    """A job of which each rank's file has about that size: a short one is written to see how large a step is."""
    # Not above: whoever only asks for an input should not carry numpy.
    from scaleprof.synth.spec import BUILT_IN, Spec
    from scaleprof.synth.writing import write_job

    spec = Spec(**{**BUILT_IN[_KIND], "dialect": dialect, "gz": False, "steps": 1})
    with tempfile.TemporaryDirectory(dir=BUILD) as name:
        (trace,) = write_job(spec, Path(name), foreign=True).glob("*.trace.json")
        step_bytes = trace.stat().st_size / 2  # there is always one step more than is asked for
    return dataclasses.replace(
        spec,
        gz=True,
        steps=max(1, round(megabytes * 1e6 / step_bytes) - 1),
        ranks=max(ranks, spec.ranks),
        ranks_written=1 if ranks == 1 else 0,
    )


def _compute(spec: "Spec", folder: Path) -> None:
    from scaleprof.synth.writing import write_job

    with tempfile.TemporaryDirectory(dir=BUILD) as name:
        for file in write_job(spec, Path(name), foreign=True).glob("*.trace.json.gz"):
            file.replace(folder / file.name)


def _repeat(megabytes: int, path: Path) -> None:
    from recorded import texts

    with gzip.open(path, "wb", compresslevel=_COMPRESSION) as file:
        for text in texts(BUILD.parent.parent, megabytes):
            file.write(text)


def _inflated(packed: Path, plain: Path) -> tuple[int, int, int]:
    """Writes the text of a compressed file beside it; its bytes, events and complete events."""
    from isal import igzip

    size = events = rows = 0
    rest = b""
    opened: Any = igzip.open  # it has no types
    with opened(packed, "rb") as source, plain.open("wb") as target:
        while piece := source.read(_PIECE_BYTES):
            target.write(piece)
            size += len(piece)
            # What a boundary cuts in two is counted with the next piece; what was counted whole is shorter than what is kept.
            text = rest + piece
            cut = text.rfind(b"{")
            events += text.count(_PHASE, 0, cut)
            rows += text.count(_COMPLETE, 0, cut)
            rest = text[cut:]
    return size, events + rest.count(_PHASE), rows + rest.count(_COMPLETE)


def main() -> None:
    """Make one input."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=50, help="JSON text of each rank")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument(
        "--dialect", default="native", help=f"how the text is laid out: see `scaleprof synth --help`; or {RECORDED}"
    )
    given = parser.parse_args()
    make(given.megabytes, given.ranks, given.dialect)


if __name__ == "__main__":
    main()
