"""Power and energy from counters that were written by hand; the samples of a made trace are 1 ns apart."""

import numpy as np
import pytest

from scaleprof.align import RunView
from scaleprof.analyses.machine.power import drawn_w, gpus_of, mean_power_w
from scaleprof.run import RankInfo
from tests.making import Made, Step, make_view

STEPS = [Step(2 * number, 2 * number + 2) for number in range(8)]
TIMES = np.arange(17)


def view_of(*counters: dict[str, list[float]], steps: list[Step] = STEPS, hosts: str = "aa") -> RunView:
    """One rank for each set of counters."""
    infos = [RankInfo(rank=0, world_size=1, host=host) for host in hosts]
    return make_view(
        [Made(steps=steps, counters=values, info=info) for values, info in zip(counters, infos, strict=False)]
    )


def energy(watts: float, start: float = 0.0) -> dict[str, list[float]]:
    """A counter that grows by so many J a second."""
    return {"gpu_energy_j": (start + watts * 1e-9 * TIMES).tolist()}


def test_a_counter_that_grows_by_200_j_a_second_is_200_w() -> None:
    assert mean_power_w(view_of(energy(200)), 0) == pytest.approx(200)


def test_the_counter_goes_before_the_sampled_power_and_without_it_powers_are_averaged() -> None:
    sampled = {"gpu_power_w": [100.0] * 8 + [300.0] * 9}
    assert mean_power_w(view_of({**energy(200), **sampled}), 0) == pytest.approx(200)
    # 7 ns at 100 W, one from 100 to 300 W, 8 ns at 300 W.
    assert mean_power_w(view_of(sampled), 0) == pytest.approx((700 + 200 + 2400) / 16)


def test_only_steady_steps_count() -> None:
    steps = [Step(step.start, step.end, perturbed=number >= 6) for number, step in enumerate(STEPS)]
    assert mean_power_w(view_of({"gpu_power_w": [100.0] * 13 + [900.0] * 4}, steps=steps), 0) == pytest.approx(100)


def test_where_less_than_half_of_the_steps_was_sampled_the_power_is_unknown() -> None:
    first = {"gpu_energy_j": [0.0, 1e-7, 2e-7, *([float("nan")] * 14)]}
    assert mean_power_w(view_of(first), 0) is None
    assert mean_power_w(view_of({"gpu_energy_j": [float("nan")] * 17}), 0) is None
    assert mean_power_w(view_of({"rss_bytes": [1.0] * 17}), 0) is None
    assert mean_power_w(view_of({"gpu_energy_j": [1.0] * 8 + [0.0] * 9}), 0) is None, "the counter was set back"


def test_a_gpu_that_two_ranks_share_counts_once() -> None:
    shared = view_of(energy(200, 5000), energy(200, 5010))
    assert gpus_of(shared) == [[0, 1]]
    assert drawn_w(shared) == pytest.approx(200, rel=1e-4)
    own = view_of(energy(200, 5000), energy(300, 6000))
    assert gpus_of(own) == [[0], [1]]
    assert drawn_w(own) == pytest.approx(500, rel=1e-4)
    assert gpus_of(view_of(energy(200, 5000), energy(200, 5000), hosts="ab")) == [[0], [1]], "one on each host"


def test_power_that_one_rank_did_not_record_is_not_known_of_the_run() -> None:
    assert drawn_w(view_of(energy(200), {"rss_bytes": [1.0] * 17})) is None
