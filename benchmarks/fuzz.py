"""Trace files broken at random, for as long as one likes: `make fuzz`, or `python -m benchmarks.fuzz SECONDS [SEED]`.

Each input is read in a process of its own, with a bound on its time and on its memory. An input that crashes, hangs or grows is kept in
`build/fuzz/`, and its seed is printed: `python -m benchmarks.fuzz 0 SEED` makes and reads that one again.
"""

import gzip
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.inputs_odd import ROOT, foreign_files, gpu_trace, own_recording

KEPT = ROOT / "build" / "fuzz"
SECONDS_EACH = 20
MOST_MEGABYTES = 400
"""What reading one of these inputs, all of a few MB, may add to the memory of a process."""
ADDRESS_SPACE = 8 << 30
_SMALL_SHARE = 0.7
_LARGEST_SEED = 6 << 20
DIALECTS = ("native", "oneline2026", "compact", "sorted", "old2022")
TOKENS = (
    b'{"ph"', b'},{"ph":"X"', b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"nan", b"NaN", b"-Infinity", b"null", b"1e999", b"-1",
    b"99999999999999999999", b"0.0000001", b"\0", b"\xff", b"\xef\xbb\xbf", b"\r\n", b"\\u", b"\\ud800", b'"ts":', b'"dur":', b'"ph":"M",',
    b'"traceEvents":[', b'"args":{', b'"correlation":', b"[" * 2000, b"}" * 500, b'"' * 300, b" " * 3000, b'"name":"ProfilerStep#', b"9" * 5000,
)  # fmt: skip
Mutation = Callable[[random.Random, bytearray], None]


def _span(dice: random.Random, text: bytearray) -> tuple[int, int]:
    """A place, and one at or behind it; most lie near."""
    start = dice.randrange(len(text) + 1)
    return start, min(len(text), start + int(dice.paretovariate(0.5)) % 100_000)


def _flip(dice: random.Random, text: bytearray) -> None:
    for _ in range(dice.randint(1, 30)):
        if text:
            text[dice.randrange(len(text))] = dice.randrange(256)


def _insert(dice: random.Random, text: bytearray) -> None:
    for _ in range(dice.randint(1, 10)):
        start, _ = _span(dice, text)
        text[start:start] = dice.choice(TOKENS)


def _remove(dice: random.Random, text: bytearray) -> None:
    start, end = _span(dice, text)
    del text[start:end]


def _repeat(dice: random.Random, text: bytearray) -> None:
    start, end = _span(dice, text)
    text[start:start] = text[start:end] * dice.randint(1, max(1, min(50, 1_000_000 // (end - start + 1))))


def _swap(dice: random.Random, text: bytearray) -> None:
    start, end = _span(dice, text)
    other, last = _span(dice, text)
    text[start:end] = text[other:last]


def _cut(dice: random.Random, text: bytearray) -> None:
    del text[dice.randrange(len(text) + 1) :]


def _numbers(dice: random.Random, text: bytearray) -> None:
    """Another thing in place of what follows a colon."""
    for _ in range(dice.randint(1, 10)):
        colon = text.find(b":", dice.randrange(len(text) + 1))
        if colon >= 0:
            end = min((at for at in (text.find(b",", colon), text.find(b"}", colon)) if at >= 0), default=len(text))
            text[colon + 1 : end] = dice.choice(TOKENS)


MUTATIONS: tuple[Mutation, ...] = (_flip, _insert, _remove, _repeat, _swap, _cut, _numbers, _numbers, _insert, _flip)


def made(seed: int, texts: list[bytes]) -> bytes:
    """The input of a seed."""
    dice = random.Random(seed)
    text = bytearray(dice.choice(texts))
    if dice.random() < _SMALL_SHARE:  # what is small is read often
        at, size = dice.randrange(len(text)), dice.randrange(1_000, 200_000)
        text = text[: size // 2] + text[at : at + size]
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        dice.choice(MUTATIONS)(dice, text)
    if dice.random() < 0.2:
        text = bytearray(gzip.compress(bytes(text), 1))
        if dice.random() < 0.7 and len(text):
            dice.choice((_flip, _remove, _cut, _repeat))(dice, text)
    return bytes(text)


def read(path: Path, answer: Connection) -> None:
    """Read a file as the analysis does; the answer is a fault in words, or nothing."""
    from scaleprof.errors import ScaleprofError
    from scaleprof.readers import find_runs, read_rank

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    before = _most_megabytes()
    fault, events = "", 0
    try:
        for run in find_runs([path]):
            for files in run.ranks.values():
                events += len(read_rank(files).events)
    except ScaleprofError:
        pass  # refused with a sentence
    except BaseException:  # noqa: BLE001  # to be told, whatever it is
        fault = traceback.format_exc()
    grown = _most_megabytes() - before
    if not fault and grown > MOST_MEGABYTES:
        fault = f"grew by {grown:,.0f} MB"
    answer.send((fault, grown, events))


def _most_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def outcome_of(path: Path) -> tuple[str, float, int]:
    """What is wrong with how a file is read, if anything is, by how many MB the process grew, and how many events there were."""
    # A fork: what it imports is there already, so that it takes milliseconds.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=read, args=(path, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(SECONDS_EACH):
            return f"took more than {SECONDS_EACH} s", 0.0, 0
        return ours.recv()  # type: ignore[no-any-return]
    except EOFError:
        process.join()
        return f"died with exit code {process.exitcode}", 0.0, 0
    finally:
        process.kill()
        process.join()


def main(words: list[str]) -> int:
    """Try inputs until the time is up; 0 where none of them did harm."""
    import scaleprof.readers  # noqa: F401  # once, for all children

    seconds = float(words[0]) if words else 60.0
    only = [int(words[1])] if len(words) > 1 else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = [own_recording(), *(gpu_trace(folder, dialect) for dialect in DIALECTS)]
        texts += [data for path in foreign_files() if (data := _text_of(path))]
        first = only[0] if only else random.SystemRandom().randrange(1 << 40)
        print(f"{len(texts)} files to break; seeds from {first} on")
        start, tried, some, faults, most, slowest = time.monotonic(), 0, 0, 0, 0.0, 0.0
        while (time.monotonic() - start < seconds) if only is None else tried < 1:
            seed = first + tried
            path = folder / ("rank0.json.gz" if seed % 2 else "rank0.json")
            path.write_bytes(made(seed, texts))
            began = time.monotonic()
            fault, grown, events = outcome_of(path)
            most, slowest = max(most, grown), max(slowest, time.monotonic() - began)
            tried, some = tried + 1, some + (events > 0)
            if fault:
                faults += 1
                KEPT.mkdir(parents=True, exist_ok=True)
                (KEPT / f"{seed}{path.suffix}").write_bytes(path.read_bytes())
                print(f"seed {seed}: {fault.strip()}", flush=True)
    spent = f"at most {most:,.0f} MB and {slowest:.1f} s each"
    print(
        f"{tried:,} inputs in {time.monotonic() - start:,.0f} s, {some:,} of them with events, {faults} faults; {spent}"
    )
    return 1 if faults else 0


def _text_of(path: Path) -> bytes:
    data = path.read_bytes()
    text = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    return text if len(text) <= _LARGEST_SEED else b""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
