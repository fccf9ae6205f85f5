"""The operations of one rank in its XPlane files: collectives of TensorFlow, XLA, NCCL and Horovod, and what is sent between devices.

TensorFlow numbers collectives by group and instance, XLA by run and operation: these match them across ranks. Sizes are those of XLA's programs
where they are in the file; TensorFlow's rings take memory for one part of the tensor, so the tensor is that times the ranks, but for padding,
and exactly that of the memory that was taken for a tensor of about this size.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaleprof.intervals import EMPTY, Ints, Spans
from scaleprof.readers.families import bare_name, operation_in
from scaleprof.readers.xplane.hlo import Sized
from scaleprof.readers.xplane.rows import Rows, Said
from scaleprof.readers.xplane.words import SYNTHESIZED, TEMPORARY, Word, op_in
from scaleprof.run import MOST_RANKS, ProcessGroup
from scaleprof.trace import UNKNOWN, Comm

_END = re.compile(r"/job:(\w+)/replica:\d+/task:(\d{1,7})/")
_EDGE = re.compile(r"(.*)/_(\d{1,9})")
_HOROVOD = "Horovod"
_RUNS = 1 << 32
"""XLA's numbers of runs are drawn from 32 bits and counted up."""
_LARGEST = 1 << 61
PADDING, PADDING_BYTES = 0.0005, 128
"""Of its size, and for each rank: by so much the memory of a ring's parts differs from its tensor at most."""


@dataclass(frozen=True)
class Told:
    """What is known of a rank without its files."""

    rank: int
    world_size: int | None = None
    exact_bytes: frozenset[int] = frozenset()
    """Of tensors that the training exchanges as one, from the training itself."""
    steps: Spans = EMPTY
    """When the recorded steps were, in order."""


@dataclass(frozen=True)
class Operation:
    """One of the rank's operations."""

    row: int
    op: str
    bytes: int = UNKNOWN
    dtype: str = ""
    group: str = ""
    seq: int = UNKNOWN
    peer: int = UNKNOWN


@dataclass
class Operations:
    """All of them, and what was found out on the way."""

    found: list[Operation] = field(default_factory=list)
    groups: tuple[ProcessGroup, ...] = ()
    world_size: int = 1
    members: int = 1
    """How often this process takes part in a collective: once for each of its devices."""
    estimated: int = 0
    """Collectives whose size is that of a ring's parts."""
    supposed: int = 0
    """Collectives that are taken for those of the gradients, because they are the first of their steps."""
    unsized: int = 0
    """Those of which the file does not say among how many ranks."""


def synthesized(rows: Rows) -> None:
    """Add the spans of kernels that run on nobody's thread: from where they are started to where they are done."""
    if not any(one.word is Word.STARTED for one in rows.said):
        return
    start_ns = rows.whole()[0]
    done = {(one.number("_ct"), one.number("_c")): one for one in rows.said if one.word is Word.DONE}
    spans: list[tuple[int, int, int, int]] = []
    said: list[Said] = []
    for one in rows.said:
        kernel = str(one.stats.get("kernel_type", ""))
        end = done.get((one.number("_pt"), one.number("_p"))) if one.word is Word.STARTED else None
        if end is None or not SYNTHESIZED.fullmatch(kernel):
            continue
        began, ended = int(start_ns[one.row]), int(start_ns[end.row])
        word = Word.COLLECTIVE if kernel.startswith(_HOROVOD) else Word.SEND
        text = f"{one.stats.get('name', '')!s}:{kernel}"
        spans.append((began, max(ended - began, 0), rows.name(word, text), rows.lane(-1, 0, kernel)))
        said.append(Said(rows.count + len(said), word, text, {}))
    if spans:
        begin, length, name, lane = np.array(spans, dtype=np.int64).T
        columns = (begin, length, name.astype(np.int32), lane.astype(np.int32), np.zeros(len(spans), dtype=np.int16))
        rows.add(columns, said)


def operations_in(
    rows: Rows, start_ns: Ints, dur_ns: Ints, sized: Mapping[tuple[int, str], Sized], told: Told, *, devices: int
) -> Operations:
    """What the rank sent, by row of `rows`; `devices` is how many the job has as far as the file says."""
    by_word: dict[Word, list[Said]] = defaultdict(list)
    for one in rows.said:
        by_word[one.word].append(one)
    result = Operations(world_size=max(told.world_size or 1, told.rank + 1, devices))
    _add_tensorflow(result, by_word, _chunks(rows, by_word, start_ns, dur_ns), told)
    _suppose_gradients(result, start_ns, told)
    for one in by_word[Word.HLO_COLLECTIVE]:
        _add_xla(result, one, sized, told)
    for one in by_word[Word.OWN]:
        result.found.append(Operation(one.row, op_in(one.text)))
    _add_transfers(result, by_word[Word.SEND], told)
    return result


