"""Every way in which a trace file is known to be broken or odd, in one table: `python -m benchmarks.odd`.

Each variant is made from a recording of this project and from a computed GPU trace, and read by `scaleprof analyze` as a process of its own.
The command fails where a stack trace is shown, where anything but "done" or "explained failure" is the exit code, or where a whole file reads
otherwise than its original.
"""

import gzip
import json
import re
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.inputs_odd import foreign_files, foreign_folder, gpu_trace, own_recording

Change = Callable[[bytes], bytes]
SECONDS = 120
_MB = 1 << 20
_COUNT = """
import sys
from pathlib import Path
from scaleprof.errors import ScaleprofError
from scaleprof.readers import find_runs, read_rank
try:
    (run,) = find_runs([Path(sys.argv[1])])
    trace = read_rank(next(iter(run.ranks.values())))
    print(len(trace.events), trace.extra.get("events_lost", 0))
except ScaleprofError as error:
    print("- -")
"""
_LOSS = re.compile(r"events lost|cut off|was left out|slowly|not readable|damaged")
_SAID = 110
"""Letters of a sentence that are shown."""


@dataclass(frozen=True)
class Outcome:
    """What came of one file."""

    name: str
    read: str
    lost: str
    exit_code: int
    said: str
    trouble: str = ""
    """Why this outcome is a fault of the program."""


