"""Makes XPlane files with the answer on paper. Times are us after the start of the recording, `START_NS`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaleprof.readers import read_rank
from scaleprof.readers.xplane.schema import messages
from scaleprof.run import RankFiles
from scaleprof.trace import Trace

START_NS = 1_795_000_000_000_000_000
Stats = dict[str, Any]
Made = tuple[str, float, float, Stats]
"""Name, start and duration in us, stats; a text in a list is one that refers to the plane's texts."""


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def part(number: int, content: bytes) -> bytes:
    """A field that holds bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


@dataclass
class Plane:
    """A plane while it grows."""

    name: str
    stats: Stats = field(default_factory=dict)
    programs: dict[str, bytes] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)

    def line(self, name: str, events: Sequence[Made], *, timestamp_ns: int = 0, id: int | None = None) -> "Plane":
        made = messages()["Line"](id=len(self.lines) + 1 if id is None else id, timestamp_ns=timestamp_ns)
        made.name = name.encode()
        for text, start_us, dur_us, stats in events:
            event = made.events.add(metadata_id=self.ids.setdefault(text, len(self.ids) + 1))
            event.offset_ps, event.duration_ps = round(start_us * 1e6), round(dur_us * 1e6)
            for key, value in stats.items():
                event.stats.append(self.stat(key, value))
        self.lines.append(made.SerializeToString())
        return self

    def stat(self, key: str, value: Any) -> Any:
        made = messages()["Stat"](metadata_id=self.text_id(key))
        if isinstance(value, list):
            made.ref_value = self.text_id(value[0])
        elif isinstance(value, bytes):
            made.bytes_value = value
        elif isinstance(value, str):
            made.str_value = value.encode()
        elif isinstance(value, float):
            made.double_value = value
        elif value >= 2**63:
            made.uint64_value = value
        else:
            made.int64_value = value
        return made

    def text_id(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts) + 1)

    def bytes(self) -> bytes:
        stats = [self.stat(key, value).SerializeToString() for key, value in self.stats.items()]
        named = messages()["Entry"]
        entries = [named(key=number, value={"id": number, "name": text.encode()}) for text, number in self.ids.items()]
        for text, program in self.programs.items():
            number = len(entries) + 1
            entry = named(key=number, value={"id": number, "name": text.encode()})
            entry.value.stats.append(self.stat("Hlo Proto", program))
            entry.value.stats.append(self.stat("program_id", number))
            entries.append(entry)
        keys = [named(key=number, value={"id": number, "name": text.encode()}) for text, number in self.texts.items()]
        return (
            part(2, self.name.encode())
            + b"".join(part(3, line) for line in self.lines)
            + b"".join(part(4, entry.SerializeToString()) for entry in entries)
            + b"".join(part(5, key.SerializeToString()) for key in keys)
            + b"".join(part(6, stat) for stat in stats)
        )


def environment(start_ns: int = START_NS, stop_ns: int = START_NS + 10**9) -> Plane:
    return Plane("Task Environment", {"profile_start_time": start_ns, "profile_stop_time": stop_ns})


def space(*planes: Plane, host: str = "a-host", started: bool = True) -> bytes:
    """The bytes of a file; `started`: it says when the recording began."""
    every = [*planes, environment()] if started else planes
    return b"".join(part(1, plane.bytes()) for plane in every) + part(4, host.encode())


def write(path: Path, *planes: Plane, host: str = "a-host", started: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(space(*planes, host=host, started=started))
    return path


def write_rank(folder: Path, rank: int, *planes: Plane) -> Path:
    """A file where TensorFlow's profiler writes it, in a logdir for each rank."""
    return write(folder / f"rank{rank}" / "plugins" / "profile" / "2026_11_23_06_19_55" / "a-host.xplane.pb", *planes)


def read(path: Path, *planes: Plane, rank: int = 0, world_size: int | None = None, started: bool = True) -> Trace:
    """The Trace of a file with these planes."""
    file = write(path / "a-host.xplane.pb", *planes, started=started)
    return read_rank(RankFiles(rank, "xplane", (file,), world_size=world_size))


def step(number: int, start_us: float, dur_us: float, name: str = "train") -> Made:
    return (name, start_us, dur_us, {"step_num": number, "_r": 1})


def op(name: str, start_us: float, dur_us: float) -> Made:
    return (name, start_us, dur_us, {})


def collective(
    instance: int,
    start_us: float,
    dur_us: float,
    *,
    group: int = 1,
    chunk: int = 0,
    name: str = "CollectiveReduceV2",
    step_id: int = -7,
) -> list[Made]:
    """As it stands on a thread of `collective_ops`."""
    stats = {"step_id": step_id, "instance_key": instance, "group_key": group}
    made: list[Made] = [(f"{name}:{name}", start_us, dur_us, stats)]
    if chunk:
        said = {"tf_op": ["CollectiveAdapterImpl::TempChunk"], "requested_bytes": chunk}
        made.append(("MemoryAllocation", start_us + 1, 0, said))
    return made


def group_of(size: int, at_us: float = 0, *, group: int = 1) -> Made:
    return ("CollectiveExecutor::CompleteParams", at_us, 1, {"group_key": group, "group_size": size})


def hlo(name: str, start_us: float, dur_us: float, *, device: int = 0, run: int = -5, program: int = 1) -> Made:
    stats = {"hlo_op": [name], "hlo_module": ["jit_step"], "program_id": program, "run_id": run}
    return (name, start_us, dur_us, {**stats, "device_ordinal": device})


def program(*instructions: dict[str, Any]) -> bytes:
    """An HLO module; an instruction has name, opcode, shape, id, operand_ids, replica_groups."""
    made = messages()["Hlo"]()
    computation = made.hlo_module.computations.add()
    for one in instructions:
        computation.instructions.add(**one)
    return made.SerializeToString()


def times_us(trace: Trace, text: str) -> list[tuple[float, float]]:
    """Start and duration of all events of a name, in us after the start of the recording."""
    rows = [row for row, name in enumerate(trace.events.name.tolist()) if trace.names.text[name] == text]
    return [((int(trace.events.start_ns[row]) - START_NS) / 1e3, int(trace.events.dur_ns[row]) / 1e3) for row in rows]
