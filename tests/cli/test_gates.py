"""`compare` and `check` from the command line: exit codes, files, and what GitHub's workflows are given."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from scaleprof.cli import main
from scaleprof.results import Report

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_traces"
FAST, SLOW = SAMPLES / "emulated-ddp-n4-7c256481", SAMPLES / "on-50mbit-ddp-n4-fedc7419"
STUDY = sorted(str(path) for path in SAMPLES.glob("emulated-ddp-strong-*"))
EXAMPLE = ROOT / "docs" / "examples" / "github-actions.yml"


@pytest.fixture(autouse=True)
def _no_workflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved report on the strong-scaling samples."""
    path = tmp_path_factory.mktemp("study") / "study.json"
    assert main(["analyze", *STUDY, "--json", str(path), "-q"]) == 0
    return path


def test_compare_writes_page_summary_and_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(FAST), str(SLOW), "-o", "out/c.html", "--json", "c.json", "--markdown", "c.md"]
    assert main(["compare", *arguments]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("NEW takes 3.11 times as long")
    assert shown.splitlines()[-1] == "out/c.html"
    assert "Exposed transfer" in shown
    report = Report.load(tmp_path / "c.json")
    step = report.runs[0].metric("change.step_share")
    assert step is not None
    assert float(step.value) == pytest.approx(2.112, abs=0.001)
    assert "| Exposed transfer |" in (tmp_path / "c.md").read_text()
    page = (tmp_path / "out/c.html").read_text()
    assert "What changed" in page
    assert "One pair of runs in detail" in page
    assert "One run in detail" not in page


def test_compare_says_why_it_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(FAST), str(SAMPLES / "emulated-fsdp2-n4-1c852947")]) == 1
    said = capsys.readouterr().err
    assert "the strategy (ddp in BASE, fsdp2 in NEW)" in said
    assert "--across strategy" in said
    assert len(said.strip().splitlines()) == 1
    assert main(["compare", str(FAST), "no-such-folder"]) == 1
    assert main(["compare", str(FAST), str(SLOW), "--across", "colour"]) == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--min-efficiency", "0.6"], 0),
        (["--min-efficiency", "70%"], 1),
        (["--min-efficiency", "0.695"], 0),
        (["--min-efficiency", "0.695", "--inconclusive", "fail"], 1),
        (["--max", "step.time_ms=2 s"], 2),
        (["--max", "step.time_ms=2000", "--min", "step.throughput=9"], 0),
        (["--max", "step.time_ms=1500"], 1),
        (["--max", "no.such_number=1"], 3),
        ([], 2),
        (["--max-regression", "5%"], 2),
        (["--max", "time.idle_share=20"], 2),
        (["--max", "time.idle_share=20%"], 0),
        (["--max", "step.time_ms=5%"], 2),
        (["--baseline", "x", "--max-regression", "5"], 2),
        (["--min-efficiency", "80"], 2),
        (["--min-efficiency", "nan"], 2),
        (["--min-efficiency", "0.6", "--inconclusive", "maybe"], 2),
    ],
)
def test_exit_codes_of_check(arguments: list[str], code: int, study: Path) -> None:
    assert main(["check", str(study), *arguments]) == code


def test_data_that_cannot_answer_are_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["check", "empty", "--min-efficiency", "0.8", "--junit", "j.xml"]) == 3
    root = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert root.attrib["errors"] == "1"
    assert main(["check", str(FAST), "--min-efficiency", "0.8"]) == 3
    assert "two world sizes" in " ".join(capsys.readouterr().out.split())


def test_a_regression_fails_against_a_saved_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(FAST), "--json", "base.json", "-q"]) == 0
    assert main(["check", str(SLOW), "--baseline", "base.json"]) == 1
    assert main(["check", str(FAST), "--baseline", "base.json", "--json", "c.json"]) == 0
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["answer"] == "holds"
    assert content["outcomes"][0]["value"] == 0
    assert main(["check", str(SAMPLES / "emulated-fsdp2-n4-1c852947"), "--baseline", "base.json"]) == 3
    assert "--across strategy" in " ".join(capsys.readouterr().out.split())


def test_a_workflow_gets_its_summary_and_annotations(
    tmp_path: Path, study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "summary.md").write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert main(["check", str(study), "--min-efficiency", "0.695", "--max", "step.time_ms=1500"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("::error title=scaleprof%3A step.time_ms") for line in shown) == 1
    assert sum(line.startswith("::warning title=scaleprof%3A scaling.") for line in shown) == 1
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("before\n### ScaleProf: Of 4 demands")
    assert summary.count("| ❌ fails |") == 1


TRAIN = """
import time
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
import scaleprof

@scaleprof.profile("traces/", samples_per_step=8)
def train():
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    model = DistributedDataParallel(torch.nn.Linear(64, 64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(24):
        optimizer.zero_grad()
        time.sleep(0.05)  # in place of compute, so that a machine with busy cores is fast enough
        model(torch.randn(8, 64)).square().mean().backward()
        optimizer.step()
    dist.destroy_process_group()

if __name__ == "__main__":
    train()
"""


@pytest.mark.torch
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_the_example_workflow_runs_as_printed(tmp_path: Path) -> None:
    steps = yaml.safe_load(EXAMPLE.read_text())["jobs"]["gate"]["steps"]
    run = {step["name"]: step["run"] for step in steps if "run" in step}
    assert list(run) == ["Install", "Record", "Check", "Compare"]
    assert run["Install"] == 'pip install "scaleprof[torch]"', "what is installed here is this very checkout"
    (tmp_path / "train.py").write_text(TRAIN)
    scripts = Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SCALEPROF", "GITHUB"))}
    environment |= {
        "PATH": f"{scripts}:{environment['PATH']}",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_ACTIONS": "true",
    }

    def shell(line: str) -> subprocess.CompletedProcess[str]:
        # As GitHub's runner does: the first command that fails ends the step.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", line]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    recorded = shell(run["Record"])
    assert recorded.returncode == 0, recorded.stderr[-2000:]
    (tmp_path / "perf").mkdir()
    baseline = shell("scaleprof analyze traces/ --json perf/baseline.json")
    assert baseline.returncode == 0, baseline.stderr[-2000:]
    checked = shell(run["Check"])
    answers = json.loads((tmp_path / "build/scaleprof.json").read_text())
    # How busy the cores were decides whether the efficiency is judged; the exit code says what the answer is, and nothing fails of what is the same.
    assert checked.returncode == {"holds": 0, "inconclusive": 0, "fails": 1, "unusable": 3}[answers["answer"]], (
        checked.stderr[-2000:]
    )
    against = [one for one in answers["outcomes"] if one["demand"].startswith("step time against the baseline")]
    assert [one["answer"] for one in against] == ["holds", "holds"], "the same recordings on both sides, at two sizes"
    assert int(ElementTree.parse(tmp_path / "build/scaleprof.xml").getroot().attrib["tests"]) == len(
        answers["outcomes"]
    )
    assert "### ScaleProf" in (tmp_path / "summary.md").read_text()
    compared = shell(run["Compare"])
    assert compared.returncode == 0, compared.stderr[-2000:]
    assert compared.stdout.splitlines()[-1] == "build/compare.html"
    verdict = (tmp_path / "build/compare.md").read_text().splitlines()[0]
    assert verdict.startswith("### Of 2 pairs ")
    assert verdict.endswith((" without a change.", "none is shown to have changed.")), (
        "the same recordings on both sides"
    )
