"""What the threads of a host do, piece by piece."""

from dataclasses import replace

import numpy as np

from scaleprof.analyses.account.host import BETWEEN_CALLS_NS, FAR, Cause, Host, overlay
from scaleprof.intervals import spans
from scaleprof.trace import Kind, Trace
from tests.analyses.making_gaps import BACKWARD, MAIN, gemm, launch, span, traced
from tests.making import Event, Made, Step, make_trace

ALL = spans([(0, 1_000_000)])


def doing(trace: Trace, *times: int, lane: int = MAIN, named: bool = False) -> list[tuple[str, str]]:
    """Cause and name at some times."""
    host = Host(trace, np.flatnonzero(trace.kinds == Kind.LAUNCH))
    host.look_at(ALL)
    found = host.doing(lane)
    found = host.named(found, lane) if named else found
    at = found.at(np.array(times))
    texts = [*trace.names.text, ""]
    pairs = zip(found.cause[at].tolist(), found.name[at].tolist(), strict=True)
    return [(Cause(cause).name.lower(), texts[name]) for cause, name in pairs]


def test_spans_are_cut_at_every_edge_and_nothing_is_lost() -> None:
    which, piece, parts = overlay(spans([(0, 10), (10, 10), (12, 30)]), np.array([5, 10, 20]))
    assert which.tolist() == [0, 0, 2, 2]
    assert piece.tolist() == [0, 1, 2, 3]
    assert np.column_stack(parts).tolist() == [[0, 5], [5, 10], [12, 20], [20, 30]]
    which, piece, parts = overlay(spans([(3, 7)]), np.zeros(0, dtype=np.int64))
    assert (which.tolist(), piece.tolist(), np.column_stack(parts).tolist()) == ([0], [0], [[3, 7]])


def test_a_hole_is_the_interpreter_up_to_a_length() -> None:
    for hole, cause in ((BETWEEN_CALLS_NS, "interpreter"), (BETWEEN_CALLS_NS + 1, "untraced")):
        events = [Event(MAIN, Kind.OP, 0, 50, "aten::mm"), Event(MAIN, Kind.OP, 50 + hole, 50, "aten::add")]
        trace = make_trace(Made(events=events, steps=[Step(0, 1_000_000)]))
        assert doing(trace, 40, 60) == [("dispatch", "aten::mm"), (cause, "")]


def test_holes_are_named_by_the_innermost_frame_or_phase() -> None:
    events = [
        Event(MAIN, Kind.PHASE, 0, 900, "ProfilerStep#3"),
        Event(MAIN, Kind.OTHER, 100, 700, "train.py(8): train"),
        Event(MAIN, Kind.OTHER, 200, 100, "time.sleep"),
        Event(MAIN, Kind.OTHER, 400, 100, "log.py(2): write"),
        Event(MAIN, Kind.OTHER, 400, 50, "open"),
        Event(MAIN, Kind.PHASE, 600, 50, "evaluate"),
        Event(MAIN, Kind.OP, 700, 20, "aten::mm"),
    ]
    trace = make_trace(Made(events=events, steps=[Step(0, 1000)]))
    frames = tuple("python_function" if kind == Kind.OTHER else "x" for kind in trace.names.kind.tolist())
    trace = replace(trace, names=replace(trace.names, category=frames))
    times = (50, 150, 250, 350, 420, 470, 550, 610, 710, 790, 850)
    assert [name for _, name in doing(trace, *times, named=True)] == [
        "",
        "train.py(8): train",
        "time.sleep",
        "train.py(8): train",
        "open",
        "log.py(2): write",
        "train.py(8): train",
        "evaluate",
        "aten::mm",
        "train.py(8): train",
        "",
    ]


def test_running_what_was_compiled_is_no_compilation() -> None:
    trace = traced(
        Made(
            events=[
                span(Kind.COMPILE, "## Call CompiledFxGraph fabc ##", 0, 50),
                span(Kind.COMPILE, "TorchDynamo Cache Lookup", 60, 10),
                span(Kind.COMPILE, "dynamo_timed", 80, 10),
                launch(1, 20, 5),
                gemm(1, 30, 5),
            ],
            steps=[Step(0, 100_000)],
        )
    )
    assert doing(trace, 10_000, 22_000, 65_000, 85_000, named=True) == [
        ("untraced", "## Call CompiledFxGraph fabc ##"),
        ("dispatch", "launch#1"),
        ("dispatch", "TorchDynamo Cache Lookup"),
        ("compile", "dynamo_timed"),
    ]


def test_the_main_thread_is_the_one_with_the_steps() -> None:
    events = [
        span(Kind.PHASE, "ProfilerStep#1", 0, 100, lane=BACKWARD),
        *(span(Kind.PHASE, "layer", at, 5) for at in (0, 10, 20)),
        launch(1, 30, 5),
    ]
    trace = make_trace(Made(events=events, steps=[Step(0, 100_000)]))
    assert Host(trace, np.flatnonzero(trace.kinds == Kind.LAUNCH)).main == BACKWARD
    nothing = make_trace(Made(steps=[Step(0, 100_000)]))
    host = Host(nothing, np.zeros(0, dtype=np.int64))
    host.look_at(ALL)
    assert host.main == -1
    assert host.doing(-1).cause.tolist() == [Cause.UNTRACED]


def test_waits_that_were_recorded_beside_the_trace_are_communication() -> None:
    trace = make_trace(
        Made(events=[span(Kind.OP, "aten::mm", 0, 10)], steps=[Step(0, 100_000)], waits=spans([(5_000, 30_000)]))
    )
    assert doing(trace, 6_000, 20_000, -FAR) == [("dispatch", "aten::mm"), ("host_comm", ""), ("untraced", "")]
