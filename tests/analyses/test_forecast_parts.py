"""What each class of time is expected to be at larger sizes: from views made by hand, and from files of a synthetic study whose truth is known."""

from pathlib import Path

import numpy as np
import pytest

from scaleprof.align import LEAVES
from scaleprof.analyses.scaling.forecast import forecast
from scaleprof.analyses.scaling.forecast_parts import components_table
from scaleprof.analyses.scaling.parts import parts_of
from scaleprof.analyses.scaling.series import find_series
from scaleprof.analyses.scaling.study import ScalingOptions, scaled
from scaleprof.models.extrapolation import trust_in
from scaleprof.pipeline import Options, analyze
from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import simulate
from scaleprof.synth.truth import truth_of
from scaleprof.synth.writing import write_job
from tests.analyses.test_forecast import LINE, weak
from tests.making import make_view, regular_job

JOB = {"steps": 8, "communication_only": True, "ranks_per_host": 64, "alpha_us": 20.0, "bandwidth_gbps": 4.0}


def test_classes_add_up_to_what_a_sample_costs_a_rank() -> None:
    views = weak(LINE)
    [series], _ = find_series(views)
    study = scaled(series, ScalingOptions())
    times = np.array([0.5, 1.0, 2.0, 4.0])
    parts = parts_of("weak", study.sizes, times)
    assert parts is not None
    assert parts.total == pytest.approx(times)
    # Half of every step computes and a quarter is blocked.
    assert parts.times["compute"] == pytest.approx(times / 2)
    assert parts.stages == "fixed"
    assert parts_of("mixed", study.sizes, times) is None


@pytest.mark.parametrize(("mesh", "stages"), [({"pipeline": 4}, "grow"), ({"pipeline": 2, "data": 2}, "fixed"), (None, "fixed")])  # fmt: skip
def test_a_mesh_of_nothing_but_stages_grows_by_stages(mesh: dict[str, int] | None, stages: str) -> None:
    job = regular_job(4, step=1000, compute=500, blocked=250, samples=16, steps=8)
    views = [make_view(job, name="four", mesh=mesh), *weak({2: 1.0})]
    study = scaled(find_series(weak({4: 1.0, 2: 1.0}))[0][0], ScalingOptions())
    sizes = [size.__class__(**{**vars(size), "views": (views[0],)}) for size in study.sizes]
    parts = parts_of("weak", sizes, np.ones(2))
    assert parts is not None
    assert parts.stages == stages


def test_the_largest_size_stands_as_measured_beside_larger_ones() -> None:
    [series], _ = find_series(weak(LINE))
    table = components_table([forecast(scaled(series, ScalingOptions()))])
    assert table["ranks"] == [8, 16, 32, 64, 128]
    assert table["trust"] == ["measured", *(trust_in(ranks, 8) for ranks in (16, 32, 64, 128))]
    assert table["ms_per_sample"][0] == pytest.approx(135 / 16)
    for place, total in enumerate(table["ms_per_sample"]):
        assert sum(table[f"{leaf}_ms"][place] for leaf in LEAVES) == pytest.approx(total)
    assert table["ms_per_sample_low"][0] is None
    assert table["ms_per_sample_low"][1] < table["ms_per_sample"][1] < table["ms_per_sample_high"][1]


def true_ms_per_sample(ranks: int) -> dict[str, float]:
    spec = Spec(name="study", ranks=ranks, **JOB)  # type: ignore[arg-type]
    steps = truth_of(simulate(spec))["steps"]
    names = ("window", "compute", "exposed_transfer", "idle")
    return {name: float(np.mean(steps[f"{name}_ns"])) / 1e6 / spec.samples for name in names}


def test_files_of_a_synthetic_study_predict_the_truth_at_twice_their_largest_size(tmp_path: Path) -> None:
    for ranks in (2, 4, 8):
        write_job(Spec(name="study", ranks=ranks, **JOB), tmp_path)  # type: ignore[arg-type]
    report = analyze([tmp_path], options=Options(engine="serial", use_cache=False))
    [section] = [one for one in report.comparison if one.name == "scaling"]
    table = section.tables["components"]
    row = {name: column[1] for name, column in table.columns.items()}
    truth = true_ms_per_sample(16)
    assert (row["ranks"], row["trust"]) == (16, "predicted")
    assert row["ms_per_sample"] == pytest.approx(truth["window"], rel=0.08)
    assert row["ms_per_sample_low"] < truth["window"] < row["ms_per_sample_high"]
    for leaf in ("compute", "exposed_transfer", "idle"):
        assert row[f"{leaf}_ms"] == pytest.approx(truth[leaf], rel=0.1), leaf
    rows = [dict(zip(section.tables["prediction"].columns, one, strict=True)) for one in section.tables["prediction"].rows()]  # fmt: skip
    assert {one["law"] for one in rows} == {"replay", "by class"}
    true_step = truth["window"] * 32
    replay, by_class = (next(one for one in rows if one["law"] == law) for law in ("replay", "by class"))
    assert replay["step_ms"] == pytest.approx(true_step, rel=0.02)
    assert replay["step_low_ms"] < true_step < replay["step_high_ms"]
    assert abs(replay["step_ms"] / true_step - 1) < abs(by_class["step_ms"] / true_step - 1)
