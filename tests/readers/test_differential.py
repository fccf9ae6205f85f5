"""The reader against plain JSON, row by row and to the nanosecond: every layout, every size of block, with the scan and without it."""

import gzip
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaleprof.readers.json_text import text as text_module
from scaleprof.readers.json_text.scan import Block, Scanned, Scanner
from scaleprof.readers.kineto.gather import Gathered, ScanDiffers
from scaleprof.readers.kineto.kineto import read_rows
from scaleprof.readers.kineto.operations import counts_flops, flops_of
from scaleprof.readers.rules import category_of
from tests.readers.making import Json, write_bytes

HEAD = {"schemaVersion": 1, "deviceProperties": [], "distributedInfo": {"rank": 0, "note": '{"ph": "X", [}'}}
TAIL = {"traceName": "a/b.json", "displayTimeUnit": "ms"}
LINKED = re.compile(r"kernel|gpu_memcpy|gpu_memset|.*runtime|.*driver")
LARGEST = 2**62


def number(text: str) -> str:
    """A number that `written` puts into the text as it is, digit by digit."""
    return f"@{text}@"


def written(value: Any, **options: Any) -> str:
    """As `json.dumps` writes it; floats would lose digits."""
    return re.sub(r'"@([^"@]*)@"', r"\1", json.dumps(value, **options))


# ---- layouts


def native(events: Sequence[Json]) -> str:
    return _in_lines(events, ",\n", "    {parts}", ",\n    ")


def keys_2026(events: Sequence[Json]) -> str:
    return _in_lines(events, "\n  ,\n", "    {parts}", "\n    ,\n    ")


def _in_lines(events: Sequence[Json], between: str, line: str, before_args: str) -> str:
    texts = []
    for event in events:
        args = [key for key in event if key == "args"]
        times = [key for key in event if key in ("ts", "dur")]
        rows = [[key for key in event if key not in (*args, *times)], times]
        parts = ",\n    ".join(", ".join(f'"{key}": {written(event[key])}' for key in row) for row in rows if row)
        parts += "".join(f'{before_args if parts else ""}"{key}": {written(event[key])}' for key in args)
        texts.append("  {\n" + line.format(parts=parts) + "\n  }")
    head, tail = written(HEAD, indent=2)[:-2], written(TAIL, indent=2)[1:]
    return f'{head},\n  "traceEvents": [\n{between.join(texts)}\n  ],{tail}\n'


def as_json(**options: Any) -> Callable[[Sequence[Json]], str]:
    return lambda events: written({**HEAD, "traceEvents": list(events), **TAIL}, **options)


LAYOUTS: Mapping[str, Callable[[Sequence[Json]], str]] = {
    "native": native,
    "keys": keys_2026,
    "CRLF": lambda events: native(events).replace("\n", "\r\n"),
    "byte order mark": lambda events: "\ufeff" + native(events),
    "blanks": as_json(),
    "compact": as_json(separators=(",", ":")),
    "orjson": as_json(separators=(",", ":"), ensure_ascii=False),
    "bare array": lambda events: written(list(events)),
    "sorted": as_json(sort_keys=True),
    **{f"indented by {indent}": as_json(indent=indent) for indent in range(1, 5)},
}


# ---- what a plain reader says


def expected_rows(text: str) -> list[tuple[Any, ...]]:
    """Name, category, process, thread, start, duration, correlation, operations of each complete event."""
    content = json.loads(text.removeprefix("\ufeff"), parse_float=Decimal)
    events = content["traceEvents"] if isinstance(content, dict) else content
    base = int(content.get("baseTimeNanoseconds", 0)) if isinstance(content, dict) else 0
    return [_row(event, base) for event in events if event["ph"] == "X"]


def _row(event: Json, base: int) -> tuple[Any, ...]:
    category = category_of(event.get("cat", ""))
    correlation = (event.get("args") or {}).get("correlation") if LINKED.fullmatch(category) else None
    return (
        event["name"], category, event.get("pid"), event.get("tid"), _ns(event["ts"]) + base,
        max(_ns(event.get("dur") or 0), 0), _whole(correlation), _flops(event, category),
    )  # fmt: skip


def _flops(event: Json, category: str) -> int | None:
    if category != "cpu_op" or not counts_flops(event["name"]):
        return None
    inputs = [(event.get("args") or {}).get(key) for key in ("Input Dims", "Concrete Inputs")]
    return flops_of(event["name"], *(json.dumps(said).encode() for said in inputs))


def _ns(us: Any) -> int:
    return int((Decimal(us) * 1000).to_integral_value(ROUND_HALF_UP))


def _whole(value: Any) -> int:
    try:
        return int(value) if abs(int(value)) < LARGEST else -1
    except (TypeError, ValueError):
        return -1


