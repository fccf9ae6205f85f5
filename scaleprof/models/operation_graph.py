"""What waits for what in one step of a Megatron-style job, from a table of its operations: StragglerAnalysis' model (OSDI'25, arXiv 2505.05713).

A node is one operation of one pipeline stage, named (type, number within the step, stage); steps and data-parallel ranks share the graph, which is
read off the first step of data-parallel rank 0. Computation forms a chain per stage, each kind of transfer a chain of its own; a send follows the
computation that made its data, a computation the receive that brought them. What is exchanged ends for its members once all of them have begun.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from scaleprof.errors import InputError

Name = tuple[str, int, int]
"""Type of the operation, its number among those of its type in a step, and the pipeline stage."""

FORWARD, BACKWARD = "forward-compute", "backward-compute"
TRANSFERS = ("forward-send", "forward-recv", "backward-send", "backward-recv")
_PEERS = {
    "forward-send": ("forward-recv", 1),
    "forward-recv": ("forward-send", -1),
    "backward-send": ("backward-recv", -1),
    "backward-recv": ("backward-send", 1),
}
"""The other end's type, and how many stages further it is."""
GATHER, SCATTER, SEPARATE = "params-all-gather", "grads-reduce-scatter", "separate-grads-all-reduce"
EMBEDDING, LAYERNORM, CLIP = "embedding-grads-all-reduce", "layernorm-grads-all-reduce", "optimizer-clip-main-grad"
COLLECT, OPTIMIZER = "gc", "optimizer"
CLOCK_S = 5e-5
"""By how much clocks of two stages may differ when a transfer is held against a computation."""


@dataclass(frozen=True)
class Operation:
    """One operation of the first step, as the graph is read off it; times in s from the step's start."""

    name: Name
    start: float
    end: float
    model_chunk: int
    """Of its stage; -1 where it belongs to none."""
    global_chunk: int
    """Place of that chunk in the whole model."""

    @property
    def type(self) -> str:
        """The type of its name."""
        return self.name[0]


@dataclass
class OperationGraph:
    """Nodes with what each waits for, and the groups that exchange something."""

    after: dict[Name, list[Name]] = field(default_factory=dict)
    groups: list[tuple[Name, ...]] = field(default_factory=list)
    across_replicas: frozenset[Name] = frozenset()
    """Operations that also wait for the same one of every data-parallel rank."""

    def follow(self, name: Name, *before: Name) -> None:
        """This node waits for those."""
        self.after.setdefault(name, []).extend(before)

    def chain(self, names: Iterable[Name], before: Sequence[Name] = ()) -> None:
        """Each waits for the one before it, the first for `before`."""
        last = list(before)
        for name in names:
            self.follow(name, *last)
            last = [name]


@dataclass(frozen=True)
class _Stage:
    """The operations of one stage in the order in which they began."""

    number: int
    stages: int
    operations: tuple[Operation, ...]

    def of(self, *types: str) -> list[Operation]:
        return [one for one in self.operations if one.type in types]

    @property
    def compute(self) -> list[Operation]:
        return self.of(FORWARD, BACKWARD)

    def is_end(self) -> bool:
        return self.number in (0, self.stages - 1)


def operation_graph(operations: Iterable[Operation], *, replicas: int) -> OperationGraph:
    """The graph of one step; `replicas` is the number of ranks that reduce gradients with one another. InputError where the table contradicts it."""
    ordered = sorted(operations, key=lambda one: (one.start, one.name[1], one.name[0]))
    count = 1 + max((one.name[2] for one in ordered), default=-1)
    if not count:
        raise InputError("the table holds no operation of data-parallel rank 0 in its first step")
    stages = [_Stage(n, count, tuple(one for one in ordered if one.name[2] == n)) for n in range(count)]
    graph = OperationGraph()
    chunks = max(one.model_chunk for one in ordered) + 1
    _transfers(graph, stages, chunks * count)
    shares_gradients = replicas > 1
    overlapped = any(one.type == SEPARATE for one in ordered)
    for stage in stages:
        if not stage.compute:
            raise InputError(f"stage {stage.number} computes nothing in the first step")
        _stage_chains(graph, stage)
        if shares_gradients:
            _gathers(graph, stage)
            if overlapped:
                _scatters(graph, stage)
        _end_of_step(graph, stage, overlapped=overlapped, shares_gradients=shares_gradients)
    _groups_of_all(graph, ordered, count, shares_gradients=shares_gradients)
    known = {one.name for one in ordered}
    missing = {name for node, before in graph.after.items() for name in (node, *before)} - known
    if missing:
        raise InputError(f"the table lacks an operation that others wait for: {'-'.join(map(str, min(missing)))}")
    for name in known:
        graph.after.setdefault(name, [])
    return graph


def _transfers(graph: OperationGraph, stages: Sequence[_Stage], chunks: int) -> None:
    """Each send and receive with the computation it serves and with its other end; those without another end wait for nobody."""
    pairs: dict[tuple[Name, Name], list[Name]] = {}
    for stage in stages:
        real: set[Name] = set()
        for direction in ("forward", "backward"):
            for way in ("send", "recv"):
                for transfer, compute in _served(stage, direction, way):
                    if 0 <= compute.global_chunk + _PEERS[transfer.type][1] < chunks:
                        real.add(transfer.name)
                    _bind(graph, transfer.name, compute.name, way)
        counts: dict[str, int] = {}
        for one in stage.of(*TRANSFERS):
            if one.name not in real:
                graph.groups.append((one.name,))
                continue
            number = counts.get(one.type, 0)
            counts[one.type] = number + 1
            peer, distance = _PEERS[one.type]
            ends = ((one.type, number, stage.number), (peer, number, (stage.number + distance) % stage.stages))
            pairs.setdefault((min(ends), max(ends)), []).append(one.name)
    for ends, names in pairs.items():
        if len(names) != 2:
            raise InputError(f"a transfer lacks its other end: {' and '.join('-'.join(map(str, end)) for end in ends)}")
        graph.groups.append(tuple(names))


