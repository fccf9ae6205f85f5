"""What a rank of a job does in one step: segments of kernels in the order in which the host launches them.

A segment is kernels that one stream runs one after the other; it waits for its stream and for the segments it names. A strategy is a function
that makes the segments; when they run is `timeline`'s business.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaleprof.intervals import Ints
from scaleprof.synth.names import work_of
from scaleprof.synth.spec import Spec
from scaleprof.trace import Kind

MAIN_STREAM, COMM_STREAM = 7, 20
GRADIENT_BYTES = 4  # float32
OPTIMIZER_KERNELS = 2


@dataclass(frozen=True)
class Segment:
    """Kernels of one stream that are launched together."""

    phase: str
    """copy, forward, backward, all_reduce, optimizer."""
    kind: Kind
    """COMPUTE, COPY or COLLECTIVE; a collective is one kernel that ends on all ranks at once."""
    stream: int
    dur_ns: Ints
    """Of each kernel; of a collective what it takes once all ranks are there."""
    late_ns: Ints
    """By how much each kernel is longer on the late rank."""
    after: tuple[int, ...] = ()
    """Segments whose end it waits for, beside its own stream."""
    bytes: int = 0
    """What a collective reduces."""

    def __len__(self) -> int:
        return len(self.dur_ns)


@dataclass(frozen=True)
class Plan:
    """A step of a rank; all ranks of a data-parallel job do the same."""

    segments: tuple[Segment, ...]

    @property
    def kernels(self) -> int:
        """Kernels of a step."""
        return sum(len(segment) for segment in self.segments)

    @property
    def first(self) -> tuple[int, ...]:
        """The place of each segment's first kernel."""
        return tuple(np.cumsum([0, *(len(segment) for segment in self.segments[:-1])]).tolist())

    @property
    def collectives(self) -> tuple[int, ...]:
        """The kernels that are collectives, in the order of their launch."""
        pairs = zip(self.first, self.segments, strict=True)
        return tuple(first for first, segment in pairs if segment.kind == Kind.COLLECTIVE)

    def kernels_of(self, *kinds: Kind) -> Ints:
        """The places of all kernels of some kinds."""
        kind = np.concatenate([np.full(len(segment), segment.kind) for segment in self.segments])
        return np.flatnonzero(np.isin(kind, kinds))


def plan_of(spec: Spec) -> Plan:
    """DistributedDataParallel: forward, then the backward pass bucket by bucket with an all-reduce behind each, then the optimizer.

    One rank alone has nobody to reduce with, and no collectives.
    """
    quantum, compute_ns = spec.form.quantum_ns, spec.ns(spec.compute_ms)
    forward_ns = spec.ns(spec.compute_ms * spec.forward_share)
    optimizer_ns = spec.ns(spec.compute_ms * spec.optimizer_share)
    backward = shared(compute_ns - forward_ns - optimizer_ns, _weights(spec, "backward"), quantum)
    layers = shared(spec.layers, [1] * spec.buckets)
    elements = shared(spec.gradient_bytes // GRADIENT_BYTES, layers.tolist())
    segments = []
    if spec.copy_ms > 0:
        segments.append(_segment("copy", Kind.COPY, np.array([spec.ns(spec.copy_ms)], dtype=np.int64)))
    weights = _weights(spec, "forward")
    forward, late = shared(forward_ns, weights, quantum), shared(spec.ns(spec.late_ms), weights, quantum)
    segments.append(Segment("forward", Kind.COMPUTE, MAIN_STREAM, forward, late))
    done = 0
    for count, size in zip(layers.tolist(), elements.tolist(), strict=True):
        here = backward[done : done + count * spec.kernels_per_layer]
        done += len(here)
        segments.append(_segment("backward", Kind.COMPUTE, here))
        if spec.ranks > 1:
            segments.append(_all_reduce(spec, size * GRADIENT_BYTES, after=len(segments) - 1))
    waits = tuple(place for place, segment in enumerate(segments) if segment.kind == Kind.COLLECTIVE)
    update = shared(optimizer_ns, [1] * OPTIMIZER_KERNELS, quantum)
    segments.append(_segment("optimizer", Kind.COMPUTE, update, after=waits))
    return Plan(tuple(segments))


def shared(total: int, weights: Sequence[int], quantum: int = 1) -> Ints:
    """The total in parts by weight, each a multiple of the quantum, whose sum is the total exactly."""
    reached = np.cumsum(np.asarray(weights, dtype=np.float64))
    edges = np.rint(total / quantum * (reached / reached[-1])).astype(np.int64) * quantum
    edges[-1] = total
    parts: Ints = np.diff(edges, prepend=0)
    return parts


def _weights(spec: Spec, phase: str) -> list[int]:
    """What each kernel of a whole pass weighs."""
    return [
        work.weight for work in work_of(phase, spec.layers * spec.kernels_per_layer, per_layer=spec.kernels_per_layer)
    ]


def _segment(phase: str, kind: Kind, dur_ns: Ints, *, after: tuple[int, ...] = ()) -> Segment:
    return Segment(phase, kind, MAIN_STREAM, dur_ns, np.zeros_like(dur_ns), after)


def _all_reduce(spec: Spec, bytes: int, *, after: int) -> Segment:
    took = np.array([spec.ring_ns(bytes)], dtype=np.int64)
    return Segment("all_reduce", Kind.COLLECTIVE, COMM_STREAM, took, np.zeros_like(took), (after,), bytes)