def rows_read(path: Path) -> tuple[list[tuple[Any, ...]], tuple[str, ...]]:
    columns = read_rows([path])
    lanes = [columns.lanes[lane] for lane in columns.lane.tolist()]
    names = [columns.names[name] for name in columns.name.tolist()]
    flops = dict(zip(*(part.tolist() for part in columns.operations), strict=True))
    rows = zip(
        (text for _, text in names), (category for category, _ in names), (lane.pid for lane in lanes), (lane.tid for lane in lanes),
        columns.start_ns.tolist(), columns.dur_ns.tolist(), columns.correlation.tolist(), map(flops.get, range(len(names))), strict=True,
    )  # fmt: skip
    return list(rows), columns.caveats


# ---- ways to read


def no_scan(scanner: Scanner, block: Block) -> None:
    """Every block is left to the decoder."""


def differs(gathered: Gathered, scanned: Scanned) -> None:
    raise ScanDiffers


WAYS: Mapping[str, Callable[[pytest.MonkeyPatch], None]] = {
    "scanned": lambda patch: None,
    "decoded": lambda patch: patch.setattr(Scanner, "scan", no_scan),
    "slow": lambda patch: patch.setattr(Gathered, "add_scanned", differs),
}
BLOCKS = (1 << 22, 20_000, 3000, 200)


def check(path: Path, text: str, ways: Sequence[str] = tuple(WAYS), blocks: Sequence[int] = BLOCKS) -> None:
    """That a file with this text is read as plain JSON reads it."""
    expected = expected_rows(text)
    write_bytes(path, text.encode())
    for way in ways:
        for block in blocks:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(text_module, "BLOCK_BYTES", block)
                WAYS[way](patch)
                rows, caveats = rows_read(path)
            assert rows == expected, f"{way}, blocks of {block}"
            assert all("slowly" in caveat for caveat in caveats)
            assert way != "decoded" or not caveats


# ---- made events


NAMES = st.sampled_from(
    [
        "aten::mm", "aten::convolution", "aten::_int_mm",
        "void at::native::vectorized_elementwise_kernel<4, at::native::(anonymous namespace)::F<float>>(int, F, {lambda()#1})",
        'say "ph": "X", "ts": 5', "tab\tand\nline \\ and \\\" '}, {'", '{"ph"', "ünïcödé 核 \U0001f600 \u2028", "x" * 3000, "", "\u0000\u001f",
    ]
) | st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="@"), max_size=12)  # fmt: skip
CATEGORIES = st.sampled_from(
    ["cpu_op", "kernel", "Kernel", "gpu_memcpy", "cuda_runtime", "user_annotation", "Trace", "ünknown"]
)
IDS = st.integers(0, 2**31) | st.sampled_from([0, 7, -1, "stream 16", "Spans", "", None, "0"])
DIGITS = st.integers(0, 10**16).map(str)
DECIMALS = st.builds("{}.{}".format, st.integers(0, 4 * 10**15), st.from_regex(r"[0-9]{1,9}", fullmatch=True))
TIMES = st.one_of(
    DIGITS.filter(lambda text: int(text) < 4 * 10**15).map(number), DECIMALS.map(number), DECIMALS,
    st.sampled_from(["1736408883731508.790", number("1712195495519689.047"), number("1.5e3"), number("0.0005"), number("1E2"), number("-12.5")]),
)  # fmt: skip
DURATIONS = TIMES | st.sampled_from([None, number("-3"), number("0")])
NESTED = st.sampled_from(
    [{"ph": "X", "ts": 1, "dur": 1}, [{}, {"ph": "X", "name": "n", "ts": 1, "dur": 2}], {"correlation": 3}, [[]], "\\"]
)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "External id": st.integers(0, 99),
        "correlation": st.integers(0, 2**64) | st.sampled_from([None, "12", number("7.0"), 0]),
        "stream": st.sampled_from([7, "0x0"]),
        "bytes": st.integers(0, 2**40),
        "Input Dims": st.sampled_from([[[2, 3], []], [[2, 3], [3, 4]], [[1, 1, 5], [2, 1, 3]], "", None, [[2, "3"]]]),
        "Concrete Inputs": st.sampled_from(
            [["", "", "", "[1]", "[0]", "[1]", "False", "[0]", "1"], [], ["]", '"'], 5, None]
        ),
        "ts": st.integers(0, 9),
        "odd": NESTED,
    },
)
COMPLETE = st.fixed_dictionaries(
    {"ph": st.just("X"), "cat": CATEGORIES, "name": NAMES, "pid": IDS, "tid": IDS, "ts": TIMES, "dur": DURATIONS},
    optional={"args": ARGUMENTS},
)
OTHERS = st.sampled_from(
    [
        {"ph": "s", "id": 5, "pid": 1, "tid": 2, "ts": 5, "cat": "ac2g", "name": "ac2g"},
        {"ph": "f", "id": 5, "pid": 0, "tid": 7, "ts": 5, "cat": "ac2g", "name": "ac2g", "bp": "e"},
        {"name": "process_name", "ph": "M", "ts": 0, "pid": 1, "tid": 0, "args": {"name": "python"}},
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": 2, "args": {"name": 'a "thread" {"ph": "X"'}},
        {"ph": "i", "s": "g", "name": "Iteration Start", "pid": "Traces", "tid": "Trace x", "ts": 1},
        {"ph": "C", "name": "memory", "pid": 1, "ts": 5, "args": {"bytes": 5, "dur": 6}},
    ]
)


