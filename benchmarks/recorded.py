"""A recording of this project made long: its text repeated, each copy later than the one before, with ids of its own.

A job on CPUs differs from one on GPUs: no launches and kernels, most events are spans of gloo, and each says what it sent.
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

RECORDING = "sample_traces/emulated-ddp-strong-n2-b08fb9a1/rank-00000"
_OPENING = b'"traceEvents": ['
_CHANGING = re.compile(rb'"(?:ts|External id|Ev Idx)": ([0-9.]+)')
_GAP_NS = 1_000_000


def texts(root: Path, megabytes: int) -> Iterator[bytes]:
    """The parts of a trace file of about that size; the project's folder is `root`."""
    (path,) = (root / RECORDING).glob("*.json.gz")
    text = gzip.decompress(path.read_bytes())
    start, end = text.index(_OPENING) + len(_OPENING), text.rindex(b"]")
    head, events, tail = text[:start], text[start:end].rstrip(), text[end:]
    parts = _CHANGING.split(events)
    places = [found.span(1) for found in _CHANGING.finditer(events)]
    fixed, last = list[bytes](), 0
    for begin, stop in places:
        fixed.append(events[last:begin])
        last = stop
    values = parts[1::2]
    times = [_thousandths(value) for value in values if b"." in value]
    ids = [int(value) for value in values if b"." not in value]
    longer_ns, more = max(times) - min(times) + _GAP_NS, max(ids) + 1
    yield head
    for copy in range(max(1, round(megabytes * 1e6 / len(events)))):
        if copy:
            yield b","
        for before, value in zip(fixed, values, strict=True):
            yield before
            yield _later(value, copy * longer_ns, copy * more)
        yield events[last:]
    yield b"\n  " + tail


def _later(value: bytes, by_ns: int, by: int) -> bytes:
    if b"." not in value:
        return b"%d" % (int(value) + by)
    us, ns = divmod(_thousandths(value) + by_ns, 1000)
    return b"%d.%03d" % (us, ns)


def _thousandths(value: bytes) -> int:
    """A time in us with three decimals as whole ns."""
    return int(value.replace(b".", b""))
