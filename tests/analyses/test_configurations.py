"""Which runs are held against one another, and what is measured of each."""

from dataclasses import replace

import numpy as np
import pytest

from scaleprof.align import RunView
from scaleprof.analyses.scaling.study import ScalingOptions
from scaleprof.analyses.strategies.configurations import find_rivals
from scaleprof.results import Table
from scaleprof.run import Emulated
from tests.making import Made, make_view, regular_job

MS = 1_000_000


def job(
    strategy: str,
    *,
    step: int = 100,
    ranks: int = 2,
    samples: float = 8,
    memory: tuple[float, ...] = (100, 120),
    **info: object,
) -> RunView:
    """12 steps of so many ms, each rank with the memory given in MB at its last sample."""
    made = regular_job(ranks, step=step * MS, compute=60 * MS, blocked=20 * MS, samples=samples)
    peaks = dict(zip(range(ranks), memory, strict=False))
    counters = [{"rss_bytes": [50e6, peaks[rank] * 1e6]} if rank in peaks else {} for rank in range(ranks)]
    known = [replace(one, counters=values) for one, values in zip(made, counters, strict=True)]
    stated = {"name": strategy, "model": "net", "precision": "float32", **info}
    return make_view(known, strategy=strategy, **stated)  # type: ignore[arg-type]


def names(*views: RunView) -> list[list[str]]:
    return [[one.name for one in rivals.members] for rivals in find_rivals(views, ScalingOptions()).rivals]


def test_throughput_memory_and_time_of_a_configuration_follow_from_its_parts() -> None:
    [rivals] = find_rivals([job("ddp"), job("fsdp2", step=200, memory=(90, 80))], ScalingOptions()).rivals
    assert (rivals.ranks, rivals.memory_of, rivals.scope, rivals.setting.batch) == (2, "process", "at 2 ranks", 16)
    ddp, fsdp2 = rivals.members
    assert (ddp.name, ddp.step_ms.value, ddp.throughput.value) == ("ddp", pytest.approx(100), pytest.approx(160))
    assert (fsdp2.name, fsdp2.step_ms.value, fsdp2.throughput.value) == ("fsdp2", pytest.approx(200), pytest.approx(80))
    assert (ddp.memory_bytes, fsdp2.memory_bytes) == (120e6, 90e6), "the most of any rank"
    assert ddp.account is not None
    assert ddp.account.tau_ms == pytest.approx(100 / 8)
    assert ddp.account.by_leaf_ms["compute"] == pytest.approx(60 / 8)
    assert ddp.energy_j is None
    assert ddp.efficiency is None


def test_energy_is_the_power_of_all_gpus_times_the_step_over_its_samples() -> None:
    """Two GPUs of 200 and 300 W, 0.1 s a step of 16 samples: 500 W x 0.1 s / 16."""
    view = job("ddp")
    times = np.linspace(0, 1.3e9, 14).astype(np.int64)
    tables = {
        rank: Table({"time_ns": times, "energy_j": watts * times / 1e9 + 1e4 * rank, "power_w": times * np.nan})
        for rank, watts in enumerate((200.0, 300.0))
    }
    known = replace(view, facts={**view.facts, "power": tables})
    [rivals] = find_rivals([known, job("fsdp2")], ScalingOptions()).rivals
    [energy, unknown] = [one.energy_j for one in sorted(rivals.members, key=lambda one: one.name)]
    assert energy is not None
    assert (energy.value, energy.low) == (pytest.approx(500 * 0.1 / 16), pytest.approx(500 * 0.1 / 16))
    assert unknown is None


def test_memory_of_the_gpu_goes_before_that_of_the_process() -> None:
    views = [job("ddp"), job("fsdp2")]
    used = {0: np.array([1e3, 3e3]), 1: np.array([2e3, np.nan])}
    tables = {
        rank: Table({**table.columns, "gpu_memory_mb": used[rank]}) for rank, table in views[0].fact("hardware").items()
    }
    views[0] = replace(views[0], facts={**views[0].facts, "hardware": tables})
    [rivals] = find_rivals(views, ScalingOptions()).rivals
    assert rivals.memory_of == "GPU"
    assert {one.name: one.memory_bytes for one in rivals.members} == {"ddp": 3e9, "fsdp2": None}, (
        "never one beside the other"
    )


def test_only_the_same_work_is_compared() -> None:
    link = Emulated(link="1gbit")
    plain = job("ddp")
    for other in (
        job("fsdp2", model="other"),
        job("fsdp2", precision="bfloat16"),
        job("fsdp2", ranks=4, samples=4),
        job("fsdp2", samples=4),
        job("fsdp2", device_name="another"),
        job("fsdp2", emulated=link),
    ):
        found = find_rivals([plain, other], ScalingOptions())
        assert not found.rivals
        assert found.alone == ["ddp (2 ranks)", f"fsdp2 ({other.info.world_size} ranks)"]
    blind = find_rivals([plain, job("fsdp2", samples=float("nan"))], ScalingOptions())
    assert blind.blind == ["fsdp2 (2 ranks)"]


def test_configurations_of_one_strategy_go_by_their_names_and_repeats_are_pooled() -> None:
    small, large = (job("ddp", name=f"buckets-{size}", series="buckets") for size in (1, 25))
    assert names(small, large) == [["buckets-1", "buckets-25"]]
    again = replace(large, info=replace(large.info, repeat=1))
    [rivals] = find_rivals([small, large, again], ScalingOptions()).rivals
    assert [len(one.views) for one in rivals.members] == [1, 2]
    assert names(large, again) == []


def test_studies_of_one_strategy_are_no_rivals() -> None:
    assert names(job("ddp", name="strong", series="strong"), job("ddp", name="weak", series="weak")) == []


def test_a_mesh_is_said_where_the_strategy_does_not_tell() -> None:
    wide, deep = (job("fsdp2+tp", ranks=4, replicas=4, mesh=mesh) for mesh in ({"dp": 2, "tp": 2}, {"dp": 1, "tp": 4}))
    assert names(wide, deep) == [["fsdp2+tp (dp 2 × tp 2)", "fsdp2+tp"]]
    assert names(wide, job("ddp", ranks=4)) == [["fsdp2+tp", "ddp"]]


def test_settings_are_told_apart_in_as_few_words_as_do() -> None:
    views = [
        job(strategy, emulated=Emulated(link=link)) for strategy in ("ddp", "fsdp2") for link in ("1gbit", "50mbit")
    ]
    assert [rivals.scope for rivals in find_rivals(views, ScalingOptions()).rivals] == [
        "at 2 ranks (1gbit)",
        "at 2 ranks (50mbit)",
    ]


def test_the_largest_size_comes_first_and_has_an_efficiency_where_it_scales() -> None:
    views = [
        job(strategy, ranks=ranks, samples=16 / ranks, step=200 // ranks + 60)
        for strategy in ("ddp", "fsdp2")
        for ranks in (1, 2)
    ]
    first, second = find_rivals(views, ScalingOptions()).rivals
    assert (first.ranks, second.ranks) == (2, 1)
    assert [one.efficiency.value for one in first.members if one.efficiency] == pytest.approx([260 / 160 / 2] * 2)


def test_a_run_without_steps_is_survived() -> None:
    assert names(make_view([Made()], strategy="ddp"), job("ddp"), job("fsdp2")) == [["ddp", "fsdp2"]]
