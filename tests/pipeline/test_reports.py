"""From folders on disk to the report: what is right, what is missing, what is broken."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

import scaleprof
from scaleprof.errors import InputError, NothingToRead, OptionError
from scaleprof.pipeline import Options, analyze, facts
from scaleprof.results import Report
from tests.recording import Recorded, write_run


def weak_study(folder: Path) -> Path:
    for ranks, blocked, step in ((1, 0, 85), (2, 15, 100), (4, 40, 125)):
        write_run(folder, Recorded(ranks=ranks, step_ms=step, blocked_ms=blocked, name="weak", series="weak"))
    return folder


def all_caveats(report: Report) -> str:
    sections = [*report.comparison, *(section for run in report.runs for section in run.sections)]
    runs = [caveat for run in report.runs for caveat in run.caveats]
    return "\n".join([*report.caveats, *runs, *(caveat for section in sections for caveat in section.caveats)])


def test_a_study_from_disk_gives_the_numbers_on_paper(tmp_path: Path) -> None:
    report = analyze([weak_study(tmp_path)], options=Options(engine="serial"))
    efficiency = report.metric("scaling.weak.efficiency")
    assert efficiency is not None
    assert efficiency.value == pytest.approx(85 / 125, rel=1e-9)
    table = report.tables["scaling"]
    assert table["ranks"].tolist() == [1, 2, 4]
    assert table["step_ms"].tolist() == pytest.approx([85, 100, 125])
    assert table["throughput"].tolist() == pytest.approx([8 / 0.085, 16 / 0.1, 32 / 0.125])
    four = report.runs[-1]
    assert four.info.world_size == 4
    shares = {name: four.metric(f"time.{name}_share") for name in ("compute", "exposed_comm", "exposed_memory", "idle")}
    values = {name: metric.value for name, metric in shares.items() if metric}
    assert values == pytest.approx(
        {"compute": 80 / 125, "exposed_comm": 40 / 125, "exposed_memory": 0, "idle": 5 / 125}
    )
    assert "exposed transfer takes 32.0 % of the step" in report.verdict
    assert not report.caveats


def test_the_report_survives_its_own_file(tmp_path: Path) -> None:
    report = analyze([weak_study(tmp_path)], options=Options(engine="serial"))
    report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json").to_dict() == report.to_dict()
    assert scaleprof.Report is Report


def test_processes_and_one_process_give_the_same_report(tmp_path: Path) -> None:
    weak_study(tmp_path)
    serial = analyze([tmp_path], options=Options(engine="serial")).to_dict()
    side_by_side = analyze([tmp_path], options=Options(workers=2)).to_dict()
    assert serial | {"made_with": 0} == side_by_side | {"made_with": 0}


def test_progress_counts_every_rank(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    analyze([weak_study(tmp_path)], options=Options(engine="serial"), progress=lambda *said: seen.append(said))
    assert [said for said in seen if said[0] == "reading ranks"] == [("reading ranks", done, 7) for done in range(8)]


def test_a_missing_rank_is_a_caveat(tmp_path: Path) -> None:
    run = write_run(tmp_path, Recorded(ranks=4))
    shutil.rmtree(run / "rank-00002")
    report = analyze([tmp_path], options=Options(engine="serial"))
    assert report.runs[0].ranks_read == (0, 1, 3)
    assert "2" in " ".join(caveat for caveat in report.runs[0].caveats if "missing" in caveat)
    assert not all(chip.good for chip in report.chips)


@pytest.mark.parametrize("content", [b"", b"this is no trace", b'{"traceEvents": [', b'{"a": 1}'])
def test_a_broken_trace_costs_its_rank_at_most_and_is_named(tmp_path: Path, content: bytes) -> None:
    run = write_run(tmp_path, Recorded(ranks=2))
    [trace] = (run / "rank-00001").glob("trace-*")
    trace.write_bytes(gzip.compress(content) if content else content)
    report = analyze([tmp_path], options=Options(engine="serial"))
    assert 0 in report.runs[0].ranks_read
    assert trace.name in all_caveats(report)
    assert "Traceback" not in all_caveats(report)


def test_a_broken_rank_file_costs_its_rank(tmp_path: Path) -> None:
    run = write_run(tmp_path, Recorded(ranks=2))
    (run / "rank-00001" / "rank.json").write_text('{"rank": 1, "wor')
    report = analyze([tmp_path], options=Options(engine="serial"))
    assert report.runs[0].ranks_read == (0,)
    assert "rank.json" in all_caveats(report)


def test_nothing_readable_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "trace.json").write_text("{")
    with pytest.raises(InputError, match=r"trace\.json"):
        analyze([tmp_path], options=Options(engine="serial"))


def test_a_folder_that_does_not_exist_or_is_empty_is_said(tmp_path: Path) -> None:
    with pytest.raises(NothingToRead, match="nowhere"):
        analyze([tmp_path / "nowhere"])
    with pytest.raises(NothingToRead, match=tmp_path.name):
        analyze([tmp_path])


def test_runs_of_two_models_are_both_reported_and_not_scaled(tmp_path: Path) -> None:
    write_run(tmp_path, Recorded(ranks=1, name="small"))
    write_run(tmp_path, Recorded(ranks=2, name="other", rank_info={"model": "Other"}))
    report = analyze([tmp_path], options=Options(engine="serial"))
    assert len(report.runs) == 2
    assert "another model or precision" in all_caveats(report)
    assert report.metric("scaling.weak.efficiency") is None


def test_a_starved_size_has_no_verdict(tmp_path: Path) -> None:
    for ranks in (1, 2):
        write_run(tmp_path, Recorded(ranks=ranks, runq_ms=0, name="job"))
    write_run(tmp_path, Recorded(ranks=4, runq_ms=20, name="job"))
    report = analyze([tmp_path], options=Options(engine="serial"))
    table = report.tables["scaling"]
    assert table["efficiency"].notna().tolist() == [True, True, False]
    assert "no efficiency verdict" in all_caveats(report)


def test_settings_are_checked() -> None:
    with pytest.raises(OptionError, match=r"scaling\.goal.*scaling\.target"):
        analyze(["x"], options=Options(settings=(("scaling.goal", "1"),)))
    with pytest.raises(OptionError, match="must be a number"):
        analyze(["x"], options=Options(settings=(("scaling.target", "much"),)))
    with pytest.raises(OptionError, match="workers"):
        Options(workers=0)


def test_a_fact_that_fails_costs_its_sections_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(trace: object) -> None:
        raise RuntimeError("a bug")

    write_run(tmp_path, Recorded(ranks=2))
    needed = facts._needed(facts.ANALYSES)
    monkeypatch.setattr(facts, "_needed", lambda analyses: {**needed, "kernels": broken})
    report = analyze([tmp_path], options=Options(engine="serial"))
    assert "kernels could not be measured (RuntimeError: a bug)" in all_caveats(report)
    assert {section.name for section in report.runs[0].sections} >= {"time", "steps", "ranks"}


def test_json_holds_no_nan(tmp_path: Path) -> None:
    write_run(tmp_path, Recorded(ranks=1, samples=None))
    report = analyze([tmp_path], options=Options(engine="serial"))
    assert "NaN" not in json.dumps(report.to_dict(), allow_nan=False)
    assert "samples per step are unknown" in all_caveats(report)


def test_series_say_which_runs_are_theirs_by_size(tmp_path: Path) -> None:
    report = analyze([weak_study(tmp_path)], options=Options(engine="serial"))
    [series] = report.series
    assert (series.id, series.label) == ("weak", "weak")
    assert [report.runs[place].info.world_size for place in series.runs] == [1, 2, 4]
