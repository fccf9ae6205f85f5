"""Traces made by hand: the events of a test as a few tuples, everything else filled in."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from scaleprof.align import RankFacts, RunView, align
from scaleprof.analyses import ANALYSES
from scaleprof.intervals import EMPTY, Spans, spans
from scaleprof.run import RankInfo, RunInfo
from scaleprof.trace import UNKNOWN, Comm, Copies, Events, Kind, Lanes, Names, Operations, Pauses, Samples, Steps, Trace

HOST, WORKER, STREAM_7, STREAM_20 = range(4)
"""Lanes of a made trace: the main thread, a gloo worker, two streams of device 0."""


@dataclass(frozen=True)
class Event:
    """One event: where, what, when (ns)."""

    lane: int
    kind: Kind
    start: int
    dur: int
    name: str = ""
    step: int = 0
    flops: int | None = None
    """Its floating-point operations, for one that multiplies matrices; UNKNOWN (-1) where nothing says how many."""


@dataclass(frozen=True)
class Step:
    """One step and what its line says."""

    start: int
    end: int
    blocked: int = UNKNOWN
    input: int = UNKNOWN
    runq: int = UNKNOWN
    device: int = UNKNOWN
    samples: float = float("nan")
    profiled: bool = True
    perturbed: bool = False


@dataclass(frozen=True)
class Made:
    """What a test says about a trace; `trace()` makes it."""

    events: Sequence[Event] = ()
    steps: Sequence[Step] = ()
    waits: Spans = field(default_factory=lambda: EMPTY)
    info: RankInfo = field(default_factory=lambda: RankInfo(rank=0, world_size=1))
    counters: dict[str, list[float]] = field(default_factory=dict)


def make_trace(made: Made) -> Trace:
    """The trace of the events and steps given; every collective or point-to-point event gets a row in `comm`."""
    events = sorted(made.events, key=lambda event: event.start)
    labels = sorted({(event.kind, event.name or event.kind.name.lower()) for event in events})
    column = {name: np.array([getattr(event, name) for event in events], dtype=np.int64) for name in ("start", "dur")}
    on_device = any(event.lane >= STREAM_7 for event in events)
    counted = [row for row, event in enumerate(events) if event.flops is not None]
    comm = [row for row, event in enumerate(events) if event.kind in (Kind.COLLECTIVE, Kind.P2P)]
    return Trace(
        info=made.info,
        names=Names(
            text=tuple(name for _, name in labels),
            category=tuple(kind.name for kind, _ in labels),
            kind=np.array([kind for kind, _ in labels], dtype=np.uint8),
            by_rule=np.array(["odd" not in name for _, name in labels], dtype=np.bool_),
        ),
        lanes=Lanes(
            device=np.array([-1, -1, 0, 0] if on_device else [-1, -1], dtype=np.int32),
            stream=np.array([1, 2, 7, 20] if on_device else [1, 2], dtype=np.int64),
            label=("python", "pt_gloo_runloop", "", "") if on_device else ("python", "pt_gloo_runloop"),
        ),
        events=Events(
            start_ns=column["start"],
            dur_ns=column["dur"],
            name=np.array([labels.index((e.kind, e.name or e.kind.name.lower())) for e in events], dtype=np.int32),
            lane=np.array([event.lane for event in events], dtype=np.int32),
            step=np.array([event.step for event in events], dtype=np.int32),
            link=np.full(len(events), -1, dtype=np.int32),
        ),
        comm=Comm(
            row=np.array(comm, dtype=np.int32),
            issued_ns=np.full(len(comm), UNKNOWN, dtype=np.int64),
            op=("all_reduce",) * len(comm),
            bytes=np.full(len(comm), 4096, dtype=np.int64),
            dtype=("float32",) * len(comm),
            group=("0",) * len(comm),
            seq=np.arange(len(comm), dtype=np.int64),
            peer=np.full(len(comm), -1, dtype=np.int32),
        ),
        copies=Copies(np.zeros(0, np.int32), (), np.zeros(0, np.bool_), np.zeros(0, np.int64)),
        steps=_steps(made.steps),
        samples=Samples(
            np.arange(len(next(iter(made.counters.values()), []))).astype(np.int64),
            {name: np.array(values, dtype=np.float64) for name, values in made.counters.items()},
        ),
        waits=made.waits,
        operations=Operations(
            np.array(counted, dtype=np.int32), np.array([events[row].flops for row in counted], dtype=np.int64)
        ),
    )


def with_pauses(trace: Trace, *pauses: tuple[int, int, Kind]) -> Trace:
    """The same trace with pauses of the interpreter: start, duration in ns, kind."""
    names = trace.names
    kinds = list(dict.fromkeys(kind for _, _, kind in pauses))
    names = replace(
        names,
        text=(*names.text, *(kind.name.lower() for kind in kinds)),
        category=(*names.category, *("scaleprof" for _ in kinds)),
        kind=np.concatenate((names.kind, np.array(kinds, dtype=np.uint8))),
        by_rule=np.concatenate((names.by_rule, np.ones(len(kinds), dtype=np.bool_))),
    )
    row = np.array([len(trace.names.text) + kinds.index(kind) for _, _, kind in pauses], dtype=np.int64)
    start, dur = (np.array([pause[place] for pause in pauses], dtype=np.int64) for place in (0, 1))
    return replace(trace, names=names, pauses=Pauses(start, dur, row))


def _steps(steps: Sequence[Step]) -> Steps:
    def ints(name: str) -> np.ndarray:
        return np.array([getattr(step, name) for step in steps], dtype=np.int64)

    return Steps(
        index=np.arange(len(steps), dtype=np.int64),
        start_ns=ints("start"),
        end_ns=ints("end"),
        host_start_ns=ints("start"),
        host_end_ns=ints("end"),
        samples=np.array([step.samples for step in steps], dtype=np.float64),
        blocked_ns=ints("blocked"),
        input_ns=ints("input"),
        runq_ns=ints("runq"),
        cpu_ns=np.full(len(steps), UNKNOWN, dtype=np.int64),
        device_ns=ints("device"),
        profiled=np.array([step.profiled for step in steps], dtype=np.bool_),
        perturbed=np.array([step.perturbed for step in steps], dtype=np.bool_),
    )


def waits_of(*pairs: tuple[int, int]) -> Spans:
    """Wait intervals."""
    return spans(list(pairs))


def make_view(ranks: Sequence[Made], *, name: str = "run", **of_run: object) -> RunView:
    """The view of a run whose ranks were made by hand, as the pipeline would align it."""
    facts = {}
    for rank, made in enumerate(ranks):
        trace = make_trace(replace(made, info=replace(made.info, rank=rank, world_size=len(ranks))))
        tables = {fact: measure(trace) for analysis in ANALYSES for fact, measure in analysis.needs.items()}
        facts[rank] = RankFacts(trace.info, tables)
    return align(RunInfo(name=name, world_size=len(ranks), **of_run), facts)  # type: ignore[arg-type]


def regular_job(ranks: int, *, step: int, compute: int, blocked: int, samples: float, steps: int = 12) -> list[Made]:
    """Ranks that all do the same in every step: an emulated device that computes, then blocks; the rest is idle. Times in ns."""
    made = []
    for _ in range(ranks):
        starts = [number * (step + 5) for number in range(steps)]
        made.append(
            Made(
                events=[Event(HOST, Kind.COMPUTE, start, compute, step=place) for place, start in enumerate(starts)],
                steps=[
                    Step(start, start + step, blocked=blocked, input=0, runq=0, samples=samples) for start in starts
                ],
                waits=waits_of(*((start + compute, start + compute + blocked) for start in starts)),
            )
        )
    return made
