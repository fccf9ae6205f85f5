"""The efficiency tree of a run and over sizes: its identities, on paper, on synthetic jobs and on the recorded study."""

from math import prod
from pathlib import Path

import numpy as np
import pytest

from scaleprof import Report, analyze
from scaleprof.analyses.scaling import efficiency, hierarchy
from scaleprof.analyses.scaling.study import ScalingOptions
from scaleprof.models.efficiency import FACTORS
from scaleprof.results import Result
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job
from scaleprof.trace import Kind
from tests.making import STREAM_7, STREAM_20, Event, Made, Step, make_view

SAMPLES = Path(__file__).parent.parent.parent / "sample_traces"
STEPS = 8


def made(compute: int, wait: int, *, kernels: int = 1, length: int = 1000) -> Made:
    """Steps of `length`, in each `kernels` abutting kernels of together `compute`, and after them an all-reduce of `wait` ns."""
    events, steps = [], []
    for number in range(STEPS):
        start = number * length
        part = compute // kernels
        events += [
            Event(STREAM_7, Kind.COMPUTE, start + place * part, part, "gemm", step=number) for place in range(kernels)
        ]
        events.append(Event(STREAM_20, Kind.COLLECTIVE, start + compute, wait, step=number))
        steps.append(Step(start, start + length, samples=8))
    return Made(events=events, steps=steps)


def tree(result: Result | None) -> dict[str, float]:
    assert result is not None
    return {metric.id: float(metric.value) for metric in result.metrics}


def test_the_tree_of_a_run_on_paper() -> None:
    # Rank 1 computes 700 and reduces for 200, rank 0 computes 500 and waits 200 longer; 100 of 1000 are idle.
    found = tree(efficiency.conclude(make_view([made(500, 400), made(700, 200)]), None))
    assert found["efficiency.parallel"] == pytest.approx(0.6)
    assert found["efficiency.wait"] == pytest.approx(1200 / 1400)
    assert found["efficiency.transfer"] == pytest.approx(1400 / 1800)
    assert found["efficiency.memory"] == 1
    assert found["efficiency.orchestration"] == pytest.approx(0.9)
    assert "efficiency.untold" not in found and "efficiency.pipeline" not in found
    assert found["balance.load"] == found["balance.persistent"] == pytest.approx(600 / 700)
    assert found["balance.transient"] == 1


def test_talps_own_factors_stand_beside_it() -> None:
    result = efficiency.conclude(make_view([made(500, 400), made(700, 200)]), None)
    assert result is not None
    values = dict(result.tables["talp"].rows())
    assert values["Device parallel efficiency"] == pytest.approx(0.9), "for TALP a kernel that waits is useful"
    assert values["Device orchestration efficiency"] == pytest.approx(0.9)


def rows_of(result: Result | None) -> list[dict[str, float]]:
    assert result is not None
    table = result.tables["hierarchy"]
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows()]


def check_products(rows: list[dict[str, float]]) -> None:
    """In every series at every size the factors multiply out to what was measured."""
    first: dict[object, dict[str, float]] = {}
    for row in rows:
        base = first.setdefault(row["series"], row)
        parallel = prod(row[name] for name in FACTORS)
        assert parallel == pytest.approx(row["parallel"], rel=1e-12)
        product = row["sampling"] * row["compute_scalability"] * parallel / base["parallel"]
        assert product == pytest.approx(row["efficiency"], rel=1e-9)
        if row["mix"] is not None:
            whole = row["mix"] * row["speed"] * row["concurrency"]
            assert whole == pytest.approx(row["compute_scalability"], rel=1e-9)


def study(*sizes: list[Made]) -> list[dict[str, float]]:
    views = [make_view(ranks, name=f"run-{len(ranks)}", series="study") for ranks in sizes]
    return rows_of(hierarchy.compare(views, ScalingOptions()))


def test_more_kernels_for_a_sample_and_slower_ones_on_paper() -> None:
    # Alone a sample of 8 costs 400 in one kernel; with two ranks it takes two kernels of 250.
    one, two = study([made(400, 0)], [made(500, 300, kernels=2)] * 2)
    assert (two["compute_scalability"], two["mix"], two["speed"]) == pytest.approx((0.8, 0.5, 1.6))
    assert two["efficiency"] == pytest.approx(1.0), "the step is as long"
    check_products([one, two])


@pytest.mark.parametrize("seed", range(30))
def test_the_product_closes_on_random_studies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = []
    for ranks in (1, 2, 4):
        length = int(rng.integers(900, 2000))
        sizes.append(
            [
                made(
                    int(rng.integers(2, 400)) * 2,
                    int(rng.integers(0, 100)),
                    kernels=int(rng.integers(1, 3)),
                    length=length,
                )
                for _ in range(ranks)
            ]
        )
    check_products(study(*sizes))


@pytest.fixture(scope="module")
def samples() -> Report:
    return analyze(sorted(SAMPLES.glob("emulated-*")))


def test_the_product_is_the_measured_efficiency_of_every_strategy_and_size_of_the_samples(samples: Report) -> None:
    section = next(section for section in samples.comparison if section.name == "hierarchy")
    rows = rows_of(section)
    assert len({row["series"] for row in rows}) == 12
    assert len(rows) == sum(
        len({row["ranks"] for row in rows if row["series"] == name}) for name in {row["series"] for row in rows}
    )
    check_products(rows)
    assert all(abs(row["sampling"] - 1) < 0.01 for row in rows)
    weak = next(row for row in rows if row["series"] == "emulated-ddp-weak" and row["ranks"] == 4)
    assert weak["mix"] == pytest.approx(1, abs=0.005) and weak["speed"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    "strategy", [{}, {"strategy": "fsdp", "buckets": 3}, {"pipeline": 2, "micro_batches": 4, "buckets": 2}]
)
def test_the_product_closes_on_synthetic_jobs(tmp_path: Path, strategy: dict[str, object]) -> None:
    for ranks in (2, 4, 8):
        spec = {
            "ranks": ranks,
            "steps": 7,
            "layers": 4,
            "jitter": 0.03,
            "late_rank": 1,
            "late_ms": 1.0,
            "buckets": 2,
            **strategy,
        }
        write_job(Spec(**spec), tmp_path)  # type: ignore[arg-type]
    report = analyze([tmp_path])
    section = next(section for section in report.comparison if section.name == "hierarchy")
    check_products(rows_of(section))


def test_a_factor_that_only_the_reference_has_gets_no_row(samples: Report) -> None:
    [section] = [one for one in samples.comparison if one.name == "hierarchy"]
    table = section.tables["hierarchy"]
    seen = set()
    for variant in section.variants:
        [chart] = variant.result.charts
        label = next(one.label for one in samples.series if one.id == variant.series)
        mixes = [mix for series, mix in zip(table["series"], table["mix"], strict=True) if series == label]
        assert mixes[0] is not None
        is_known = any(mix is not None for mix in mixes[1:])
        assert ("  same kernels" in chart.layers[0].y) == is_known
        seen.add(is_known)
    assert seen == {True, False}