def _served(stage: _Stage, direction: str, way: str) -> Iterator[tuple[Operation, Operation]]:
    """Transfers that were really made, each with its computation; profilers also record some at the ends of a step that were not."""
    computed = stage.of(f"{direction}-compute")
    recorded = stage.of(f"{direction}-{way}")
    if not computed:
        if recorded:
            raise InputError(f"stage {stage.number} has {direction}-{way} and no {direction}-compute")
        return
    last_start, first_end = max(one.start for one in computed), min(one.end for one in computed)
    made = [
        one
        for one in recorded
        if (one.start <= last_start + CLOCK_S if way == "recv" else one.end >= first_end - CLOCK_S)
    ]
    place = 0
    if len(made) != len(computed):
        if not stage.is_end() or (made and len(made) + 1 != len(computed)):
            raise InputError(
                f"stage {stage.number} has {len(made)} {direction}-{way} for {len(computed)} {direction}-compute"
            )
        place = 1 if way == "recv" and made else 0  # the first stage receives nothing for its first computation
    by_number = {one.name[1]: one for one in computed}
    for transfer in made:
        if place not in by_number:
            raise InputError(f"stage {stage.number} lacks {direction}-compute {place}")
        yield transfer, by_number[place]
        place += 1


def _bind(graph: OperationGraph, transfer: Name, compute: Name, way: str) -> None:
    if way == "send":
        graph.follow(transfer, compute)
        return
    graph.follow(compute, transfer)
    kind, number, stage = compute
    if number:
        graph.follow(transfer, (kind, number - 1, stage))


def _stage_chains(graph: OperationGraph, stage: _Stage) -> None:
    compute = stage.compute
    graph.chain(one.name for one in compute)
    for kind in TRANSFERS:
        graph.chain(one.name for one in stage.of(kind))
    turn = next((place for place, one in enumerate(compute) if one.type == BACKWARD), 0)
    if turn < 2:
        return
    # The first transfers backward are set up one forward computation ahead.
    for kind in ("backward-recv", "backward-send"):
        if any(one.name == (kind, 0, stage.number) for one in stage.operations):
            graph.follow((kind, 0, stage.number), compute[turn - 2].name)


def _gathers(graph: OperationGraph, stage: _Stage) -> None:
    """Parameters are gathered one chunk after the other, each before the first computation of its chunk."""
    graph.chain(one.name for one in stage.of(GATHER, SCATTER))
    done: set[int] = set()
    for gather in sorted(stage.of(GATHER), key=lambda one: -one.name[1]):
        forward = [one for one in stage.of(FORWARD) if one.model_chunk == gather.model_chunk]
        if gather.model_chunk not in done and forward:
            graph.follow(min(forward, key=lambda one: one.start).name, gather.name)
        done.add(gather.model_chunk)


def _scatters(graph: OperationGraph, stage: _Stage) -> None:
    """Gradients of a chunk are reduced after the last backward computation of it."""
    done: set[int] = set()
    for scatter in sorted(stage.of(SCATTER), key=lambda one: one.name[1]):
        backward = [one for one in stage.of(BACKWARD) if one.model_chunk == scatter.model_chunk]
        if scatter.model_chunk not in done and backward:
            graph.follow(scatter.name, max(backward, key=lambda one: one.end).name)
        done.add(scatter.model_chunk)


def _end_of_step(graph: OperationGraph, stage: _Stage, *, overlapped: bool, shares_gradients: bool) -> None:
    def first(kind: str) -> Name:
        return kind, 0, stage.number

    graph.follow(first(COLLECT), max(stage.compute, key=lambda one: one.end).name)
    reduced = [first(LAYERNORM), *([first(EMBEDDING)] if stage.is_end() else [])]
    scatters = [(SCATTER, number, stage.number) for number in range(len(stage.of(SCATTER)))]
    before = [first(COLLECT)]
    if shares_gradients and overlapped:
        before = [*scatters[-1:], *before]
        reduced.append(first(SEPARATE))
    elif shares_gradients:
        reduced += scatters
    graph.chain([*reduced, first(CLIP), first(OPTIMIZER)], before)


def _groups_of_all(graph: OperationGraph, ordered: Sequence[Operation], stages: int, *, shares_gradients: bool) -> None:
    shared = [one.name for one in ordered if shares_gradients and one.type in (GATHER, SCATTER, SEPARATE)]
    graph.groups += [(name,) for name in shared]
    graph.groups.append(tuple((EMBEDDING, 0, stage) for stage in sorted({0, stages - 1})))
    clip = tuple((CLIP, 0, stage) for stage in range(stages))
    graph.groups.append(clip)
    graph.across_replicas = frozenset((*shared, *clip))


def in_order(graph: OperationGraph) -> list[tuple[Name, ...]]:
    """Nodes in an order in which everything comes after what it waits for; members of a group come together. InputError where there is none."""
    unit: dict[Name, tuple[Name, ...]] = {name: (name,) for name in graph.after}
    for group in graph.groups:
        unit |= dict.fromkeys(group, group)
    sorter: TopologicalSorter[tuple[Name, ...]] = TopologicalSorter()
    for name, before in graph.after.items():
        sorter.add(unit[name], *(unit[one] for one in before if unit[one] != unit[name]))
    try:
        return list(sorter.static_order())
    except CycleError as error:
        circle = error.args[1]
        raise InputError(
            f"operations wait for one another in a circle, {'-'.join(map(str, circle[0][0]))} among them"
        ) from error
