"""What a rank of a job does in one step: segments of kernels in the order in which the host launches them.

A segment is kernels that one stream runs one after the other; it waits for its stream and for the segments it names. All ranks of a pipeline stage
do the same; when they do it is `timeline`'s business, in which order the passes come is `passes`'.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from scaleprof.intervals import Ints
from scaleprof.synth.names import work_of
from scaleprof.synth.spec import Spec
from scaleprof.trace import Kind

MAIN_STREAM, COMM_STREAM = 7, 20
SCATTER_STREAM, TENSOR_STREAM = 24, 28
TRANSFER_STREAMS = {("send", False): 32, ("recv", False): 36, ("send", True): 40, ("recv", True): 44}
"""A stream for each direction and neighbour, so that no transfer waits for another's partner: by operation, and whether gradients travel."""
GRADIENT_BYTES, ACTIVATION_BYTES = 4, 2  # float32, bfloat16
OPTIMIZER_KERNELS = 2


@dataclass(frozen=True)
class Segment:
    """Kernels of one stream that are launched together."""

    phase: str
    """copy, forward, backward, optimizer, or the operation of communication."""
    kind: Kind
    """COMPUTE, COPY, COLLECTIVE or P2P; communication is one kernel."""
    stream: int
    dur_ns: Ints
    """Of each kernel; of communication within a host what it takes once all ranks are there."""
    late_ns: Ints
    """By how much each kernel is longer on the late rank; in communication nothing."""
    after: tuple[int, ...] = ()
    """Segments whose end it waits for, beside its own stream."""
    bytes: int = 0
    """What an operation moves: its large side."""
    group: str = ""
    """The dimension of the mesh that an operation runs over."""
    across_ns: int = 0
    """What an operation takes between hosts."""
    micro_batch: int = 0
    backward: bool = False
    """Whether the backward pass launches it."""
    place: int = 0
    """Of the first kernel within its layer."""
    peer: int = 0
    """Of a transfer: how many stages further its partner is, -1 or 1."""

    def __len__(self) -> int:
        return len(self.dur_ns)

    @property
    def communicates(self) -> bool:
        """Whether it is an operation of communication."""
        return self.kind in (Kind.COLLECTIVE, Kind.P2P)


