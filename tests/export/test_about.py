"""What a file says of a run and its ranks."""

from scaleprof.clock import RankClock
from scaleprof.export.about import AboutRun, about_rank
from scaleprof.run import RankInfo, RunInfo


def test_a_rank_has_its_number_its_place_and_its_clock() -> None:
    info = RankInfo(3, 8, host="node-1", device="cuda", device_name="H100")
    about = about_rank(info, RankClock("node-1", 5, 2_500), is_told=True)
    assert (about.name, about.labels, about.pid) == ("rank 3", "node-1, H100, clock ±2.5 µs", 4)
    assert about_rank(RankInfo(0, 1), RankClock("", 0, 0), is_told=True).labels == ""
    assert about_rank(RankInfo(0, 1), RankClock("", 0, None), is_told=False).labels == "clock not comparable"


def test_a_synthetic_run_says_so() -> None:
    told = AboutRun(RunInfo("ddp", 4, synthetic=True), 17, ["something is missing"]).told()
    assert told["synthetic"] == "computed, not recorded" and told["time 0"].startswith("17 ns of unix time")
    assert told["remark 1"] == "something is missing"
