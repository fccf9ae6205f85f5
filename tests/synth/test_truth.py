"""The truth of a small job, which was computed on paper."""

import json
from pathlib import Path

import pytest

from scaleprof.synth.timeline import simulate
from scaleprof.synth.truth import truth_of, write_truth
from tests.synth.tiny import ACCOUNT_US, TRANSFER_US, WAITS_US, WINDOW_US, tiny


@pytest.mark.parametrize("dialect", ["native", "old2022"])
@pytest.mark.parametrize("offset_ms", [0.0, -7.5])
def test_the_account_is_the_one_on_paper(dialect: str, offset_ms: float) -> None:
    steps = truth_of(simulate(tiny(dialect=dialect, clock_offset_ms=(0.0, offset_ms))))["steps"]
    assert list(zip(steps["rank"], steps["step"], strict=True)) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert set(steps["window_ns"]) == {WINDOW_US * 1000}
    for name in ACCOUNT_US[0]:
        wanted = [ACCOUNT_US[rank][name] * 1000 for rank in steps["rank"]]
        assert steps[f"{name}_ns"] == wanted, name
    assert steps["start_ns"][1] == steps["end_ns"][0]
    assert steps["start_ns"][2] - steps["start_ns"][0] == offset_ms * 1e6


def test_a_rank_waits_for_the_last_arrival() -> None:
    collectives = truth_of(simulate(tiny(clock_offset_ms=(0.0, 3.0))))["collectives"]
    rows = [dict(zip(collectives, values, strict=True)) for values in zip(*collectives.values(), strict=True)]
    assert [(row["step"], row["seq"], row["rank"]) for row in rows] == [
        (step, 2 * step + place, rank) for step in (0, 1, 2) for place in (1, 2) for rank in (0, 1)
    ]
    for row in rows:
        place = (row["seq"] - 1) % 2 + 1
        assert row["wait_ns"] == WAITS_US[place, row["rank"]] * 1000
        assert row["transfer_ns"] == TRANSFER_US * 1000
        assert row["bytes"] == 20_000_000
    # Arrivals are on the true clock, whatever the hosts' clocks show.
    assert rows[0]["arrival_ns"] + rows[0]["wait_ns"] == rows[1]["arrival_ns"]


def test_the_parts_add_up_whatever_the_clock_does() -> None:
    steps = truth_of(simulate(tiny(jitter=0.1, steps=5, clock_drift_ppm=(33.3, -7.7))))["steps"]
    leaves = ("compute", "exposed_comm", "exposed_memory", "idle")
    total = [sum(parts) for parts in zip(*(steps[f"{leaf}_ns"] for leaf in leaves), strict=True)]
    assert total == steps["window_ns"]
    assert all(idle > 0 for idle in steps["idle_ns"])
    split = zip(steps["exposed_wait_ns"], steps["exposed_transfer_ns"], steps["exposed_comm_ns"], strict=True)
    assert all(wait + transfer == exposed and wait >= 0 for wait, transfer, exposed in split)


def test_one_rank_communicates_nothing() -> None:
    truth = truth_of(simulate(tiny(ranks=1, late_rank=0, late_ms=0.0)))
    assert truth["collectives"]["rank"] == []
    assert truth["steps"]["exposed_comm_ns"] == [0, 0]
    assert truth["steps"]["window_ns"] == [11_524_000] * 2


def test_the_file_says_the_same_and_that_it_is_synthetic(tmp_path: Path) -> None:
    timeline = simulate(tiny(clock_offset_ms=(0.0, 1.0), clock_drift_ppm=(0.0, 5.0)))
    write_truth(timeline, tmp_path / "truth.json")
    content = json.loads((tmp_path / "truth.json").read_text())
    assert content == json.loads(json.dumps(truth_of(timeline)))
    assert content["scaleprof_synthetic"] is True
    assert content["clocks"] == {
        "rank": [0, 1],
        "host": ["synthetic-host-0", "synthetic-host-1"],
        "offset_ns": [0, 1_000_000],
        "drift_ppm": [0.0, 5.0],
    }
    assert content["spec"]["late_ms"] == 2.0
