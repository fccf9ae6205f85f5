"""The identities of the efficiency tree, on paper and on random accounts."""

import math

import numpy as np
import pytest

from scaleprof.models.efficiency import FACTORS, Work, balance, factors, scalability, talp

ACCOUNT = {
    "compute": 60.0, "exposed_wait": 20.0, "bubble": 0.0, "exposed_transfer": 10.0, "exposed_untold": 0.0, "exposed_memory": 6.0, "idle": 4.0,
}  # fmt: skip


def test_factors_on_paper() -> None:
    found = factors(ACCOUNT)
    assert found == pytest.approx(
        {"wait": 60 / 80, "pipeline": 1, "transfer": 80 / 90, "untold": 1, "memory": 90 / 96, "orchestration": 0.96}
    )
    assert factors({**ACCOUNT, "compute": 0.0}) is None


@pytest.mark.parametrize("seed", range(200))
def test_the_product_is_the_parallel_efficiency(seed: int) -> None:
    rng = np.random.default_rng(seed)
    account = dict(zip(ACCOUNT, rng.exponential(1.0, len(ACCOUNT)) * rng.integers(0, 2, len(ACCOUNT)), strict=True))
    account["compute"] += 0.01
    found = factors(account)
    assert found is not None
    assert list(found) == list(FACTORS)
    assert math.prod(found.values()) == pytest.approx(account["compute"] / sum(account.values()), rel=1e-12)
    assert all(0 < factor <= 1 for factor in found.values())


def test_balance_on_paper() -> None:
    # Rank 1 has 10 more in the first step, rank 0 in the second: in sum they are even.
    even = balance(np.array([[10.0, 20.0], [20.0, 10.0]]))
    assert even is not None
    assert (even.load, even.persistent, even.transient) == (0.75, 1.0, 0.75)
    slow = balance(np.array([[10.0, 10.0], [20.0, 20.0]]))
    assert slow is not None
    assert (slow.load, slow.persistent, slow.transient) == (0.75, 0.75, 1.0)
    assert balance(np.zeros((2, 3))) is None


@pytest.mark.parametrize("seed", range(100))
def test_balance_is_the_product_of_its_parts(seed: int) -> None:
    found = balance(np.random.default_rng(seed).exponential(1.0, (5, 7)))
    assert found is not None
    assert found.load == pytest.approx(found.persistent * found.transient, rel=1e-12)
    assert 0 < min(found.load, found.persistent, found.transient) <= 1


def test_talp_counts_every_kernel_as_useful() -> None:
    found = talp(np.array([90.0, 60.0]), np.array([0.0, 40.0]), 125.0)
    assert found is not None
    assert (found.parallel, found.load_balance, found.communication, found.orchestration) == (0.6, 75 / 90, 0.9, 0.8)
    assert found.parallel == pytest.approx(found.load_balance * found.communication * found.orchestration, rel=1e-12)
    assert talp(np.zeros(2), np.zeros(2), 1.0) is None


def test_more_work_slower_kernels_and_less_overlap_on_paper() -> None:
    # A sample cost 2 x 10 = 20 in kernels of which 4 ran side by side: 16. Now it costs 3 x 12 = 36, one after the other.
    reference = Work(useful=16.0, summed=20.0, classes={"gemm": (2.0, 20.0)})
    larger = Work(useful=36.0, summed=36.0, classes={"gemm": (3.0, 36.0)})
    found = scalability(reference, larger, alike=True)
    assert found.whole == pytest.approx(16 / 36)
    assert (found.mix, found.speed, found.concurrency) == pytest.approx((20 / 30, 30 / 36, 0.8))
    assert found.matched == 1.0


@pytest.mark.parametrize("seed", range(100))
def test_compute_scalability_is_mix_times_speed_times_concurrency(seed: int) -> None:
    rng = np.random.default_rng(seed)
    works = []
    for _ in range(2):
        classes = {f"kernel {name}": tuple(rng.uniform(1, 9, 2)) for name in range(10) if rng.random() < 0.95}
        summed = sum(total for _, total in classes.values())
        works.append(Work(summed * rng.uniform(0.5, 1), summed, classes, flops=rng.uniform(1, 9)))
    for alike in (True, False):
        found = scalability(*works, alike=alike)
        if found.mix is not None and found.speed is not None and found.concurrency is not None:
            assert found.mix * found.speed * found.concurrency == pytest.approx(found.whole, rel=1e-12)
    same = scalability(works[0], works[0], alike=True)
    assert (same.whole, same.mix, same.speed, same.concurrency) == pytest.approx((1, 1, 1, 1))


def test_kernels_of_other_batches_are_not_compared_by_name() -> None:
    reference = Work(10.0, 10.0, {"gemm": (1.0, 10.0)})
    half = Work(6.0, 6.0, {"gemm": (2.0, 6.0)})  # each does half as much
    found = scalability(reference, half, alike=False)
    assert (found.mix, found.speed, found.concurrency) == (None, None, 1.0)
    known = scalability(Work(10.0, 10.0, reference.classes, 5.0), Work(6.0, 6.0, half.classes, 5.0), alike=False)
    assert (known.mix, known.speed) == pytest.approx((1.0, 10 / 6)), "the same operations in less time"
    unknown = scalability(Work(10.0, 10.0, {"a": (1.0, 10.0)}), Work(10.0, 10.0, {"b": (1.0, 10.0)}), alike=True)
    assert (unknown.mix, unknown.matched) == (None, 0.0)
