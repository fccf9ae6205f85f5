"""Findings: each rule on a synthetic job that has just that, its gain from the truth, and none on a healthy job."""

import json
from pathlib import Path
from typing import Any

import pytest

from scaleprof import analyze
from scaleprof.analyses import ANALYSES
from scaleprof.analyses.findings.findings import EVIDENCE
from scaleprof.analyses.remedies import REMEDIES
from scaleprof.pipeline import Options
from scaleprof.results import Finding
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job

HEALTHY: dict[str, Any] = {
    "ranks": 4, "steps": 8, "layers": 6, "buckets": 6, "input_ms": 0.1, "copy_ms": 0.05, "gradient_bytes": 24_000_000, "launch_us": 4.0,
}  # fmt: skip


def found(tmp_path: Path, **fields: Any) -> tuple[dict[str, Finding], dict[str, float], dict[str, Any]]:
    """Findings by id, metrics by id, and the truth."""
    folder = write_job(Spec(**{**HEALTHY, **fields}), tmp_path)
    [run] = analyze([folder], options=Options(engine="serial")).runs
    metrics = {metric.id: metric.value for section in run.sections for metric in section.metrics}
    section = next(section for section in run.sections if section.name == "findings")
    truth = json.loads((folder / "truth.json").read_text())
    return {finding.id: finding for finding in section.findings}, metrics, truth


def test_a_healthy_job_is_said_to_be_healthy_and_nothing_else(tmp_path: Path) -> None:
    findings, _, _ = found(tmp_path)
    assert set(findings) == {"healthy-input", "healthy-communication", "healthy-launch", "healthy-balance"}


@pytest.mark.parametrize(
    ("id", "fields", "share"),
    [
        ("starved", {"input_ms": 8.0}, "idle.input_share"),
        ("launch-bound", {"compute_ms": 0.4, "launch_us": 40.0, "gradient_bytes": 24_000}, "idle.launch_share"),
        ("exposed-transfer", {"bandwidth_gbps": 1.0}, "time.exposed_transfer_share"),
        ("exposed-copies", {"copy_ms": 4.0}, "time.exposed_memory_share"),
        ("bubble", {"pipeline": 2, "micro_batches": 2, "buckets": 3}, "time.bubble_share"),
    ],
)
def test_each_ailment_has_its_finding_with_its_share_as_the_gain(
    tmp_path: Path, id: str, fields: dict[str, Any], share: str
) -> None:
    findings, metrics, truth = found(tmp_path, **fields)
    assert id in findings
    finding = findings[id]
    kind = "replayed" if id in ("starved", "launch-bound", "exposed-transfer") else "ceiling"
    assert (finding.gain_kind, finding.remedy) == (kind, REMEDIES[id])
    # What holds the step up by itself brings its whole share when it is gone; a host that launches at once is late for nothing else either.
    near = 0.1 if id == "launch-bound" else 1e-5
    assert finding.gain_share == pytest.approx(metrics[share], rel=near)
    assert finding.severity == ("high" if metrics[share] >= 0.1 else "medium")
    leaf = {
        "time.exposed_transfer_share": "exposed_transfer",
        "time.exposed_memory_share": "exposed_memory",
        "time.bubble_share": "bubble",
    }.get(share)
    if leaf:
        steps = truth["steps"]
        true = sum(steps[f"{leaf}_ns"]) / sum(steps["window_ns"])
        assert finding.gain_share == pytest.approx(true, rel=0.02)


def test_a_heavy_stage_is_named(tmp_path: Path) -> None:
    # Seven layers on two stages: one has four of them.
    findings, _, _ = found(tmp_path, pipeline=2, micro_batches=8, layers=7, buckets=3)
    assert "stage-imbalance" in findings
    assert findings["stage-imbalance"].gain_share is not None


def test_what_the_steps_vary_by_is_no_finding(tmp_path: Path) -> None:
    findings, metrics, _ = found(tmp_path, copy_ms=0.9, jitter=0.3, compute_ms=40.0, steps=7)
    assert metrics["time.exposed_memory_share"] > 0.015
    assert "exposed-copies" not in findings


def test_every_finding_leads_to_a_section_that_exists() -> None:
    elsewhere = {"slow-links"}  # stands in the section that shows its evidence
    late = {id for id in REMEDIES if id.startswith("late")}  # remedies of a straggler, by its cause
    assert set(EVIDENCE.values()) <= {analysis.name for analysis in ANALYSES}
    assert {id for id in EVIDENCE if not id.startswith("healthy-")} == set(REMEDIES) - late - elsewhere