@dataclass(frozen=True)
class Plan:
    """A step of a rank."""

    segments: tuple[Segment, ...]

    @cached_property
    def kernels(self) -> int:
        """Kernels of a step."""
        return sum(len(segment) for segment in self.segments)

    @cached_property
    def first(self) -> tuple[int, ...]:
        """The place of each segment's first kernel."""
        return tuple(np.cumsum([0, *(len(segment) for segment in self.segments[:-1])]).tolist())

    @cached_property
    def operations(self) -> tuple[Segment, ...]:
        """The segments that communicate, in the order of their launch."""
        return tuple(segment for segment in self.segments if segment.communicates)

    @cached_property
    def collectives(self) -> tuple[int, ...]:
        """The kernels that communicate, in the order of their launch."""
        pairs = zip(self.first, self.segments, strict=True)
        return tuple(first for first, segment in pairs if segment.communicates)

    @cached_property
    def numbers(self) -> tuple[tuple[int, int], ...]:
        """For each operation of a step its number within its group, from 1, and how many its group counts in a step.

        torch counts collectives and transfers of a group apart, each rank for itself.
        """
        keys = [(segment.group, segment.kind) for segment in self.operations]
        total, seen = Counter(keys), Counter[tuple[str, Kind]]()
        numbers = []
        for key in keys:
            seen[key] += 1
            numbers.append((seen[key], total[key]))
        return tuple(numbers)

    @cached_property
    def pause_at(self) -> int:
        """The kernel in the middle of the first forward pass: before its launch a host may pause."""
        first = [
            kernel
            for start, segment in zip(self.first, self.segments, strict=True)
            if segment.phase == "forward" and segment.micro_batch == 0
            for kernel in range(start, start + len(segment))
        ]
        return first[len(first) // 2]

    def kernels_of(self, *kinds: Kind) -> Ints:
        """The places of all kernels of some kinds."""
        kind = np.concatenate([np.full(len(segment), segment.kind) for segment in self.segments])
        return np.flatnonzero(np.isin(kind, kinds))


def plans_of(spec: Spec) -> tuple[Plan, ...]:
    """The plan of every pipeline stage."""
    return tuple(plan_of(spec, stage) for stage in range(spec.pipeline))


def plan_of(spec: Spec, stage: int = 0) -> Plan:
    """The plan of a stage: copy, the passes of all micro-batches, and the optimizer when everything has arrived."""
    making = _Making(spec, stage)
    if spec.copy_ms > 0 and stage == 0:
        making.add(_nothing_late("copy", Kind.COPY, MAIN_STREAM, _times(spec.ns(spec.copy_ms))))
    for number in range(len(making.passes)):
        making.run_pass(number)
    making.optimize()
    return Plan(tuple(making.segments))


def passes(stages: int, stage: int, micro_batches: int) -> Iterator[tuple[int, bool]]:
    """1F1B: the micro-batch of each pass of a stage, and whether it is its backward pass."""
    ahead = min(stages - 1 - stage, micro_batches)
    for micro_batch in range(ahead):
        yield micro_batch, False
    for micro_batch in range(ahead, micro_batches):
        yield micro_batch, False
        yield micro_batch - ahead, True
    for micro_batch in range(micro_batches - ahead, micro_batches):
        yield micro_batch, True


def shared(total: int, weights: Sequence[int], quantum: int = 1) -> Ints:
    """The total in parts by weight, each a multiple of the quantum, whose sum is the total exactly."""
    reached = np.cumsum(np.asarray(weights, dtype=np.float64))
    edges = np.rint(total / quantum * (reached / reached[-1])).astype(np.int64) * quantum
    edges[-1] = total
    parts: Ints = np.diff(edges, prepend=0)
    return parts


def _times(*ns: int) -> Ints:
    return np.array(ns, dtype=np.int64)


def _nothing_late(phase: str, kind: Kind, stream: int, dur_ns: Ints, *, after: tuple[int, ...] = ()) -> Segment:
    return Segment(phase, kind, stream, dur_ns, np.zeros_like(dur_ns), after)


class _Making:
    """The segments of a stage while they are laid one behind the other."""

    def __init__(self, spec: Spec, stage: int) -> None:
        self.spec, self.stage = spec, stage
        self.segments: list[Segment] = []
        self.layers = int(shared(spec.layers, [1] * spec.pipeline)[stage])
        self.passes = list(passes(spec.pipeline, stage, spec.micro_batches))
        self.shards = spec.strategy == "fsdp" and spec.data > 1
        scale = self.layers * spec.pipeline / spec.layers
        self.units = shared(self.layers, [1] * min(spec.buckets, self.layers)).tolist()
        self.elements = shared(round(spec.gradient_bytes // GRADIENT_BYTES * scale), self.units).tolist()
        self.dur, self.late = _compute_of(spec, self.layers, scale)
        self.main: tuple[int, ...] = ()  # the last segment of the main stream in this step
        self.awaited: list[int] = []  # what the next segment of the main stream waits for
        self.gathered: int | None = None  # the gather that the next unit waits for

    def add(self, segment: Segment) -> int:
        if segment.stream == MAIN_STREAM:
            segment = replace(segment, after=(*segment.after, *self.awaited))
            self.awaited, self.main = [], (len(self.segments),)
        self.segments.append(segment)
        return len(self.segments) - 1

    def run_pass(self, number: int) -> None:
        """Receive, compute unit by unit with what belongs to each, send."""
        micro_batch, is_backward = self.passes[number]
        came_from, goes_to = (1, -1) if is_backward else (-1, 1)
        if 0 <= self.stage + came_from < self.spec.pipeline:
            self.awaited.append(self.transfer("recv", micro_batch, is_backward=is_backward, peer=came_from))
        units, kernel = self.units_of(number), 0
        for unit, following in zip(units, [*units[1:], *self.units_of(number + 1)[:1], None], strict=False):
            if self.shards:
                here = self.gather(unit, micro_batch, is_backward) if self.gathered is None else self.gathered
                # The next unit's parameters are gathered beside the compute of this one, and no earlier: memory is limited.
                self.gathered = None if following is None else self.gather(following, micro_batch, is_backward)
                self.awaited.append(here)
            layers = self.layers if unit < 0 else self.units[unit]
            self.compute(layers, kernel, micro_batch, is_backward=is_backward)
            kernel += layers * self.spec.kernels_per_layer
            is_reduced = self.shards or number == len(self.passes) - 1
            if is_backward and self.spec.data > 1 and is_reduced:
                self.reduce(unit, micro_batch)
        if 0 <= self.stage + goes_to < self.spec.pipeline:
            self.transfer("send", micro_batch, is_backward=is_backward, peer=goes_to)

    def units_of(self, number: int) -> list[int]:
        """The units of a pass in their order; -1 where all layers are one, none behind the last pass."""
        if number >= len(self.passes):
            return []
        is_backward = self.passes[number][1]
        order = list(range(len(self.units)))
        if self.shards:
            return order[::-1] if is_backward else order
        return order if is_backward else [-1]

    def compute(self, layers: int, kernel: int, micro_batch: int, *, is_backward: bool) -> None:
        """Layers in one segment; with tensor parallelism in halves of a layer, with an all-reduce behind each that nothing hides."""
        phase, per_layer = ("backward" if is_backward else "forward"), self.spec.kernels_per_layer
        half = -(-per_layer // 2)
        parts = [half, per_layer - half] * layers if self.spec.tensor > 1 else [layers * per_layer]
        for count in parts:
            if count:
                here = slice(kernel, kernel + count)
                dur, late = self.dur[phase][micro_batch, here], self.late[phase][micro_batch, here]
                if self.spec.communication_only:
                    dur, late = dur.sum(keepdims=True), late.sum(keepdims=True)
                segment = Segment(phase, Kind.COMPUTE, MAIN_STREAM, dur, late)
                self.add(replace(segment, micro_batch=micro_batch, backward=is_backward, place=kernel % per_layer))
            kernel += count
            if self.spec.tensor > 1:
                bytes, after = self.spec.activation_bytes, (*self.main, *self.awaited)
                segment = self.operation("all_reduce", "tp", self.spec.tensor, bytes, TENSOR_STREAM)
                self.awaited.append(
                    self.add(replace(segment, after=after, micro_batch=micro_batch, backward=is_backward))
                )

    def operation(self, op: str, group: str, ranks: int, bytes: int, stream: int) -> Segment:
        dur = _times(self.spec.cost_ns(op, bytes, ranks))
        across_ns = self.spec.cost_ns(op, bytes, ranks, across=True)
        kind = Kind.P2P if op in ("send", "recv") else Kind.COLLECTIVE
        return Segment(op, kind, stream, dur, np.zeros_like(dur), bytes=bytes, group=group, across_ns=across_ns)

    def transfer(self, op: str, micro_batch: int, *, is_backward: bool, peer: int) -> int:
        """It begins when the compute that was launched before it has ended; a send is not waited for, before the optimizer."""
        segment = self.operation(op, "pp", 2, self.spec.activation_bytes, TRANSFER_STREAMS[op, is_backward])
        after = (*self.main, *self.awaited)
        return self.add(
            replace(segment, after=after, micro_batch=micro_batch, backward=is_backward, peer=peer),
        )

    def gather(self, unit: int, micro_batch: int, is_backward: bool) -> int:
        segment = self.operation("all_gather", "dp", self.spec.data, self.sharded_bytes(unit), COMM_STREAM)
        after = (*self.main, *self.awaited)
        return self.add(replace(segment, after=after, micro_batch=micro_batch, backward=is_backward))

    def reduce(self, unit: int, micro_batch: int) -> None:
        bytes, stream = self.elements[unit] * GRADIENT_BYTES, COMM_STREAM
        if self.shards:
            bytes, stream = self.sharded_bytes(unit), SCATTER_STREAM
        op = "reduce_scatter" if self.shards else "all_reduce"
        segment = self.operation(op, "dp", self.spec.data, bytes, stream)
        self.add(replace(segment, after=self.main, micro_batch=micro_batch, backward=True))

    def sharded_bytes(self, unit: int) -> int:
        """A unit padded so that every rank has as much of it."""
        ranks = self.spec.data
        padded: int = -(-self.elements[unit] // ranks) * ranks
        return padded * GRADIENT_BYTES

    def optimize(self) -> None:
        """Behind all gradients, and behind the last send to each neighbour."""
        last = {segment.stream: place for place, segment in enumerate(self.segments) if segment.communicates}
        waits = sorted({*last.values(), *(p for p, one in enumerate(self.segments) if one.group == "dp")})
        waits = [place for place in waits if place not in self.awaited]
        dur, late = self.dur["optimizer"], self.late["optimizer"]
        if self.spec.communication_only:
            dur, late = dur.sum(keepdims=True), late.sum(keepdims=True)
        self.add(Segment("optimizer", Kind.COMPUTE, MAIN_STREAM, dur, late, tuple(waits)))


def _compute_of(spec: Spec, layers: int, scale: float) -> tuple[dict[str, Ints], dict[str, Ints]]:
    """Durations of the kernels of a stage by phase, and by how much each is longer on the late rank; passes by (micro-batch, kernel)."""
    quantum, batches = spec.form.quantum_ns, spec.micro_batches
    forward_ns = spec.ns(spec.compute_ms * scale * spec.forward_share)
    optimizer_ns = spec.ns(spec.compute_ms * scale * spec.optimizer_share)
    backward_ns = spec.ns(spec.compute_ms * scale) - forward_ns - optimizer_ns
    weights = {phase: _weights(spec, phase, layers) * batches for phase in ("forward", "backward")}
    dur = {
        "forward": shared(forward_ns, weights["forward"], quantum),
        "backward": shared(backward_ns, weights["backward"], quantum),
        "optimizer": shared(optimizer_ns, [1] * OPTIMIZER_KERNELS, quantum),
    }
    late = {phase: np.zeros_like(times) for phase, times in dur.items()}
    if spec.late_cause == "compute":
        late["forward"] = shared(spec.ns(spec.late_ms), weights["forward"], quantum)
    if spec.late_cause == "throttle":
        every = shared(spec.ns(spec.late_ms), np.concatenate(list(dur.values())).tolist(), quantum)
        edges = np.cumsum([len(times) for times in dur.values()])[:-1]
        late = dict(zip(dur, np.split(every, edges), strict=True))
    for phase in weights:
        dur[phase], late[phase] = dur[phase].reshape(batches, -1), late[phase].reshape(batches, -1)
    return dur, late


def _weights(spec: Spec, phase: str, layers: int) -> list[int]:
    """What each kernel of a whole pass weighs."""
    count, per_layer = layers * spec.kernels_per_layer, spec.kernels_per_layer
    return [work.weight for work in work_of(phase, count, per_layer=per_layer)]