def _add_tensorflow(
    result: Operations, by_word: Mapping[Word, Sequence[Said]], chunks: Mapping[int, int], told: Told
) -> None:
    numbered = [one for one in by_word.get(Word.COLLECTIVE, ()) if one.number("instance_key") != UNKNOWN]
    keys = Counter((one.number("group_key"), one.number("instance_key"), one.number("step_id")) for one in numbered)
    result.members = max(_usual(keys), 1)
    sizes = {one.number("group_key"): one.number("group_size") for one in by_word.get(Word.GROUP, ())}
    sizes = {group: size for group, size in sizes.items() if 0 < size <= MOST_RANKS}
    groups = {group for group, _, _ in keys}
    taken = (one.number("requested_bytes") for one in by_word.get(Word.MEMORY, ()) if not _is_temporary(one))
    tensors = frozenset(size for size in taken if size > 0)
    if len(groups) == 1 and not groups & sizes.keys() and (told.world_size or 1) > 1:
        # Not every member writes down how many there are: with one group in all, it is everybody.
        sizes[next(iter(groups))] = (told.world_size or 1) * result.members
    for one in by_word.get(Word.COLLECTIVE, ()):
        group, chunk = one.number("group_key"), chunks.get(one.row, UNKNOWN)
        size = sizes.get(group, UNKNOWN)
        bytes = UNKNOWN
        if chunk >= 0 and size > 0:
            bytes = _exact(min(chunk * size, _LARGEST), size, told.exact_bytes, tensors)
            result.estimated += bytes not in told.exact_bytes and bytes not in tensors
        result.unsized += chunk >= 0 and size < 0
        seq = one.number("instance_key")
        name = str(group) if seq != UNKNOWN else ""
        result.found.append(Operation(one.row, op_in(one.text), bytes, group=name, seq=max(seq, UNKNOWN)))
    ranks = {group: size // result.members for group, size in sizes.items()}
    result.world_size = max([result.world_size, *ranks.values()])
    everybody = [group for group, count in ranks.items() if count == result.world_size]
    result.groups = (
        *result.groups,
        *(ProcessGroup(str(group), tuple(range(result.world_size))) for group in everybody if result.world_size > 1),
    )


def _suppose_gradients(result: Operations, start_ns: Ints, told: Told) -> None:
    """Where the file has no sizes at all: the first all-reduce of each step is that of the gradients, which are packed into one."""
    if not told.exact_bytes or any(one.bytes >= 0 for one in result.found):
        return
    places = [place for place, one in enumerate(result.found) if one.op == "all_reduce"]
    places.sort(key=lambda place: int(start_ns[result.found[place].row]))
    at = start_ns[[result.found[place].row for place in places]]
    step = np.searchsorted(told.steps.start, at, side="right") - 1
    inside = (step >= 0) & (at < told.steps.end[np.maximum(step, 0)]) if len(told.steps.start) else step >= 0
    first = np.unique(step[inside], return_index=True)[1]
    for place in np.flatnonzero(inside)[first].tolist():
        one = result.found[places[place]]
        result.found[places[place]] = replace(one, bytes=max(told.exact_bytes))
    result.supposed = len(first) if int(inside.sum()) > len(first) else 0


def _usual(keys: Counter[tuple[int, int, int]]) -> int:
    """How often a process takes part in one collective of a step. Older ones number the nodes of a graph, which come again in every step."""
    several = Counter(keys.values())
    return several.most_common(1)[0][0] if len(keys) > 1 and len(several) == 1 else 1


def _chunks(rows: Rows, by_word: Mapping[Word, Sequence[Said]], start_ns: Ints, dur_ns: Ints) -> dict[int, int]:
    """For each collective the memory that it took for one part of its tensor: it stands on the same thread, within its time."""
    found: dict[int, int] = {}
    begins = np.array([begin for begin, _ in rows.lines], dtype=np.int64)
    of_line: dict[int, list[int]] = defaultdict(list)
    for one in by_word.get(Word.COLLECTIVE, ()):
        of_line[int(np.searchsorted(begins, one.row, side="right"))].append(one.row)
    for line in of_line.values():
        line.sort(key=lambda row: int(start_ns[row]))
    for one in by_word.get(Word.MEMORY, ()):
        if not _is_temporary(one):
            continue
        line = of_line.get(int(np.searchsorted(begins, one.row, side="right")), [])
        place = int(np.searchsorted(start_ns[line], start_ns[one.row], side="right")) - 1 if line else -1
        size = one.number("requested_bytes")
        if place >= 0 and size >= 0 and start_ns[one.row] < start_ns[line[place]] + dur_ns[line[place]]:
            found[line[place]] = min(found.get(line[place], 0) + size, _LARGEST)
    return found


def _is_temporary(memory: Said) -> bool:
    return str(memory.stats.get("tf_op", "")).endswith(TEMPORARY)


def _exact(bytes: int, ranks: int, *known: frozenset[int]) -> int:
    """The known size that this one is but for padding; those that come first are believed first."""
    for sizes in known:
        near = [
            one
            for one in sizes
            if abs(one - bytes) <= PADDING * one + PADDING_BYTES * ranks and one > PADDING_BYTES * ranks
        ]
        if near:
            return min(near, key=lambda one: abs(one - bytes))
    return bytes


def _add_xla(result: Operations, one: Said, sized: Mapping[tuple[int, str], Sized], told: Told) -> None:
    size = sized.get((one.number("program_id"), one.text), Sized(UNKNOWN, "", ()))
    run = one.stats.get("run_id")
    seq = run % _RUNS if isinstance(run, int) else UNKNOWN
    if one.text.partition(".")[0].endswith("-done"):
        return  # the wait for what an operation has started: that one has the size
    result.found.append(Operation(one.row, op_in(one.text), size.bytes, size.dtype, one.text, seq))
    ranks = next((group for group in size.groups if told.rank in group), ()) if size.groups else None
    members = tuple(range(result.world_size)) if ranks is None else ranks
    if len(members) > 1 and all(group.name != one.text for group in result.groups):
        result.groups = (*result.groups, ProcessGroup(one.text, members))


def _add_transfers(result: Operations, sends: Sequence[Said], told: Told) -> None:
    """What is sent between devices. The name of a receiving node counts one more than that of the sending one."""
    peers: dict[tuple[str, int], int] = {}
    for one in sends:
        if "key" not in one.stats:
            continue
        ends = _END.findall(str(one.stats["key"]))
        peer = UNKNOWN
        if len(ends) == 2 and ends[0][0] == ends[1][0]:
            peer = told.rank + int(ends[1][1]) - int(ends[0][1])
        peer = peer if 0 <= peer < MOST_RANKS else UNKNOWN
        edge = _EDGE.fullmatch(one.text.rpartition(":")[0])
        if edge:
            peers[edge[1], int(edge[2]) + 1] = peer
        result.found.append(Operation(one.row, "send", peer=peer))
        result.world_size = max(result.world_size, peer + 1)
    for one in sends:
        if "key" not in one.stats:
            edge = _EDGE.fullmatch(one.text.rpartition(":")[0])
            peer = peers.get((edge[1], int(edge[2])), UNKNOWN) if edge else UNKNOWN
            result.found.append(Operation(one.row, "recv", peer=peer if peer == told.rank else UNKNOWN))


def add_kernels(
    result: Operations,
    kernels: Sequence[tuple[int, str, Said | None]],
    sized: Mapping[tuple[int, str], Sized],
    told: Told,
) -> None:
    """Kernels of a device that communicate (NCCL's): what the host says of the same collectives, in the same order, goes with them."""
    on_host = [one for one in result.found if one.seq != UNKNOWN and one.group]
    found = []
    for row, text, said in kernels:
        made_from = str(said.stats.get("hlo_op", "")) if said else ""
        size = sized.get((said.number("program_id"), made_from), None) if said else None
        size = size or Sized(UNKNOWN, "", ())
        op = operation_in(text) or op_in(made_from or bare_name(text))
        found.append(Operation(row, op, size.bytes, size.dtype, made_from))
    same = Counter(one.op for one in on_host) == Counter(one.op for one in found)
    for op in {one.op for one in on_host} if same else ():
        ours, theirs = ([place for place, one in enumerate(each) if one.op == op] for each in (found, on_host))
        for place, other in zip(ours, theirs, strict=True):
            host = on_host[other]
            found[place] = Operation(found[place].row, op, found[place].bytes, found[place].dtype, host.group, host.seq)
    result.found = [*(one for one in result.found if one.op in ("send", "recv")), *found]


def comm_of(found: Sequence[Operation], row_of: NDArray[Any], issued_ns: Ints, start_ns: Ints) -> Comm:
    """The table, in the order issued; `row_of` leads from rows as they were gathered to rows of the trace, where the times are."""
    rows = row_of[np.array([one.row for one in found], dtype=np.int64)].astype(np.int64)
    issued = issued_ns[rows]
    order = np.lexsort((start_ns[rows], np.where(issued != UNKNOWN, issued, start_ns[rows])))
    picked = [found[place] for place in order.tolist()]
    return Comm(
        row=rows[order].astype(np.int32),
        issued_ns=issued[order],
        op=tuple(one.op for one in picked),
        bytes=np.array([one.bytes for one in picked], dtype=np.int64),
        dtype=tuple(one.dtype for one in picked),
        group=tuple(one.group for one in picked),
        seq=np.array([one.seq for one in picked], dtype=np.int64),
        peer=np.array([one.peer for one in picked], dtype=np.int32),
    )
