"""Configurations over sizes: what is expected of sizes that nobody measured, from numbers on paper and against synthetic jobs of those sizes."""

from dataclasses import replace
from pathlib import Path

import pytest

from scaleprof import analyze
from scaleprof.align import RunView
from scaleprof.analyses.scaling.study import ScalingOptions
from scaleprof.analyses.strategies.choices import (
    Choice,
    caveats_of,
    charts_of,
    find_choices,
    memory_at,
    metrics_of,
    table_of,
)
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job
from tests.making import make_view, regular_job

MS = 1_000_000
BATCH = 64


def study(
    name: str, compute: int, blocked: int, *, sizes: tuple[int, ...] = (2, 4, 8), **info: object
) -> list[RunView]:
    """12 steps at each size of `compute` ms divided by the ranks and `blocked` ms more, of 64 samples in all; memory 200 MB and 800 MB divided."""
    views = []
    for ranks in sizes:
        jobs = regular_job(
            ranks,
            step=(compute // ranks + blocked) * MS,
            compute=compute // ranks * MS,
            blocked=blocked * MS,
            samples=BATCH / ranks,
        )
        used = (200 + 800 / ranks) * 1e6
        known = [replace(one, counters={"rss_bytes": [50e6, used]}) for one in jobs]
        stated = {"name": f"{name}-{ranks}", "model": "net", "precision": "float32", **info}
        views.append(make_view(known, strategy=name, **stated))  # type: ignore[arg-type]
    return views


def crossing() -> Choice:
    """`a` takes 640 / N + 24 ms and `b` 800 / N + 8: from 10 ranks on `b` is the faster one, and nobody measured more than 8."""
    [choice] = find_choices([*study("a", 640, 24), *study("b", 800, 8)], ScalingOptions())
    return choice


def test_the_faster_one_at_sizes_that_nobody_measured_may_be_another() -> None:
    choice = crossing()
    assert list(choice.by_size) == [2, 4, 8, 16, 32, 64]
    assert [choice.fastest(ranks) for ranks in choice.by_size] == [["a"], ["a"], ["a"], ["b"], ["b"], ["b"]]
    trust = [known[0].trust for known in choice.by_size.values()]
    assert trust == ["measured", "measured", "measured", "predicted", "indicative", "indicative"]
    for ranks, known in choice.by_size.items():
        for one in known:
            took = {"a": 640 / ranks + 24, "b": 800 / ranks + 8}[one.name]
            assert one.throughput == pytest.approx(BATCH / took * 1e3, rel=0.002)
            assert one.memory_bytes == pytest.approx((200 + 800 / ranks) * 1e6)
            assert one.low <= one.throughput <= one.high


def test_it_is_said_in_words_a_table_and_a_picture() -> None:
    choice = crossing()
    [chart] = charts_of([choice])
    assert chart.title == "a does most samples a second at 8 ranks; at 64 it is b (indicative)"
    assert {layer.name: layer.x for layer in chart.layers}["not measured"] == [8, 64]
    assert [(metric.id, metric.value) for metric in metrics_of([choice])] == [
        ("strategies.fastest_at_16", "b"), ("strategies.fastest_at_32", "b"), ("strategies.fastest_at_64", "b"),
    ]  # fmt: skip
    table = table_of([choice])
    assert list(table["fastest"][:4]) == ["yes", "", "yes", ""]
    assert any("more ranks than samples in a step (64)" in caveat for caveat in caveats_of([choice]))


def test_what_intervals_do_not_tell_apart_is_open() -> None:
    [choice] = find_choices([*study("a", 640, 24), *study("b", 640, 24)], ScalingOptions())
    assert all(len(choice.fastest(ranks)) == 2 for ranks in choice.by_size)
    assert set(table_of([choice])["fastest"]) == {"open"}
    [chart] = charts_of([choice])
    assert chart.title.startswith("a or b does most samples a second at 8 ranks, and is expected to at 64")


def test_only_studies_of_the_same_work_are_held_against_one_another() -> None:
    options = ScalingOptions()
    assert find_choices(study("a", 640, 24), options) == []
    assert find_choices([*study("a", 640, 24), *study("b", 800, 8, model="other")], options) == []
    assert find_choices([*study("a", 640, 24), *study("b", 800, 8, sizes=(2, 4))], options) == [], (
        "two sizes make no law"
    )
    assert table_of([]).columns and not len(table_of([])) and charts_of([]) == [] and metrics_of([]) == []


@pytest.mark.parametrize(
    ("peaks", "ranks", "expected"),
    [
        ({2: 10.0, 4: 6.0}, 8, 4.0),  # 2 + 16 / N
        ({2: 10.0, 4: 12.0}, 8, 11.0),  # what grows is not divided: the mean
        ({2: 10.0, 4: 4.0}, 8, 2.4),  # nothing is negative: 19.2 / N by least squares
        ({4: 6.0}, 8, None),
    ],
)
def test_memory_is_a_part_that_all_hold_and_one_that_they_divide(
    peaks: dict[int, float], ranks: int, expected: float | None
) -> None:
    assert memory_at(peaks, ranks) == (expected if expected is None else pytest.approx(expected))


def test_synthetic_jobs_of_the_next_size_keep_the_order_and_lie_near_what_was_expected(tmp_path: Path) -> None:
    job = Spec(steps=8, gradient_bytes=400_000_000, bandwidth_gbps=20.0, ranks_per_host=64)
    folders = {}
    for ranks in (2, 4, 8, 16):
        folders[ranks] = tmp_path / str(ranks)
        for name in ("ddp", "fsdp"):
            (folders[ranks] / name).mkdir(parents=True)
            write_job(replace(job, ranks=ranks, strategy=name), folders[ranks] / name)
    report = analyze([folders[ranks] for ranks in (2, 4, 8)])
    table = report.tables["strategies_by_size"]
    expected = table[table["ranks"] == 16]
    assert set(expected["trust"]) == {"predicted"}
    for run in analyze([folders[16]]).runs:
        [row] = expected[expected["configuration"] == run.info.strategy].to_dict("records")
        made = run.metric("step.throughput")
        assert made is not None and made.value == pytest.approx(row["throughput"], rel=0.05)