def without_some(events: list[Json], dropped: list[tuple[int, str]]) -> list[Json]:
    """The events, some of them without a key."""
    events = [dict(event) for event in events]
    for place, key in dropped:
        events[place % len(events)].pop(key, None)
    return events


DROPPED = st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["dur", "cat", "pid", "tid", "args"])), max_size=3)
MADE = st.builds(without_some, st.lists(COMPLETE | COMPLETE | OTHERS, min_size=1, max_size=12), DROPPED)


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=MADE, seed=st.integers(0, 99))
def test_made_events_read_as_plain_json_does(
    tmp_path_factory: pytest.TempPathFactory, layout: str, events: list[Json], seed: int
) -> None:
    usual = {"ph": "X", "cat": "kernel", "name": "usual", "pid": 0, "tid": 7, "ts": number("100.125"), "dur": 3}
    usual["args"] = {"stream": 7, "correlation": 9, "note": "[}"}
    mixed = [*events, *[usual] * 60]  # so that blocks are read by the scan, and odd events one by one
    random.Random(seed).shuffle(mixed)
    folder = tmp_path_factory.mktemp("made")
    check(folder / "t.json", LAYOUTS[layout](mixed), blocks=(1 << 22, 2000))
    check(folder / "t.json", LAYOUTS[layout](events), blocks=(1 << 22, 150))


# ---- real traces


SAMPLE = (
    "kineto/edge/*.json*", "kineto/sync/simple-add.json.gz", "kineto/dlrm-8xv100/worker3*.json.gz",
    "torch_gloo/strategies/fsdp2_w2/rank0.plain.json.gz", "kineto/vendor-pairs/mi300/gaunernst*.json.gz",
)  # fmt: skip
MOST_EVENTS = 1000


def real_events(foreign_traces: Path) -> Iterator[tuple[str, list[Json]]]:
    """Events of real traces, numbers as their texts."""
    for pattern in SAMPLE:
        paths = sorted(foreign_traces.glob(pattern))
        assert paths, pattern
        for path in paths:
            data = path.read_bytes()
            text = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
            yield path.name, json.loads(text, parse_float=number)["traceEvents"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_real_traces_read_the_same_in_every_layout(foreign_traces: Path, tmp_path: Path, layout: str) -> None:
    for _, events in real_events(foreign_traces):
        start = random.Random(layout).randrange(max(1, len(events) - MOST_EVENTS))
        part = events[start : start + MOST_EVENTS]
        check(tmp_path / "t.json", LAYOUTS[layout](part), ways=("scanned",), blocks=(1 << 22, 30_000))
        check(tmp_path / "t.json.gz", LAYOUTS[layout](part), ways=("decoded",), blocks=(100_000,))


def test_real_traces_read_the_same_with_some_values_changed(foreign_traces: Path, tmp_path: Path) -> None:
    dice = random.Random(5)
    values = ["@1e3@", "12.25", None, "@-1@", "@99999999999.9999@", "@0.0005@"]
    for _, events in real_events(foreign_traces):
        part = [dict(event) for event in events[:MOST_EVENTS]]
        for _ in range(12):
            event = dice.choice(part)
            if event.get("ph") != "X":
                continue
            change = dice.randrange(5)
            if change == 0:
                event["ts"] = dice.choice([value for value in values if value])
            elif change == 1:
                event["dur"] = dice.choice(values)
            elif change == 2:
                event["name"] = dice.choice(['"ph": "X"', "\\", "}, {", "é" * 99])
            elif change == 3:
                event["args"] = {"ph": "X", "inner": [{}, {"ph": "X", "ts": 1}], **(event.get("args") or {})}
            else:
                place = dice.randrange(len(part))
                part[place] = dict(reversed(part[place].items()))
        check(tmp_path / "t.json", native(part), ways=("scanned",), blocks=(1 << 22, 30_000))
