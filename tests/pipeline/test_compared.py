"""Comparisons of whole jobs: synthetic ones whose difference is known, recordings that really differ, saved reports beside traces."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from scaleprof.analyses.changes.pairs import overview_of
from scaleprof.errors import NotComparable, OptionError
from scaleprof.pipeline import Options, analyze
from scaleprof.pipeline.compared import CompareOptions, compare, judged
from scaleprof.results import Report
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job
from tests.analyses.making_changes import INFO, run_of_steps

SAMPLES = Path(__file__).parents[2] / "sample_traces"
SERIAL = Options(engine="serial", use_cache=False)
JOB = Spec(name="job", ranks=4, layers=4, kernels_per_layer=1, steps=13, compute_ms=40.0, gradient_bytes=400_000_000)


def report_on(folder: Path, spec: Spec) -> Report:
    return analyze([write_job(spec, folder)], options=SERIAL)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return report_on(tmp_path_factory.mktemp("base"), JOB)


CHANGES = {
    # What was changed: what the step must become, the class, the rank, words of the verdict. Compute is never hidden, all of 4 ms more shows.
    "compute": (replace(JOB, compute_ms=44.0), 4.0, "compute", None, "nearly all of it is compute"),
    "input": (replace(JOB, input_ms=5.0), 4.0, "idle", None, "nearly all of it is idle time, mostly waiting for input"),
    "late": (replace(JOB, late_rank=3, late_ms=5.0), 5.0, "compute", 3, "the doing of rank 3: its compute takes 5 ms longer a step"),
    "slow input": (
        replace(JOB, late_rank=2, late_ms=6.0, late_cause="input"), 6.0, "idle", 2, "the doing of rank 2: its idle time, mostly waiting for input",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_the_verdict_names_class_size_and_rank_of_a_known_change(name: str, base: Report, tmp_path: Path) -> None:
    spec, more_ms, leaf, rank, words = CHANGES[name]
    _, [found], _ = judged(base, report_on(tmp_path, spec), CompareOptions())
    assert found.verdict == "slower"
    assert found.contrast.change.value == pytest.approx(more_ms, rel=0.01)
    assert found.cause is not None
    assert (found.cause.leaf, found.cause.rank) == (leaf, rank)
    assert found.cause.share == pytest.approx(1.0, abs=0.05)
    assert words in found.words


def test_a_link_of_half_the_speed_is_exposed_transfer(base: Report, tmp_path: Path) -> None:
    slow = replace(JOB, bandwidth_gbps=20.0)
    _, [found], _ = judged(base, report_on(tmp_path, slow), CompareOptions())
    assert found.verdict == "slower"
    assert found.cause is not None
    assert found.cause.leaf == "exposed_transfer"
    assert "exposed transfer in all_reduce (100 MB, all ranks)" in found.words
    [sent] = [section for section in found.sections if section.name == "changed_collectives"]
    rows = [
        dict(zip(sent.tables["change_by_collective"].columns, row, strict=True))
        for row in sent.tables["change_by_collective"].rows()
    ]
    # 4 buckets of 100 MB in a ring of 4: 1.5 times the bytes over 40 and 20 GB/s, and 6 hops of 10 us each.
    assert sum(row["base_transfer_ms"] for row in rows) == pytest.approx(4 * (1.5 * 2.5 + 0.06), rel=0.01)
    assert sum(row["new_transfer_ms"] for row in rows) == pytest.approx(4 * (1.5 * 5.0 + 0.06), rel=0.01)
    assert {row["answer"] for row in rows} == {"changed"}


def test_repeats_of_one_job_never_look_changed(tmp_path: Path) -> None:
    small = replace(JOB, ranks=2, jitter=0.02, steps=20)
    runs = [report_on(tmp_path / str(seed), replace(small, seed=seed)) for seed in range(7)]
    verdicts = [judged(one, other, CompareOptions())[1][0].verdict for one, other in combinations(runs, 2)]
    assert len(verdicts) == 21
    assert not {"slower", "faster"} & set(verdicts), verdicts


def test_a_saved_report_serves_as_well_as_the_traces(tmp_path: Path) -> None:
    slow, fast = SAMPLES / "on-50mbit-ddp-n4-fedc7419", SAMPLES / "emulated-ddp-n4-7c256481"
    from_traces = compare(slow, fast, options=SERIAL)
    analyze([slow], options=SERIAL).save(tmp_path / "slow.json")
    from_report = compare(tmp_path / "slow.json", fast, options=SERIAL)
    assert from_report.verdict == from_traces.verdict
    assert from_report.runs[0].sections == from_traces.runs[0].sections


def test_two_recordings_over_different_links_differ_by_transfer() -> None:
    found = compare(SAMPLES / "emulated-ddp-n4-7c256481", SAMPLES / "on-50mbit-ddp-n4-fedc7419", options=SERIAL)
    assert found.verdict.startswith("NEW takes 3.11 times as long (95 %: ")
    assert "nearly all of it is exposed transfer in all_reduce" in found.verdict
    assert any("200mbit between namespaces in BASE, 50mbit" in caveat for caveat in found.runs[0].sections[0].caveats)
    assert Report.from_dict(found.to_dict()).to_dict() == found.to_dict()


def test_another_strategy_is_refused_until_it_is_what_was_changed() -> None:
    plain, half = SAMPLES / "emulated-ddp-n4-7c256481", SAMPLES / "emulated-ddp-fp16-n4-95904049"
    with pytest.raises(NotComparable, match=r"the strategy \(ddp in BASE, ddp\+fp16 in NEW\).*--across strategy"):
        compare(plain, half, options=SERIAL)
    found = compare(plain, half, CompareOptions(across=["strategy"]), options=SERIAL)
    assert found.verdict.startswith("NEW is 16.8 % faster (95 %: ")
    assert "less exposed transfer in all_reduce" in found.verdict


def test_studies_are_paired_by_size_and_the_rest_is_named() -> None:
    sizes = {n: run_of_steps(100 / n, info=replace(INFO, world_size=n, name=f"job-{n}")) for n in (1, 2, 4)}
    slower = {n: run_of_steps(120 / n, info=replace(INFO, world_size=n, name=f"job-{n}")) for n in (2, 4, 8)}
    base, new = (Report("study", "", tuple(runs.values())) for runs in (sizes, slower))
    pairs, changes, _ = judged(base, new, CompareOptions())
    alone = pairs.alone
    assert [(one.pair.base[0].info.world_size, one.verdict) for one in changes] == [(2, "slower"), (4, "slower")]
    assert alone == ("job-1 (1 rank) is in BASE alone", "job-8 (8 ranks) is in NEW alone")
    overview = overview_of(changes, alone, ["two", "four"])
    assert overview.headline.startswith("Of 2 pairs 2 slower. t")
    assert overview.tables["change_by_pair"]["verdict"] == ["slower", "slower"]
    assert overview.caveats == alone
    _, same, _ = judged(base, base, CompareOptions())
    assert overview_of(same, (), "abc").headline == "Of 3 pairs 3 without a change: none is shown to have changed."


def test_what_is_recorded_twice_is_a_repeat() -> None:
    base = Report("a", "", tuple(run_of_steps(level, info=INFO) for level in (100.0, 100.5, 99.5)))
    new = Report("b", "", tuple(run_of_steps(level, info=INFO) for level in (110.0, 110.5, 109.5)))
    _, [found], spread = judged(base, new, CompareOptions())
    assert spread is not None
    assert spread.freedom == 4
    assert (found.contrast.unit, found.contrast.samples, found.verdict) == ("runs", (3, 3), "slower")


def test_too_few_steps_name_the_run_and_refuse() -> None:
    short = Report("a", "", (run_of_steps([100.0, 101.0, 100.0]),))
    with pytest.raises(NotComparable, match=r"BASE cannot be compared: job \(2 ranks\) of BASE has 3 steady steps"):
        judged(short, Report("b", "", (run_of_steps(100),)), CompareOptions())


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match="least change"):
        CompareOptions(least=1.0)
    with pytest.raises(OptionError, match="--across knows"):
        CompareOptions(across=["size"])
