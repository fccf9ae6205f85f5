"""What SyncBatchNorm and compressed gradients cost: on paper, and on the recorded runs against the same model without them."""

from pathlib import Path
from typing import Any

import pytest

from scaleprof import Report, analyze
from scaleprof.analyses.extras import Extras, extras
from scaleprof.analyses.prices import Side, break_even_gbps
from scaleprof.trace import Kind
from tests.making import HOST, STREAM_7, STREAM_20, Event, Made, Step, make_trace

SAMPLES = Path(__file__).parent.parent.parent / "sample_traces"


def test_spans_on_a_host_last_as_long_as_they_say() -> None:
    events = [
        Event(HOST, Kind.PHASE, 10, 5, "scaleprof::encode fp16_compress_hook"),
        Event(HOST, Kind.PHASE, 30, 7, "scaleprof::decode fp16_compress_hook"),
        Event(HOST, Kind.PHASE, 50, 20, "scaleprof::sync_batch_norm forward"),
        Event(HOST, Kind.WAIT, 55, 10, "scaleprof::wait"),
        Event(HOST, Kind.COMPUTE, 75, 5, "scaleprof::emulated_compute"),
    ]
    table = extras(make_trace(Made(events=events, steps=[Step(0, 100)])))
    assert {name: int(table[name][0]) for name in table.columns} == {
        "step": 0, "encode_ns": 5, "decode_ns": 7, "syncbn_ns": 20, "syncbn_passes": 1, "syncbn_exposed_ns": 10,
    }  # fmt: skip


def test_on_a_device_the_kernels_launched_within_them_count() -> None:
    # Without a launch in the file nothing says that a kernel belongs to a span.
    events = [
        Event(HOST, Kind.PHASE, 10, 5, "scaleprof::encode fp16_compress_hook"),
        Event(STREAM_7, Kind.COMPUTE, 20, 30),
        Event(STREAM_20, Kind.COLLECTIVE, 50, 10),
    ]
    table = extras(make_trace(Made(events=events, steps=[Step(0, 100)])))
    assert int(table["encode_ns"][0]) == 0


@pytest.fixture(scope="module")
def report() -> Report:
    """The study of strategies."""
    folders = [path for path in SAMPLES.glob("emulated-*") if "-strong-" not in path.name and "-weak-" not in path.name]
    return analyze(sorted(folders))


def test_sync_batch_norm_costs_what_its_own_collectives_add_up_to(report: Report) -> None:
    """16 passes a step (8 layers, forward and backward) against the same model without."""
    table = report.tables["syncbn"]
    assert table["ranks"].tolist() == [2, 4]
    assert table["passes"].tolist() == [16, 16]
    for measured, computed in zip(table["measured_ms"], table["computed_ms"], strict=True):
        assert measured == pytest.approx(computed, rel=0.3)
    last = table.iloc[-1]
    assert last["measured_ms"] == pytest.approx(last["computed_ms"], rel=0.1)
    finding = next(
        finding
        for run in report.runs
        for section in run.sections
        for finding in section.findings
        if finding.id == "syncbn"
    )
    assert finding.severity == "high"


def test_compression_saves_what_the_wire_is_spared(report: Report) -> None:
    table = report.tables["compression"].set_index(["strategy", "ranks"])
    for ranks in (2, 4):
        half = table.loc[("ddp+fp16", ranks)]
        assert half["ratio"] == pytest.approx(2, rel=0.001)
        assert 0 < half["saved_ms"] < half["wire_saved_ms"], "some of it was hidden"
        assert half["exposed_saved_ms"] == pytest.approx(half["saved_ms"], abs=15)
        assert table.loc[("ddp+powersgd", ranks)]["ratio"] > 100


def test_below_the_break_even_bandwidth_compression_pays_on_paper() -> None:
    """6 MB less on the bus for 3 ms of encoding and decoding: below 2 GB/s that is worth it."""
    view: Any = None
    plain = Side(view, 100.0, 8e6, 12e6, None, 0.0, None)
    other = Side(view, 95.0, 4e6, 6e6, None, 0.0, Extras(1.0, 2.0, 0.0, 0.0, 0.0))
    assert break_even_gbps(plain, other) == pytest.approx(2.0)
    assert break_even_gbps(plain, plain) is None, "nothing was recorded of encoding"