def _in_name(text: bytes, what: bytes) -> bytes:
    """Something put into the name of an event in the middle of the file."""
    at = re.compile(rb'"name"\s*:\s*"[^"\\]{3}').search(text, len(text) // 2)
    assert at
    return text[: at.end()] + what + text[at.end() :]


def _in_event(text: bytes, pattern: bytes, replacement: bytes) -> bytes:
    """The first place of a pattern in the second half of the file, replaced."""
    found = re.compile(pattern).search(text, len(text) // 2)
    assert found, pattern
    return text[: found.start()] + found.expand(replacement) + text[found.end() :]


def _again(text: bytes, **options: object) -> bytes:
    return json.dumps(json.loads(text), **options).encode()  # type: ignore[arg-type]


def _large_event(text: bytes) -> bytes:
    return _in_event(text, rb'("args"\s*:\s*\{)', rb'\1"large": "' + b"x" * (4 * _MB) + rb'", ')


def _without_closers(text: bytes) -> bytes:
    return text[: text.rindex(b"}", 0, text.rindex(b"]"))] + b"}"


def _head(text: bytes) -> bytes:
    return text[: text.index(b"[", text.index(b'"traceEvents"')) + 1]


def _behind_last_event(text: bytes) -> int:
    return text.rindex(b"]") if b"traceName" not in text else text.rindex(b"]", 0, text.rindex(b'"traceName"'))


WHOLE: Mapping[str, Change] = {
    "as it is": lambda text: text,
    "compact": lambda text: _again(text, separators=(",", ":")),
    "indented by 1": lambda text: _again(text, indent=1),
    "indented by 4": lambda text: _again(text, indent=4),
    "sorted keys": lambda text: _again(text, sort_keys=True),
    "CRLF": lambda text: text.replace(b"\n", b"\r\n"),
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "trailing comma": lambda text: text[: _behind_last_event(text)] + b"," + text[_behind_last_event(text) :],
    "nan in args": lambda text: _in_event(text, rb'("args"\s*:\s*\{)', rb'\1"x": nan, '),
    "NaN in args": lambda text: _in_event(text, rb'("args"\s*:\s*\{)', rb'\1"x": NaN, '),
    "-Infinity in args": lambda text: _in_event(text, rb'("args"\s*:\s*\{)', rb'\1"x": -Infinity, '),
    "invalid UTF-8 in a name": lambda text: _in_name(text, b"\xff\xfe"),
    "unescaped quote in a name": lambda text: _in_name(text, b'a "quoted" word'),
    "bad escape in a name": lambda text: _in_name(text, rb"\q \x41"),
    "half a character in a name": lambda text: _in_name(text, rb"\ud83d"),
    "raw newline in a name": lambda text: _in_name(text, b"one\ntwo"),
    "zero byte in a name": lambda text: _in_name(text, b"\0"),
    "zero bytes at the end": lambda text: text + bytes(1 << 16),
    "an event of 4 MB": _large_event,
    "negative duration": lambda text: _in_event(text, rb'("dur"\s*:\s*)', rb"\1-"),
    "missing duration": lambda text: _in_event(text, rb'"dur"\s*:\s*[\d.]+\s*,', b""),
}
"""Nothing may be lost of these."""

LOSSY: Mapping[str, Change] = {
    "no closers": _without_closers,
    "cut at a quarter": lambda text: text[: len(text) // 4],
    "cut in the last event": lambda text: text[: _behind_last_event(text) - 20],
    "cut in the head": lambda text: text[:60],
    "cut behind the events": lambda text: text[: _behind_last_event(text) + 1],
    "zeros in the middle": lambda text: text[: len(text) // 2] + bytes(600) + text[len(text) // 2 + 600 :],
    "no number where the time is": lambda text: _in_event(text, rb'("ts"\s*:\s*)[\d.]+', rb'\1"soon"'),
    "a missing brace": lambda text: _in_event(text, rb"\}(\s*,\s*\{)", rb"\1"),
    "a brace too many": lambda text: _in_event(text, rb"\}(\s*,\s*\{)", rb"}}\1"),
    "an event of another kind": lambda text: _in_event(text, rb"\}(\s*,\s*\{)", rb"}, {}, 5, null\1"),
    "no traceEvents": lambda text: text.replace(b'"traceEvents"', b'"events"'),
    "empty": lambda text: b"",
    "only zeros": lambda text: bytes(len(text)),
    "only brackets": lambda text: _head(text) + b"[" * _MB,
    "only braces": lambda text: _head(text) + b"{" * _MB,
    "deep nesting": lambda text: _in_event(
        text, rb'("args"\s*:\s*\{)', rb'\1"x": ' + b"[" * 5000 + b"]" * 5000 + b", "
    ),
}

_CUT, _BURST, _BOMB_MB = 0.6, 16, 1200
_EVENT = (
    b'{"ph": "X", "cat": "cpu_op", "name": "again", "pid": 1, "tid": 1, "ts": 1, "dur": 1, "args": {"x": "%s"}},\n'
    % (b"x" * 2000)
)
COMPRESSED: Mapping[str, Change] = {
    "gzip": gzip.compress,
    "gzip, cut off": lambda text: gzip.compress(text)[: int(len(gzip.compress(text)) * _CUT)],
    "gzip, damaged": lambda text: _damaged(gzip.compress(text)),
    "gzip, wrong checksum": lambda text: gzip.compress(text)[:-8] + bytes(8),
    "gzip, followed by rubbish": lambda text: gzip.compress(text) + b"rubbish",
    "gzip bomb of blanks": lambda text: _bomb(text[:20_000], b" " * _MB),
    "gzip bomb of events": lambda text: _bomb(_head(text), _EVENT * (_MB // len(_EVENT))),
}


def _bomb(head: bytes, again: bytes) -> bytes:
    """More than a GB in a few MB."""
    squeeze = zlib.compressobj(9, wbits=31)
    parts = [squeeze.compress(head), *(squeeze.compress(again) for _ in range(_BOMB_MB)), squeeze.flush()]
    return b"".join(parts)


def _damaged(data: bytes) -> bytes:
    at = int(len(data) * _CUT)
    return data[:at] + bytes(255 - byte for byte in data[at : at + _BURST]) + data[at + _BURST :]


def outcome_of(name: str, path: Path, folder: Path) -> Outcome:
    """A file, analysed by a process as a user would, and its events counted by another."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    analyze = ["-m", "scaleprof", "analyze", str(path), "--json", str(report), "--no-cache", "-q"]
    try:
        done = _python(*analyze)
        counted = _python("-c", _COUNT, str(path))
    except subprocess.TimeoutExpired:
        return Outcome(name, "?", "?", -1, "", f"took more than {SECONDS} s")
    read, lost = counted.stdout.split() if counted.returncode == 0 else ("?", "?")
    said = done.stderr.strip().splitlines()[-1] if done.returncode and done.stderr.strip() else ""
    if report.exists():
        content = json.loads(report.read_text())
        caveats = [caveat for run in content["runs"] for caveat in run["caveats"]]
        said = next((caveat for caveat in caveats if _LOSS.search(caveat)), "")
    trouble = ""
    if "Traceback" in done.stderr + done.stdout + counted.stderr or done.returncode not in (0, 1):
        trouble = (done.stderr + counted.stderr).strip().splitlines()[-1]
    return Outcome(name, read, lost, done.returncode, said.replace(str(path), path.name), trouble)


def _python(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=SECONDS, check=False)


def variants_of(name: str, text: bytes, folder: Path) -> list[Outcome]:
    """Every variant of a text. Those that are whole must read as the original does."""
    outcomes = []
    for variants in (WHOLE, LOSSY, COMPRESSED):
        for variant, change in variants.items():
            path = folder / ("rank0.json.gz" if variants is COMPRESSED else "rank0.json")
            path.write_bytes(change(text))
            outcome = outcome_of(f"{name}: {variant}", path, folder)
            first = outcomes[0] if outcomes else outcome
            if variants is WHOLE and (outcome.read, outcome.lost, outcome.exit_code) != (first.read, "0", 0):
                outcome = Outcome(
                    **{**vars(outcome), "trouble": f"should read as the original does: {first.read} events"}
                )
            outcomes.append(outcome)
            _show(outcome)
            path.unlink()
    return outcomes


def _show(outcome: Outcome) -> None:
    said = outcome.said if len(outcome.said) <= _SAID else outcome.said[: _SAID - 1] + "…"
    row = f"{outcome.name[-60:]:60} {outcome.read:>7} {outcome.lost:>6} {outcome.exit_code:>4}  {said}"
    print(row + (f"\n    FAULT: {outcome.trouble}" if outcome.trouble else ""), flush=True)


def main() -> int:
    """Print the table; 0 where nothing in it is a fault."""
    print(f"{'file or variant':60} {'read':>7} {'lost':>6} {'exit':>4}  what is said")
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outcomes += variants_of("our recording", own_recording(), folder)
        outcomes += variants_of("GPU trace", gpu_trace(folder), folder)
        for path in foreign_files():
            outcomes.append(outcome_of(str(path.relative_to(foreign_folder() or path.parent)), path, folder))
            _show(outcomes[-1])
    faults = sum(1 for outcome in outcomes if outcome.trouble)
    print(f"{len(outcomes)} files, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
