"""Garbage collection and compilation: what the recorder notes of them, on a real interpreter."""

import gc
import os
from pathlib import Path
from typing import Any

import torch

import scaleprof
from scaleprof.collect.watching.pauses import Pauses
from scaleprof.readers.finding.directory import run_of_directory
from scaleprof.readers.recorded.recorded import read_recorded
from scaleprof.trace import Kind
from tests.collect.training import lines, loop, only_rank


def rings(count: int) -> None:
    """Garbage that only the collector can find."""
    for _ in range(count):
        ring: list[Any] = []
        ring.append(ring)


def test_a_collection_is_a_pause_of_the_step_it_falls_into(tmp_path: Path) -> None:
    before = list(gc.callbacks)
    gc.collect()
    with scaleprof.profile(tmp_path, level="light", sample_hz=0):
        loop(3)
        gc.disable()
        rings(500_000)
        gc.collect()
        gc.enable()
        loop(3)
    assert gc.callbacks == before
    longest = max(lines(only_rank(tmp_path) / "pauses.jsonl"), key=lambda line: line["d"])
    assert (longest["what"], longest["i"]) == ("gc", 3)
    [run] = tmp_path.iterdir()
    trace = read_recorded(run_of_directory(run).ranks[0])
    pause = int(trace.pauses.dur_ns.argmax())
    assert trace.pauses.dur_ns[pause] == longest["d"]
    assert Kind(trace.names.kind[trace.pauses.name[pause]]) == Kind.GC
    step = trace.steps
    assert step.start_ns[3] <= trace.pauses.start_ns[pause]
    assert trace.pauses.start_ns[pause] + trace.pauses.dur_ns[pause] <= step.end_ns[3]


def test_compilation_is_a_pause_and_nothing_stays_with_the_compiler(tmp_path: Path) -> None:
    import torch._dynamo as dynamo
    from torch._dynamo.callback import callback_handler

    dynamo.reset()
    dynamo.config.automatic_dynamic_shapes = False
    function = torch.compile(lambda tensor: tensor * 2, backend="eager", dynamic=False)
    with scaleprof.profile(tmp_path, level="light", sample_hz=0):
        loop(2)
        for size in (3, 4):
            function(torch.ones(size))
            loop(1)
        function(torch.ones(4))
        loop(1)
    assert not callback_handler.start_callbacks
    assert not callback_handler.end_callbacks
    written = [line for line in lines(only_rank(tmp_path) / "pauses.jsonl") if line["what"] == "compile"]
    assert [line["i"] for line in written] == [2, 3], "once for each new shape, and not where it is known"
    assert all(line["d"] > 0 for line in written)


def test_a_forked_child_notes_nothing() -> None:
    pauses = Pauses()
    pauses.install()
    try:
        child = os.fork()
        if child == 0:
            rings(100_000)
            gc.collect()
            os._exit(len(list(pauses.lines())))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        pauses.remove()


def test_what_began_before_the_recording_has_no_beginning() -> None:
    pauses = Pauses()
    pauses._on_compile_end(None)
    assert list(pauses.lines()) == []
