"""Which law is chosen, what its bands cover, and what is refused; against simulated studies, published ones and Pollux's measurements."""

import csv
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scaleprof.models import extrapolation
from scaleprof.models.extrapolation import Extrapolation, extrapolate, most_ranks, trust_in
from scaleprof.models.laws import AMDAHL, LOGARITHMIC, USL, Floats
from scaleprof.models.rivals import Measured
from scaleprof.models.scaling import Kind

Curve = Callable[[Floats], Floats]


def study(
    sizes: list[int], curve: Curve, *, noise: float = 0.01, seed: int | None = None, kind: Kind = "strong"
) -> Extrapolation:
    ranks = np.array(sizes, dtype=np.float64)
    off = 0.0 if seed is None else np.random.default_rng(seed).normal(size=len(ranks)) * noise
    return extrapolate(Measured(ranks, curve(ranks) * np.exp(off), np.full(len(ranks), noise)), kind)


def amdahl(n: Floats) -> Floats:
    return n / (1 + 0.05 * (n - 1))


def usl(n: Floats) -> Floats:
    return n / (1 + 0.03 * (n - 1) + 0.003 * n * (n - 1))


def test_trust_ends_with_distance() -> None:
    words = [trust_in(ranks, 8) for ranks in (8, 9, 16, 17, 64, 65, 512, 513)]
    assert words == [
        "measured", "predicted", "predicted", "indicative", "indicative", "speculative", "speculative", "refused",
    ]  # fmt: skip


def test_too_far_away_there_is_a_bound_and_no_number() -> None:
    one = study([1, 2, 4, 8], amdahl)
    far = one.at(8 * 65)
    assert (far.trust, far.value, far.within_80) == ("refused", None, None)
    edge = one.at(512)
    assert far.within_95 == pytest.approx((0.0, edge.within_95[1] / 512 * 520))


def test_three_sizes_choose_nothing_and_four_do() -> None:
    def logarithmic(n: Floats) -> Floats:
        return n / (1 + 0.3 * np.log2(n))

    three, four = study([1, 2, 4], logarithmic), study([1, 2, 4, 8], logarithmic)
    assert three.used.law is AMDAHL
    assert LOGARITHMIC in {other.law for other in three.others}
    assert four.used.law is LOGARITHMIC
    assert not four.others
    assert four.at(16).value == pytest.approx(16 / 2.2)


def test_the_universal_law_needs_five_sizes_and_a_reason() -> None:
    assert study([1, 2, 4, 8, 16], amdahl).used.law is AMDAHL
    assert USL not in {trial.law for trial in (study([1, 2, 4], usl).used, *study([1, 2, 4], usl).others)}
    found = study([1, 2, 4, 8, 16], usl)
    assert found.used.law is USL
    assert found.at(64).value == pytest.approx(float(usl(np.array(64.0))), rel=1e-6)


def test_the_largest_size_is_held_out() -> None:
    [check, *_] = study([1, 2, 4, 8], amdahl).held_out
    assert (check.law, check.prediction.ranks) == (AMDAHL, 8)
    assert check.error == pytest.approx(0, abs=1e-9)
    assert check.is_inside
    kinked = study([1, 2, 4], lambda n: n / (1 + 0.4 * np.maximum(n - 2, 0)), noise=0.002)
    [check, *_] = kinked.held_out
    # Nothing is lost from one rank to two, so the line says four of four; there are 4 / 1.8.
    assert check.error == pytest.approx(0.8, rel=1e-6)
    assert not check.is_inside
    assert kinked.misses > 0.1


def test_a_law_that_failed_its_check_does_not_speak_alone() -> None:
    # Steep, flatter, and steeper again at the end: a synthetic job whose network is slow.
    throughput = np.array([719.1, 1048.9, 1557.6, 2561.7, 4153.9, 6235.0])
    found = extrapolate(Measured(np.array([1.0, 2, 4, 8, 16, 32]), throughput, np.full(6, 0.004)), "weak")
    assert found.used.law is not AMDAHL
    assert not found.held_out[0].is_inside
    assert AMDAHL in {other.law for other in found.others}


def test_a_rank_that_does_more_among_more_is_held_at_no_loss() -> None:
    found = study([1, 2, 4], lambda n: n**1.05, noise=0.002)
    assert found.is_held
    assert found.at(8).value == pytest.approx(found.at(4).value * 2)  # type: ignore[operator]
    assert not study([1, 2, 4], amdahl).is_held


def test_the_same_study_has_the_same_bands() -> None:
    assert study([1, 2, 4], amdahl, seed=3).at(32) == study([1, 2, 4], amdahl, seed=3).at(32)


def test_bands_grow_with_distance_and_noise() -> None:
    def width(one: Extrapolation, ranks: int) -> float:
        asked = one.at(ranks)
        assert asked.within_80 is not None
        assert asked.value is not None
        assert asked.within_95[0] < asked.within_80[0] < asked.value < asked.within_80[1] < asked.within_95[1]
        return (asked.within_95[1] - asked.within_95[0]) / asked.value

    calm, loud = study([2, 4, 8, 16], amdahl, noise=0.002), study([2, 4, 8, 16], amdahl, noise=0.02)
    assert width(calm, 32) < width(calm, 128) < width(loud, 128)


