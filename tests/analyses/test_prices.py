"""What SyncBatchNorm and compressed gradients cost: on paper, and on the recorded runs against the same model without them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scaleprof import Report, analyze
from scaleprof.analyses.account.extras import Extras, extras
from scaleprof.analyses.strategies.compression import Tried, charts_of, measured_break_even, sentences_of
from scaleprof.analyses.strategies.pairs import Side
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
        "step": 0, "encode_ns": 5, "decode_ns": 7, "optimizer_ns": 0, "optimizer_kernels": 0,
        "syncbn_ns": 20, "syncbn_passes": 1, "syncbn_exposed_ns": 10,
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
    plain = made_side(100, bus_bytes=12e6)
    other = made_side(95, bus_bytes=6e6, cost_ms=3)
    tried = Tried(plain, other)
    assert tried.break_even_gbps == pytest.approx(2.0)
    assert tried.computed_ms(2.0) == pytest.approx(0)
    assert tried.computed_ms(1.0) == pytest.approx(3)
    assert Tried(plain, plain).break_even_gbps is None, "nothing was recorded of encoding"


def test_the_links_on_both_sides_of_the_measured_break_even_on_paper() -> None:
    """30 ms saved at 1 GB/s, 10 ms lost at 2 GB/s: a quarter of the way from the fast link in the time of a byte, 1.6 GB/s."""
    slow = Tried(made_side(130, transfer_ms=12), made_side(100, bus_bytes=6e6, cost_ms=3))
    fast = Tried(made_side(100, transfer_ms=6), made_side(110, bus_bytes=6e6, cost_ms=3))
    even = measured_break_even([slow, fast])
    assert even is not None
    assert (even.value, even.low, even.high) == (pytest.approx(1.6), 1.0, 2.0)
    assert measured_break_even([slow]) is None
    assert measured_break_even([fast, fast]) is None
    assert sentences_of([fast, slow]) == [
        "PowerSGD saves 30 ms (23.1 %) of a step at 1 GB/s, loses 10 ms (10.0 %) of a step at 2 GB/s (4 ranks): "
        "it stops paying between 1 GB/s and 2 GB/s"
    ]
    [chart] = charts_of([fast, slow])
    measured, computed = chart.layers
    assert (measured.x, measured.y) == ([1.0, 2.0], [30.0, -10.0])
    assert computed.y[0] == pytest.approx(3), "6 MB at 1 GB/s less 3 ms"
    assert computed.y[-1] < 0, "drawn beyond the break-even"


def made_side(step_ms: float, *, bus_bytes: float = 12e6, transfer_ms: float | None = None, cost_ms: float = 0) -> Side:
    info = SimpleNamespace(strategy="ddp+powersgd", world_size=4, emulated=None)
    view: Any = SimpleNamespace(info=info)
    spent = Extras(cost_ms / 3, cost_ms * 2 / 3, 0.0, 0.0, 0.0)
    return Side(view, step_ms, np.full(8, float(step_ms)), bus_bytes / 1.5, bus_bytes, transfer_ms, 0.0, spent)


@pytest.fixture(scope="module")
def links() -> Report:
    """The same job with and without compression on three links."""
    names = ("emulated-ddp-n4-*", "emulated-ddp-fp16-n4-*", "emulated-ddp-powersgd-n4-*", "on-*")
    return analyze(sorted(folder for name in names for folder in SAMPLES.glob(name)))


def test_compression_pays_on_the_slow_links_and_not_on_the_fast_one(links: Report) -> None:
    table = links.tables["compression"].set_index(["strategy", "link"])
    for strategy in ("ddp+fp16", "ddp+powersgd"):
        saved = {link: table.loc[(strategy, f"{link} between namespaces")] for link in ("50mbit", "200mbit", "1gbit")}
        assert saved["50mbit"]["saved_low_ms"] > 700
        assert 70 < saved["200mbit"]["saved_ms"] < 150
        assert saved["1gbit"]["saved_low_ms"] < 0 < saved["1gbit"]["saved_high_ms"], "nothing measurable"
        for one in saved.values():
            assert one["encode_ms"] > 1
            assert one["decode_ms"] > 1
        assert saved["50mbit"]["bus_gbps"] == pytest.approx(0.00625, rel=0.1), "50 Mbit/s"
        assert saved["200mbit"]["bus_gbps"] == pytest.approx(0.025, rel=0.1)
        # Where the wire is nearly all of the step, what its bytes cost is what was saved; where the backward pass hides them, it is not.
        slow = saved["50mbit"]
        assert slow["saved_ms"] < slow["wire_saved_ms"] * 1.35
        assert saved["200mbit"]["saved_ms"] < saved["200mbit"]["wire_saved_ms"]


def test_the_break_even_is_computed_and_measured(links: Report) -> None:
    measured = links.metric("compression.measured_break_even_gbps")
    computed = links.metric("compression.break_even_gbps")
    assert measured.note.startswith("between 24 MB/s and 62.3 MB/s; ")
    assert 0.024 < measured.value < 0.0623 < computed.value, "what is hidden pays earlier no more"
    section = next(section for section in links.comparison if section.name == "prices")
    [chart] = section.charts
    assert [layer.name for layer in chart.layers] == ["fp16", "fp16, computed", "PowerSGD", "PowerSGD, computed"]
    assert chart.title == "PowerSGD saves 73.9 % of a step at 6.54 MB/s and changes nothing measurable at 62.3 MB/s"
    assert not section.caveats
