"""Who came last, what that put off, and whether it is chance: on paper, and against drawing lots."""

import numpy as np
import pytest

from scaleprof.models.blame import Blaming, delays, heaped, persistent, split_by_excess


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_the_last_rank_bears_what_the_others_were_put_off() -> None:
    blaming = Blaming(2)
    blaming.see(0, ints(0, 1), wait_ns=ints(50, 0), cost_ns=ints(30, 0))
    blaming.see(1, ints(1, 0), wait_ns=ints(0, 0), cost_ns=ints(0, 0))
    blaming.see(2, ints(0), wait_ns=ints(20), cost_ns=ints(20))
    found = blaming.blame
    assert blaming.count.tolist() == [3, 2]
    assert found.last.tolist() == [1, -1], "in the second both came at once"
    assert found.cost_ns.tolist() == [50, 0]
    assert found.gain_ns.tolist() == [20, 0], "with rank 2, the next to last, 30 would still be waited"
    alone = Blaming(1)
    alone.see(3, ints(0), wait_ns=ints(0), cost_ns=ints(0))
    assert alone.blame.last.tolist() == [-1] and not len(Blaming(0).blame.last)


def test_waiting_that_compute_hides_puts_off_what_follows_on_paper() -> None:
    # Two transfers of 10, ready at 0 and 20. The first is kept waiting until 30: it ends at 40, the second at 50 instead of at 30.
    found = delays(ints(0, 0), ints(0, 20), ints(10, 10), ints(40, 50), exposed_ns=ints(50))
    assert found.tolist() == [20]
    assert delays(ints(0, 0), ints(0, 20), ints(10, 10), ints(40, 50), exposed_ns=ints(5)).tolist() == [5], (
        "compute hid the rest"
    )
    # Bursts are on their own: nothing was kept waiting in the second.
    assert delays(ints(0, 1), ints(0, 100), ints(10, 10), ints(40, 110), exposed_ns=ints(50, 10)).tolist() == [30, 0]


def test_a_rank_that_is_always_last_is_no_chance() -> None:
    everybody = {rank: [1 / 4] * 20 for rank in range(4)}
    assert list(persistent({2: 20}, everybody)) == [2]
    assert persistent({2: 20}, everybody)[2] == pytest.approx(0.25**20)
    assert not persistent({0: 6, 1: 5, 2: 4, 3: 5}, everybody)
    # One of two in its own group each step, among many groups of others.
    pairs = {rank: [1 / 2] * 12 for rank in range(8)}
    assert list(persistent({5: 12, 0: 6, 2: 7}, pairs)) == [5]
    assert not persistent({}, {})


def test_false_alarms_are_as_rare_as_they_should_be() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(1000):
        drawn = np.bincount(rng.integers(0, 8, 30), minlength=8)
        alarms += bool(persistent(dict(enumerate(drawn.tolist())), {rank: [1 / 8] * 30 for rank in range(8)}))
    assert alarms <= 15, "1 % of the runs, give or take"


def test_a_rank_that_is_late_in_few_steps_but_then_costs_much_is_no_chance() -> None:
    rng = np.random.default_rng(0)
    cost = np.zeros((8, 15))
    cost[rng.integers(0, 7, 15), np.arange(15)] = 1.0
    cost[:, ::3] = 0.0
    cost[7, ::3] = 50.0
    often = dict(enumerate((cost > 0).sum(axis=1).tolist()))
    everybody = {rank: [1 / 8] * 15 for rank in range(8)}
    assert not persistent(often, everybody), "five times of fifteen may be chance"
    by_weight = dict(enumerate(heaped(cost).tolist()))
    assert list(persistent(often, everybody, heaped=by_weight)) == [7]
    assert 8.0**-5 <= by_weight[7] < 1.5 * 8.0**-5, (
        "each of the five steps could have been any rank's, and this is a bound"
    )
    assert min(value for rank, value in by_weight.items() if rank != 7) > 0.1


def test_one_bad_step_is_nobodys_habit() -> None:
    cost = np.zeros((8, 20))
    cost[3, 4] = 1000.0
    assert heaped(cost)[3] == pytest.approx(1 / 8, rel=0.1)
    assert heaped(np.zeros((4, 5))).tolist() == [1.0] * 4


def test_false_alarms_by_weight_are_as_rare_as_they_should_be() -> None:
    rng = np.random.default_rng(0)
    everybody = {rank: [1 / 8] * 15 for rank in range(8)}
    alarms = 0
    for _ in range(500):
        cost = np.zeros((8, 15))
        cost[rng.integers(0, 8, 15), np.arange(15)] = rng.lognormal(0, 1.5, 15)
        often = dict(enumerate((cost > 0).sum(axis=1).tolist()))
        alarms += bool(persistent(often, everybody, heaped=dict(enumerate(heaped(cost).tolist()))))
    assert alarms <= 10, "1 % of the runs, give or take"


def test_a_delay_is_shared_out_by_what_there_was_more_of() -> None:
    late, others = {"compute": 30.0, "input": 50.0, "idle": 5.0}, {"compute": 20.0, "input": 20.0, "idle": 9.0}
    assert split_by_excess(late, others) == {"compute": 0.25, "input": 0.75}
    assert split_by_excess(others, others) == {}
