"""Bytes on the bus: on paper by strategy, and measured on recorded runs."""

from pathlib import Path

import pytest

from scaleprof.analyses.communication.traffic import expected_bus_bytes, measured_bus_bytes, traffic_of
from scaleprof.models.volumes import replicated_bytes, sharded_bytes
from tests.analyses.making_graphs import recorded

SAMPLES = Path(__file__).parents[2] / "sample_traces"


def test_volumes_on_paper() -> None:
    # 1,000 parameters of 4 bytes: over 4 ranks an all-reduce puts 2 * 3/4 of them on the bus; FSDP gathers twice and scatters once.
    assert replicated_bytes(1000, 4, element=4) == 6000
    assert sharded_bytes(1000, 4, element=4) == 9000
    assert sharded_bytes(1000, 4, element=4, gathers=1) == 6000
    assert sharded_bytes(1000, 4, element=2, gathers=8) == 1000 * 2 * 0.75 * 9


@pytest.mark.parametrize(
    ("name", "megabytes"),
    [
        ("emulated-ddp-n4", 9.5255),
        ("emulated-ddp-fp16-n4", 4.7628),
        ("emulated-fsdp2-n4", 14.2883),
        ("horovod-strong-n4", 2.3962),
        ("nccl-ddp-timeline-n2", 33.5954),
    ],
)
def test_what_was_sent_is_what_the_strategy_sends(name: str, megabytes: float) -> None:
    [folder] = SAMPLES.glob(f"{name}-????????")
    view = recorded(folder)
    measured, expected = measured_bus_bytes(view), expected_bus_bytes(view)
    assert measured is not None and expected is not None
    assert expected / 1e6 == pytest.approx(megabytes, abs=1e-3)
    assert measured == pytest.approx(expected, rel=2e-3)  # buffers are sent beside
    assert traffic_of([view, view], measured_bus_bytes) == pytest.approx(measured)


@pytest.mark.parametrize(
    "name", ["emulated-tp-n4", "emulated-pp-1f1b-n4", "emulated-ddp-powersgd-n4", "emulated-single-n1"]
)
def test_nothing_is_expected_where_it_does_not_follow(name: str) -> None:
    [folder] = SAMPLES.glob(f"{name}-????????")
    assert expected_bus_bytes(recorded(folder)) is None


def test_a_run_without_operations_sent_nothing_that_is_known() -> None:
    [folder] = SAMPLES.glob("emulated-tasks-n2-????????")
    view = recorded(folder)
    assert measured_bus_bytes(view) is None
    assert traffic_of([view], measured_bus_bytes) is None
