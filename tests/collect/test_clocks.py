"""The offset between hosts, measured by real ranks over loopback that pretend to have clocks of their own: the truth is what was pretended."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scaleprof.clock import ClockOffset, HostClock, clocks_of_hosts
from scaleprof.collect.machine import clocks
from scaleprof.collect.machine.clocks import Hosts, hosts_of
from scaleprof.run import RankInfo, read_rank_info
from tests.collect.clock_jobs import AHEAD_NS, CASES, DRIFT_PPM, MONO_AHEAD_NS
from tests.collect.training import lines

ROOT = Path(__file__).parent.parent.parent
SLACK_S = 0.5  # of a busy machine


class Job:
    """What a case of `clock_jobs` left behind."""

    def __init__(self, folder: Path, said: str) -> None:
        self.folder = folder
        self.said = said
        self.truth: dict[str, Any] = json.loads((folder / "truth.json").read_text())
        self.folders = sorted(folder.glob("traces/*/rank-*"))
        self.ranks: dict[int, RankInfo] = {}
        for path in self.folders:
            info = read_rank_info(path / "rank.json")
            self.ranks[info.rank] = info

    def offsets(self, rank: int) -> tuple[ClockOffset, ...]:
        clock = self.ranks[rank].clock
        return clock.offsets if clock else ()

    def cost_s(self, rank: int) -> float:
        return self.ranks[rank].overhead.get("clock_sync_ms", 0.0) / 1e3

    def check(self, offsets: tuple[ClockOffset, ...]) -> None:
        """Every offset is what was pretended, within its own bound."""
        for offset in offsets:
            error_ns = offset.offset_ns - self.pretended_ns(offset.mono_ns)
            assert abs(error_ns) <= offset.bound_ns, f"off by {error_ns} ns, bound {offset.bound_ns} ns"
            assert offset.bound_ns <= 1_000_000

    def pretended_ns(self, mono_ns: int) -> float:
        """By how much the clock of the other hosts is ahead, when their monotonic clock shows this."""
        since_ns = (mono_ns - MONO_AHEAD_NS - self.truth["epoch_ns"]) / (1 + DRIFT_PPM / 1e6)
        return AHEAD_NS + since_ns * DRIFT_PPM / 1e6


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """Every case, run one after the other by a process that imports torch once."""
    folder = tmp_path_factory.mktemp("clocks")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SCALEPROF")}
    words = [sys.executable, "-m", "tests.collect.clock_jobs", str(folder)]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = {part.split()[0]: part for part in done.stderr.split("== ")[1:]}
    return {case: Job(folder / case, said[case]) for case in CASES}


def test_offset_and_drift_are_measured_within_their_bounds(jobs: dict[str, Job]) -> None:
    job = jobs["drifting"]
    assert job.truth["failures"] == {}
    assert len(job.offsets(1)) == 2, "before the group was destroyed, and at the start"
    assert job.ranks[0].clock == HostClock("clock-0", "clock-0")
    job.check(job.offsets(1))
    assert not job.ranks[0].warnings + job.ranks[1].warnings
    assert job.said.split() == ["drifting"], "nothing is written into the job's output"
    assert all(info.capabilities["clocks"] for info in job.ranks.values())
    assert 0 < job.cost_s(1) <= 2 * (clocks.BUDGET_S + SLACK_S)
    assert [line["perturbed"] for line in lines(job.folders[0] / "steps.jsonl")[:3]] == [True, True, False]
    # What the analysis makes of it.
    view = clocks_of_hosts(
        {rank: info.host for rank, info in job.ranks.items()}, {r: i.clock for r, i in job.ranks.items()}
    )
    first, last = job.offsets(1)
    middle_ns = (first.unix_ns + last.unix_ns) // 2
    error_ns = (view[1].offset_at(middle_ns) or 0) - job.pretended_ns((first.mono_ns + last.mono_ns) // 2)
    assert abs(error_ns) <= (view[1].bound_at(middle_ns) or 0) <= 1_000_000
    allowed_ppm = (first.bound_ns + last.bound_ns) / (last.unix_ns - first.unix_ns) * 1e6 + 1
    assert view[1].drift_ppm == pytest.approx(DRIFT_PPM, abs=allowed_ppm)


@pytest.mark.parametrize("case", ["kept", "subgroup"])
def test_a_recording_that_ends_before_its_group_measures_twice_too(case: str, jobs: dict[str, Job]) -> None:
    job = jobs[case]
    first, last = job.offsets(1)
    job.check((first, last))
    assert last.mono_ns - first.mono_ns > 0.15e9, "a subgroup that is destroyed is not the end"


def test_two_ranks_on_each_of_two_hosts_measure_once_per_host(jobs: dict[str, Job]) -> None:
    job = jobs["two_hosts"]
    assert [len(job.offsets(rank)) for rank in range(4)] == [0, 0, 2, 0]
    job.check(job.offsets(2))
    assert [job.cost_s(rank) > 0 for rank in range(4)] == [True, False, True, False]
    view = clocks_of_hosts(dict.fromkeys(job.ranks, "node"), {rank: info.clock for rank, info in job.ranks.items()})
    assert view[1].offset_ns == view[0].offset_ns == 0
    assert view[3] == view[2]
    assert view[3].offset_ns == job.offsets(2)[0].offset_ns


def test_hosts_are_found_where_no_launcher_names_them(jobs: dict[str, Job]) -> None:
    job = jobs["untold"]
    offsets = (*job.offsets(2), *job.offsets(3))
    assert len(offsets) == 2, "the first of the host measures, which may be another one at the end"
    job.check(offsets)
    assert job.offsets(0) == job.offsets(1) == ()


def test_a_rank_that_comes_late_finds_it_closed(jobs: dict[str, Job]) -> None:
    job = jobs["late"]
    assert job.truth["failures"] == {}
    assert job.cost_s(0) <= 2 * (clocks.BUDGET_S + SLACK_S)
    assert job.cost_s(1) <= SLACK_S
    assert not job.ranks[1].capabilities["clocks"]
    assert job.offsets(1) == ()


def test_a_rank_that_never_comes_costs_no_more_than_the_budget(jobs: dict[str, Job]) -> None:
    job = jobs["absent"]
    assert job.truth["failures"] == {}
    assert list(job.ranks) == [0]
    assert job.cost_s(0) <= 2 * (clocks.BUDGET_S + SLACK_S)
    assert not job.ranks[0].capabilities["clocks"]


@pytest.mark.parametrize(("case", "killed"), [("peer_killed", 1), ("first_killed", 0)])
def test_a_rank_killed_in_between_costs_the_other_nothing_else(case: str, killed: int, jobs: dict[str, Job]) -> None:
    job = jobs[case]
    assert (job.folder / "died").exists()
    assert list(job.truth["failures"]) == [str(killed)]
    left = job.ranks[1 - killed]
    assert left.finished
    assert len(lines(job.folders[1 - killed] / "steps.jsonl")) == 5
    assert job.cost_s(1 - killed) <= 2 * (clocks.BUDGET_S + SLACK_S)
    assert job.said.count("Exception raised from") <= 1, "a store that is gone is not asked again"


def test_on_one_host_nothing_is_done(jobs: dict[str, Job]) -> None:
    job = jobs["one_host"]
    for rank in (0, 1):
        assert job.ranks[rank].clock is None
        assert job.cost_s(rank) == 0
        assert "clocks" not in job.ranks[rank].capabilities
        assert [line["perturbed"] for line in lines(job.folders[rank] / "steps.jsonl")] == [True, *[False] * 4]


def torchrun(rank: int, *, hosts: int = 2, local: int = 4) -> dict[str, str]:
    numbers = {
        "WORLD_SIZE": hosts * local,
        "LOCAL_WORLD_SIZE": local,
        "GROUP_WORLD_SIZE": hosts,
        "LOCAL_RANK": rank % local,
    }
    return {name: str(number) for name, number in numbers.items()}


def store_at(host: str) -> Any:
    return SimpleNamespace(host=host)


def test_launchers_say_who_measures() -> None:
    store = store_at("node-1")
    assert hosts_of(8, store, torchrun(4)) == Hosts(2, True)
    assert hosts_of(8, store, torchrun(5)) == Hosts(2, False)
    assert hosts_of(8, store, torchrun(5, hosts=1, local=8)) is None
    assert hosts_of(4, store, torchrun(5)) == Hosts(4, True), "left over from another job"
    slurm = {"SLURM_NTASKS": "8", "SLURM_STEP_NUM_NODES": "4", "SLURM_LOCALID": "1"}
    assert hosts_of(8, store, slurm) == Hosts(4, False)
    assert hosts_of(8, store, {**slurm, "SLURM_STEP_NUM_NODES": "1"}) is None
    mpi = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}
    assert hosts_of(4, store, mpi) is None
    assert hosts_of(4, store, {**mpi, "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}) == Hosts(4, True)


def test_a_store_on_loopback_means_one_host_unless_told_otherwise() -> None:
    for host in ("localhost", "127.0.0.1", "::1"):
        assert hosts_of(2, store_at(host), {}) is None
    assert hosts_of(2, store_at("10.0.0.7"), {}) == Hosts(2, True)
    assert hosts_of(2, store_at("10.0.0.7"), {clocks.SWITCH: "0"}) is None
    assert hosts_of(2, store_at("localhost"), {clocks.SWITCH: "always"}) == Hosts(2, True)
    one = torchrun(0, hosts=1, local=2)
    assert hosts_of(2, store_at("localhost"), {**one, clocks.SWITCH: "always"}) == Hosts(2, True)


def test_the_id_of_a_clock_does_not_name_the_machine() -> None:
    assert clocks.clock_id() == clocks.clock_id()
    assert len(clocks.clock_id()) == 8
