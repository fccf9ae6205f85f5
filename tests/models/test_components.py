"""The model by class of time against answers on paper, and a synthetic study whose larger size is known."""

from typing import Any

import numpy as np
import pytest

from scaleprof.models.components import ORDER, Part, Parts, expected_maximum, fit_parts, functions_of, law_of, times_at
from scaleprof.models.extrapolation import extrapolate
from scaleprof.models.laws import AMDAHL, Floats, fit_ratios
from scaleprof.models.rivals import Measured, rivals_for, trial_of
from scaleprof.models.scaling import Kind
from scaleprof.synth.spec import Spec
from scaleprof.synth.timeline import simulate
from scaleprof.synth.truth import truth_of

SIZES = np.array([1.0, 2, 4, 8])


def measured(parts: Parts, ranks: Floats = SIZES, spread: float = 0.005) -> Measured:
    return Measured(ranks, ranks / parts.total, np.full(len(ranks), spread), parts)


def weak(ranks: Floats) -> dict[Part, Floats]:
    """Ten of compute, a ring all-reduce of up to 4 with a latency of 0.5, jitter of 0.4, one of idle time."""
    transfer = np.where(ranks > 1, 0.5 + 4 * (ranks - 1) / ranks, 0.0)
    return {
        "compute": np.full(len(ranks), 10.0),
        "transfer": transfer,
        "wait": 0.4 * expected_maximum(ranks),
        "idle": np.full(len(ranks), 1.0),
    }


def test_the_expected_maximum_is_blom_s() -> None:
    assert expected_maximum(np.array([1.0, 2, 8, 64, 512])) == pytest.approx([0, 0.589, 1.434, 2.337, 3.031], abs=6e-4)


def test_each_class_gives_back_what_it_was_made_of() -> None:
    parts = Parts("weak", weak(SIZES))
    fitted = fit_parts(parts, SIZES, SIZES / 8)
    assert fitted.coefficients == pytest.approx([10, 0.5, 4, 0, 0, 0.4, 1], abs=1e-9)
    expected = {name: float(times[0]) for name, times in weak(np.array([32.0])).items()}
    assert times_at(fitted.coefficients, parts, 32) == pytest.approx(expected)
    assert fitted.throughput(32) == pytest.approx(32 / sum(expected.values()))


def test_in_a_strong_study_what_a_step_costs_anyway_grows_with_the_ranks() -> None:
    """Global batch 1: of each step 8 / N ms is work and 0.25 ms launching; the all-reduce of a step is 2 (N - 1) / N ms whatever the batch."""
    times: dict[Part, Floats] = {"compute": 8 + 0.25 * SIZES, "transfer": 2 * (SIZES - 1), "idle": 0.1 * SIZES}
    parts = Parts("strong", times)
    found = times_at(fit_parts(parts, SIZES, SIZES / 8).coefficients, parts, 16)
    assert found == pytest.approx({"compute": 12.0, "transfer": 30.0, "idle": 1.6})


@pytest.mark.parametrize(
    ("kind", "grows", "at_16"),
    [("weak", False, 3.0), ("strong", False, 24.0), ("weak", True, 3 * (15 / 16) / (1 / 2)), ("strong", True, 45.0)],
)
def test_the_bubble_follows_its_closed_form(kind: Kind, grows: bool, at_16: float) -> None:
    """(p - 1) / m of the compute: m falls as 1 / N in a strong study, p is N where the pipeline is what grows; 3 ms at 2 ranks."""
    [function] = functions_of("bubble", kind, "grow" if grows else "fixed")
    sizes = np.array([2.0, 4, 8])
    bubble = 3 * function(sizes) / function(sizes)[0]
    parts = Parts(kind, {"compute": np.full(3, 10.0), "bubble": bubble}, "grow" if grows else "fixed")
    fitted = fit_parts(parts, sizes, np.ones(3))
    assert times_at(fitted.coefficients, parts, 16)["bubble"] == pytest.approx(at_16)


@pytest.mark.parametrize("part", ORDER)
@pytest.mark.parametrize("kind", ["weak", "strong"])
def test_no_time_of_a_step_grows_faster_than_the_ranks(part: Part, kind: Kind) -> None:
    far = np.array([1e6, 1e12])
    for function in functions_of(part, kind):
        step = function(far) / (far if kind == "strong" else 1.0)  # per sample over the samples a rank takes
        assert step[1] / step[0] <= 1e6 * (1 + 1e-9)


