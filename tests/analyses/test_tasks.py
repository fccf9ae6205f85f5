"""Independent tasks: schedules with a known best, from files, and the recorded trials."""

import json
from pathlib import Path

import pytest

from scaleprof import Report, analyze
from scaleprof.pipeline import Options
from scaleprof.results import RunReport
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job

SAMPLES = Path(__file__).parent.parent.parent / "sample_traces"


def metrics(run: RunReport) -> dict[str, float]:
    section = next(section for section in run.sections if section.name == "tasks")
    return {metric.id: float(metric.value) for metric in section.metrics}


def analyzed(*folders: Path) -> Report:
    return analyze(folders, options=Options(engine="serial"))


def test_a_schedule_with_a_known_best(tmp_path: Path) -> None:
    # Dealt out in turns: 30 + 20 + 20 ms and 30 + 20. Longest first comes to 70 as well, the best is 60 (30 + 30 and 20 + 20 + 20).
    folder = write_job(Spec(name="graham", ranks=2, task_ms=(30.0, 30.0, 20.0, 20.0, 20.0)), tmp_path)
    truth = json.loads((folder / "truth.json").read_text())
    found = metrics(analyzed(folder).runs[0])
    assert found["tasks.makespan_ms"] == truth["makespan_ns"] / 1e6 == 70
    assert found["tasks.lower_bound_ms"] == pytest.approx(60)
    assert found["tasks.longest_first_ms"] == pytest.approx(70)
    assert found["tasks.efficiency"] == pytest.approx(120 / 140)


def test_a_better_order_is_said_and_the_ranks_are_on_one_clock(tmp_path: Path) -> None:
    # 10 + 40 and 10 ms; longest first takes 40. The second host's clock is 5 s ahead, and nobody knows.
    spec = Spec(name="bad", ranks=2, ranks_per_host=1, task_ms=(10.0, 10.0, 40.0), clock_offset_ms=(0.0, 5000.0))
    [run] = analyzed(write_job(spec, tmp_path)).runs
    section = next(section for section in run.sections if section.name == "tasks")
    assert metrics(run)["tasks.makespan_ms"] == 50, "each rank's own time, since the clocks are not comparable"
    assert "longest task first would take 40 ms" in section.headline
    assert any("not comparable" in caveat for caveat in section.caveats)


def test_the_same_tasks_on_more_ranks_are_one_study(tmp_path: Path) -> None:
    times = (40.0, 40.0, 40.0, 40.0)
    folders = [write_job(Spec(name="study", ranks=ranks, task_ms=times), tmp_path) for ranks in (1, 2, 4)]
    report = analyzed(*folders)
    table = report.tables["task_scaling"]
    assert table["makespan_ms"].tolist() == pytest.approx([160, 80, 40])
    assert table["scaling_efficiency"].tolist() == pytest.approx([1, 1, 1])


def test_the_recorded_trials_agree_with_what_was_written(tmp_path: Path) -> None:
    [folder] = SAMPLES.glob("emulated-tasks-n4-*")
    busy = {}
    for rank in range(4):
        lines = [json.loads(line) for line in (folder / f"rank-{rank:05d}" / "tasks.jsonl").read_text().splitlines()]
        busy[rank] = sum(line["t1"] - line["t0"] for line in lines if "t1" in line) / 1e6
    found = metrics(analyzed(folder).runs[0])
    assert found["tasks.count"] == 8
    assert found["tasks.efficiency"] == pytest.approx(sum(busy.values()) / (4 * found["tasks.makespan_ms"]), rel=1e-6)
    assert max(busy.values()) <= found["tasks.makespan_ms"] <= max(busy.values()) + 300
    assert found["tasks.lower_bound_ms"] == pytest.approx(sum(busy.values()) / 4, rel=1e-6)
