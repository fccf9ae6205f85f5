"""A part of the torture suite: who is late and why is found where it must be, nobody is blamed on clean jobs, and the numbers are the true ones."""

import pytest

from tests.torture.cases import DAMAGE, FAULTS, NO_FAULT, NOISES, SEVERITIES, STRATEGIES, WORTH, Case, matrix, quick
from tests.torture.scoring import TOLD, Outcome, outcome

pytestmark = pytest.mark.timeout(300)
"""The first test analyses all jobs: half a minute where nothing else runs."""
MOST_OFF = {"none": 0.0005, "seq lost": 0.0005, "1 % dropped": 0.03}
"""Of a share, by damage: what is not in the files is in no share."""


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALEPROF_CACHE", "0")
        return [outcome(case) for case in quick()]


def test_causes_are_right_where_they_must_be_found(outcomes: list[Outcome]) -> None:
    must = [one for one in outcomes if one.case.must_be_found]
    assert len(must) >= 12
    assert {one.case.fault for one in must} == set(FAULTS)
    assert {one.case.strategy for one in must} == set(STRATEGIES)
    wrong = [(one.case.name, one.named, one.cause) for one in must if not one.is_right_cause]
    assert len(wrong) <= 0.05 * len(must), wrong


def test_nobody_is_blamed_for_nothing(outcomes: list[Outcome]) -> None:
    clean = [one for one in outcomes if one.case.fault == NO_FAULT]
    assert len(clean) >= 5
    assert [one.case.name for one in clean if one.named is not None] == []
    assert [(one.case.name, one.named, one.cause) for one in outcomes if one.is_wrong] == []


def test_shares_clocks_and_bandwidths_are_the_true_ones(outcomes: list[Outcome]) -> None:
    for one in outcomes:
        assert set(one.shares) == set(TOLD)
        worst = max(map(abs, one.shares.values()))
        assert worst <= MOST_OFF[one.case.damage], (one.case.name, one.shares)
        assert max(one.offsets_us) < 5, one.case.name
        # Where a transfer takes 100 us, that ranks leave it up to some us apart is percents.
        assert max(one.bandwidths) < 0.05, one.case.name


def test_the_matrix_holds_every_fault_in_every_strategy_at_every_severity() -> None:
    cases = matrix(2)
    late = {(case.strategy, case.fault, case.severity) for case in cases if case.fault != NO_FAULT}
    assert late == {(a, b, c) for a in STRATEGIES for b in FAULTS for c in SEVERITIES}
    assert len({case.name for case in cases}) == len(cases)
    for damage in DAMAGE:
        assert {case.clocks for case in cases if case.damage == damage and case.fault != NO_FAULT} == {
            "aligned",
            "apart",
        }


def test_what_a_fault_costs_comes_from_the_job_without_it() -> None:
    hard = Case("ddp", "pause", 0.15, "aligned", "none", 0)
    assert hard.cost == pytest.approx(0.15, abs=0.02), "the part of the pause that the device notices"
    assert hard.must_be_found
    third = Case("ddp", "every third step", 0.15, "aligned", "none", 0)
    assert third.cost == pytest.approx(0.05, abs=0.01)
    small = Case("ddp", "every third step", 0.02, "aligned", "none", 0)
    assert small.cost < max(WORTH, NOISES * small.noise) and not small.must_be_found
    assert not Case("ddp", NO_FAULT, 0.0, "aligned", "none", 0).must_be_found