def test_one_rank_communicates_with_nobody() -> None:
    for part in ("transfer", "wait", "untold"):
        for kind in ("weak", "strong"):
            assert all(function(np.ones(1))[0] == 0 for function in functions_of(part, kind))


def test_coefficients_are_not_negative_and_few_sizes_take_few_functions() -> None:
    ranks = np.array([2.0, 4.0])
    parts = Parts("weak", {"compute": np.array([10.0, 10.0]), "transfer": np.array([3.0, 2.0])})
    fitted = fit_parts(parts, ranks, np.ones(2))
    assert (fitted.coefficients >= 0).all()
    assert (fitted.coefficients[1:] > 0).sum() == 1
    assert times_at(fitted.coefficients, parts, 64)["transfer"] == pytest.approx(2.49, abs=0.03)


def test_the_sum_is_one_law_with_its_bands() -> None:
    study = measured(Parts("weak", weak(SIZES)))
    [rival] = [one for one in rivals_for(study, "weak") if one.id == "components"]
    trial = trial_of(rival, study)
    assert trial.law.count == law_of(study.parts).count == 7  # type: ignore[arg-type]
    low, middle, high = trial.quantiles(32, (0.1, 0.5, 0.9))
    assert low < trial.fitted.throughput(32) < high
    assert middle == pytest.approx(trial.fitted.throughput(32), rel=0.01)
    assert trial.draws.min() >= 0


def test_the_model_by_class_is_taken_where_it_predicts_them_best() -> None:
    sizes = np.array([1.0, 2, 4, 8, 16])
    found = extrapolate(measured(Parts("weak", weak(sizes)), sizes), "weak")
    assert found.used.law.id == "components"
    assert found.components is found.used
    asked = found.at(64)
    assert asked.value == pytest.approx(64 / sum(float(times[0]) for times in weak(np.array([64.0])).values()))
    assert {check.law.id for check in found.held_out} >= {"components", "amdahl", "logarithmic"}


LEAVES: dict[str, Part] = {
    "compute": "compute",
    "exposed_transfer": "transfer",
    "exposed_wait": "wait",
    "bubble": "bubble",
    "exposed_memory": "memory",
    "idle": "idle",
}


def synthetic(ranks: int, **fields: Any) -> dict[Part, float]:
    """Mean ns of a step by class, from the truth of a synthetic job."""
    steps = truth_of(simulate(Spec(ranks=ranks, ranks_per_host=4096, communication_only=True, **fields)))["steps"]
    return {part: float(np.mean(steps[f"{leaf}_ns"])) for leaf, part in LEAVES.items()}


@pytest.mark.parametrize(
    ("fields", "within"),
    [
        ({"alpha_us": 10.0, "bandwidth_gbps": 4.0, "jitter": 0.05}, 0.05),
        ({"strategy": "fsdp", "alpha_us": 100.0, "bandwidth_gbps": 20.0, "jitter": 0.02}, 0.03),
        ({"alpha_us": 200.0, "bandwidth_gbps": 10.0, "jitter": 0.03}, 0.08),
    ],
)
def test_a_synthetic_study_is_predicted_at_twice_its_largest_size(fields: dict[str, Any], within: float) -> None:
    sizes = (2, 4, 8, 16)
    jobs = [synthetic(ranks, **fields) for ranks in sizes]
    ranks = np.array(sizes, dtype=np.float64)
    parts = Parts("weak", {part: np.array([job[part] for job in jobs]) for part in LEAVES.values()})
    study = measured(parts, ranks)
    truth = 32 / sum(synthetic(32, **fields).values())
    by_class = fit_parts(parts, ranks, study.weights).throughput(32)
    line = fit_ratios(AMDAHL, ranks, study.throughput, study.weights).throughput(32)
    assert by_class == pytest.approx(truth, rel=within)
    assert abs(by_class / truth - 1) < abs(line / truth - 1)
    asked = extrapolate(study, "weak").at(32)
    assert asked.within_95[0] <= truth <= asked.within_95[1]
