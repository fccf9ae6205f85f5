"""What any exported file must hold, checked by a reading of the format of its own: nesting, arrows, parts of operations, names, whole ns."""

import gzip
import json
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any


@dataclass
class Slice:
    """A complete event; times in ns."""

    pid: int
    tid: int
    name: str
    category: str
    start: int
    end: int
    args: dict[str, Any]
    bind_id: str | None
    flow: tuple[bool, bool]
    """An arrow comes, an arrow goes."""
    parent: "Slice | None" = None
    children: list["Slice"] = field(default_factory=list)

    @property
    def rank(self) -> int:
        return self.pid - 1


@dataclass
class Checked:
    """A file that holds what it must."""

    slices: list[Slice]
    chains: dict[str, list[Slice]]
    """By `bind_id`, in the order of the arrows."""
    tracks: dict[tuple[int, int], str]
    ranks: dict[int, str]
    counters: dict[tuple[int, str], list[tuple[int, float]]]
    about: dict[str, str]

    def named(self, name: str, rank: int | None = None) -> list[Slice]:
        return [one for one in self.slices if one.name == name and rank in (None, one.rank)]

    def transfers(self) -> list[tuple[Slice, Slice]]:
        """Sender and receiver of every arrow between two; of a mark, the transfer on which it stands."""
        pairs = [chain for chain in self.chains.values() if {_side(one) for one in chain} == {"send", "recv"}]
        return [(self._carrier(one), self._carrier(other)) for one, other in pairs]

    def _carrier(self, one: Slice) -> Slice:
        if one.category != "arrow":
            return one
        side, inside = _side(one), [
            of for of in self.operations()
            if (of.pid, of.tid) == (one.pid, one.tid) and of.start <= one.start < max(of.end, of.start + 1)
        ]  # fmt: skip
        own = [of for of in inside if (of.args.get("number"), of.args["operation"]) == (one.args["number"], side)]
        [carrier] = own or [of for of in inside if of.args.get("operations", 1) > 1][-1:]
        return carrier

    def operations(self) -> list[Slice]:
        """The slices that carried out an operation."""
        return [one for one in self.slices if "operation" in one.args]


def whole_ns(us: Decimal | int) -> int:
    """us as written, in ns; they must be whole."""
    ns = Decimal(us) * 1000
    assert ns == int(ns), f"{us} us is no whole number of ns"
    return int(ns)


def read(path: Path) -> dict[str, Any]:
    """The file's content, numbers with a point as decimals."""
    content = path.read_bytes()
    text = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    found: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return found


def checked(path: Path) -> Checked:
    """The file, if it holds what it must."""
    content = read(path)
    events = content["traceEvents"]
    known = {"X", "M", "C"}
    assert {event["ph"] for event in events} <= known
    slices = [
        Slice(
            event["pid"], event["tid"], event["name"], event["cat"], whole_ns(event["ts"]),
            whole_ns(event["ts"]) + whole_ns(event["dur"]), event.get("args", {}), event.get("bind_id"),
            (event.get("flow_in", False), event.get("flow_out", False)),
        )
        for event in events if event["ph"] == "X"
    ]  # fmt: skip
    assert all(one.start >= 0 and one.end >= one.start for one in slices)
    tracks = nested(slices)
    named, ranks = _names(events)
    assert set(tracks) <= set(named), "every track has a name"
    assert len(named) == len(set(named)) and {pid for pid, _ in named} <= {rank + 1 for rank in ranks}
    for one in slices:
        if "wait_us" in one.args:
            _parts_fill(one)
    counters: dict[tuple[int, str], list[tuple[int, float]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "C":
            [value] = event["args"].values()
            counters[event["pid"] - 1, event["name"]].append((whole_ns(event["ts"]), float(value)))
    assert all(times == sorted(times) for times in ([at for at, _ in points] for points in counters.values()))
    return Checked(slices, _chains(slices), named, ranks, dict(counters), content["otherData"])


def nested(slices: list[Slice]) -> dict[tuple[int, int], list[Slice]]:
    """The slices of each track, put into one another as a viewer does: by time, then as they stand in the file. None may end behind its parent."""
    tracks: dict[tuple[int, int], list[Slice]] = defaultdict(list)
    for one in slices:
        tracks[one.pid, one.tid].append(one)
    for of_track in tracks.values():
        of_track.sort(key=lambda one: one.start)
        stack: list[Slice] = []
        for one in of_track:
            while stack and stack[-1].end <= one.start:
                stack.pop()
            if stack:
                assert one.end <= stack[-1].end, f"{one.name} begins inside {stack[-1].name} and ends outside"
                one.parent = stack[-1]
                stack[-1].children.append(one)
            stack.append(one)
    return tracks


def _names(events: list[dict[str, Any]]) -> tuple[dict[tuple[int, int], str], dict[int, str]]:
    tracks, ranks, order = {}, {}, {}
    for event in events:
        if event["ph"] == "M" and event["name"] == "thread_name":
            assert event["tid"] != event["pid"], "a viewer would take it for the main thread"
            tracks[event["pid"], event["tid"]] = event["args"]["name"]
        elif event["ph"] == "M" and event["name"] == "process_name":
            ranks[event["pid"] - 1] = event["args"]["name"]
        elif event["ph"] == "M" and event["name"] == "process_sort_index":
            order[event["pid"] - 1] = event["args"]["sort_index"]
    assert ranks == {rank: f"rank {rank}" for rank in ranks} and order == {rank: rank for rank in ranks}
    return tracks, ranks


def _parts_fill(one: Slice) -> None:
    """Waiting, then transfer, from the beginning to the end of an operation."""
    parts = [part for part in _below(one) if part.category in ("wait", "transfer") and "operation" not in part.args]
    assert [part.name for part in parts] in (["wait", "transfer"], ["wait"], ["transfer"]), one
    assert (
        parts[0].start == one.start
        and parts[-1].end == one.end
        and all(before.end == after.start for before, after in pairwise(parts))
    )
    took = {part.name: part.end - part.start for part in parts}
    assert took.get("wait", 0) == whole_ns(one.args["wait_us"])
    assert took.get("transfer", 0) == whole_ns(one.args["transfer_us"])


def _below(one: Slice) -> list[Slice]:
    """Everything inside a slice down to the next operation."""
    found = []
    for child in one.children:
        found.append(child)
        if "operation" not in child.args:
            found += _below(child)
    return found


def _chains(slices: list[Slice]) -> dict[str, list[Slice]]:
    chains: dict[str, list[Slice]] = defaultdict(list)
    for one in sorted((one for one in slices if one.bind_id), key=lambda one: one.start):
        assert one.bind_id is not None
        chains[one.bind_id].append(one)
    for chain in chains.values():
        assert len(chain) > 1 and len({one.rank for one in chain}) == len(chain), "each rank once"
        assert [one.flow for one in chain] == [(False, True), *[(True, True)] * (len(chain) - 2), (True, False)]
        assert len({one.args["number"] for one in chain}) == 1
        operations = [_side(one) for one in chain]
        assert operations == ["send", "recv"] or len(set(operations) - {"unknown"}) <= 1
    return dict(chains)


def _side(one: Slice) -> str:
    """What an end of an arrow is."""
    marks = {"data sent": "send", "data on their way": "recv"}
    return marks[one.name] if one.category == "arrow" else str(one.args["operation"])