def test_knees_follow_from_the_law() -> None:
    found = study([1, 2, 4, 8], amdahl, noise=0.001)

    # 1 / (1 + 0.05 (N - 1)) >= 0.8 up to N = 6 exactly; a hair less, so that rounding does not decide.
    value, (low, high) = most_ranks(found, lambda law, c, n: np.asarray(law.throughput(c, n) / n >= 0.799))
    assert value == 6
    assert low <= 6 <= high <= 7
    never, (_, high) = most_ranks(found, lambda law, c, n: np.asarray(law.throughput(c, n) / n >= 0.001))
    assert (never, high) == (None, 512)
    nowhere, _ = most_ranks(found, lambda law, c, n: np.asarray(law.throughput(c, n) / n >= 1.5))
    assert nowhere == 0


def drawn_truth(random: np.random.Generator, count: int, kind: Kind) -> Curve:
    """A study that obeys one of the laws that so many sizes can tell."""
    f, b = 10 ** random.uniform(-2.3, -0.7), 1 / random.uniform(10, 100)
    curves: list[Curve] = [lambda n: n / (1 + f * (n - 1)), lambda n: n / (1 + 3 * f * np.log2(n))]
    if kind == "weak":
        curves.append(lambda n: n * (1 - f) + f)
    if count > 4:
        curves.append(lambda n: n / (1 + f * (n - 1) + f * b * n * (n - 1)))
    return curves[random.integers(len(curves))]


@pytest.mark.parametrize("kind", ["strong", "weak"])
def test_intervals_cover_what_they_say(kind: Kind) -> None:
    studies = [[1, 2, 4], [2, 4, 8], [1, 2, 4, 8], [4, 8, 16, 32], [1, 2, 4, 8, 16], [8, 16, 32, 64, 128]]
    within_80, within_95 = [], []
    for seed in range(150):
        random = np.random.default_rng(seed)
        sizes = studies[seed % len(studies)]
        curve = drawn_truth(random, len(sizes), kind)
        found = study(sizes, curve, noise=random.uniform(0.002, 0.03), seed=seed + 1000, kind=kind)
        for times in (2, 8):
            asked, truth = found.at(times * sizes[-1]), float(curve(np.array(float(times * sizes[-1]))))
            assert asked.within_80 is not None
            within_80.append(asked.within_80[0] <= truth <= asked.within_80[1])
            within_95.append(asked.within_95[0] <= truth <= asked.within_95[1])
    for shares in (within_80[::2], within_80[1::2]):
        assert 0.70 <= np.mean(shares) <= 0.90
    assert np.mean(within_95) >= 0.93


# Published throughputs: TensorFlow benchmarks of May 2017 (tensorflow/docs_src/performance/benchmarks.md), mosaicml/llm-foundry
# (scripts/train/benchmarking/README.md).
PUBLISHED = {
    "vgg16": ([1, 2, 4, 8], [154, 295, 584, 1081]),
    "vgg16-real": ([1, 2, 4, 8], [154, 284, 534, 898]),
    "resnet50-real": ([1, 2, 4, 8], [218, 425, 853, 1630]),
    "inceptionv3": ([1, 2, 4, 8], [142, 284, 569, 1131]),
    "mpt-7b-h100": ([8, 128, 256, 512], [85144, 1340830, 2590548, 4951479]),
    "mpt-7b-a100": ([8, 16, 32, 64, 128], [29436, 58322, 119202, 234614, 463749]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_line_predicts_the_largest_of_published_sizes(name: str) -> None:
    sizes, throughput = (np.array(values, dtype=np.float64) for values in PUBLISHED[name])
    found = extrapolate(Measured(sizes, throughput, np.full(len(sizes), 0.01)), "weak")
    [check] = [one for one in found.held_out if one.law is AMDAHL]
    assert abs(check.error) < 0.03
    assert check.is_inside


def pollux_curves(folder: Path) -> list[dict[int, float]]:
    """Step times by nodes of one GPU each, for each local batch; one node is another topology and left out."""
    times: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (folder / "placements.csv").open() as file:
        for row in csv.DictReader(file):
            if set(row["placement"]) == {"1"}:
                times[int(row["local_bsz"])][len(row["placement"])].append(float(row["step_time"]))
    with (folder / "scalability.csv").open() as file:
        for row in csv.DictReader(file):
            if row["num_nodes"] == row["num_replicas"]:
                times[int(row["local_bsz"])][int(row["num_nodes"])].append(float(row["step_time"]))
    curves = [{n: float(np.mean(seen)) for n, seen in sorted(by_size.items()) if n > 1} for by_size in times.values()]
    return [curve for curve in curves if len(curve) >= 7]


@pytest.mark.parametrize("model", ["bert", "cifar10", "ncf"])
def test_measured_jobs_at_twelve_and_sixteen_nodes_are_predicted_from_eight(foreign_traces: Path, model: str) -> None:
    folder = foreign_traces.parent / "scaling" / "adaptdl" / model
    if not folder.is_dir():
        pytest.skip("no scaling measurements beside the traces")
    errors, inside = [], []
    for curve in pollux_curves(folder):
        small = np.array([float(n) for n in curve if n <= 8])
        throughput = np.array([n / curve[int(n)] for n in small])
        found = extrapolate(Measured(small, throughput, np.full(len(small), 0.01)), "weak")
        for n in (12, 16):
            asked = found.at(n, noise=0.01)
            assert asked.value is not None
            errors.append(abs(asked.value * curve[n] / n - 1))
            inside.append(asked.within_95[0] <= n / curve[n] <= asked.within_95[1])
    assert len(errors) >= 10
    assert np.median(errors) < 0.16
    assert np.mean(inside) >= 0.8


def test_what_is_far_is_the_square_of_what_is_indicative() -> None:
    assert extrapolation.FARTHEST == 64
