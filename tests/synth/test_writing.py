"""Synthetic jobs on disk: every analysis of them finds their truth, and says that they are synthetic."""

import errno
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from scaleprof.cli import main
from scaleprof.errors import OptionError, ScaleprofError
from scaleprof.pipeline import Options, analyze, facts_of_rank
from scaleprof.readers import find_runs, read_rank
from scaleprof.render.terminal import print_report
from scaleprof.results import Report
from scaleprof.run import Run
from scaleprof.synth import writing
from scaleprof.synth.dialects import DIALECTS
from scaleprof.synth.spec import Spec, load_spec
from scaleprof.synth.writing import write_job
from scaleprof.trace import Trace
from tests.synth.tiny import ACCOUNT_US, WINDOW_US, tiny

LEAVES = ("compute", "exposed_comm", "exposed_memory", "idle")
ACCOUNTED = ("window", *LEAVES, "comm", "overlapped")
BOTH = pytest.mark.parametrize("foreign", [False, True], ids=["recorded", "foreign"])


def write(spec: Spec, out: Path, *, foreign: bool) -> tuple[Run, dict[str, Any]]:
    folder = write_job(spec, out, foreign=foreign)
    (run,) = find_runs([out])
    return run, json.loads((folder / "truth.json").read_text())


def check_account(run: Run, truth: dict[str, Any]) -> None:
    """Rank by rank and step by step, to the ns."""
    for rank, files in run.ranks.items():
        facts = facts_of_rank(files)
        assert not isinstance(facts, str), facts
        account = facts.tables["account"]
        rows = [row for row, of in enumerate(truth["steps"]["rank"]) if of == rank]
        for column in ("step", *(f"{name}_ns" for name in ACCOUNTED)):
            wanted = [truth["steps"][column][row] for row in rows]
            assert np.asarray(account[column]).tolist() == wanted, (rank, column)


@BOTH
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_analysis_finds_the_truth(dialect: str, foreign: bool, tmp_path: Path) -> None:
    settings = [("jitter", "0.03"), ("steps", "3"), ("stack_events", "40"), ("dialect", dialect)]
    spec = load_spec("ddp", [*settings, ("clock_drift_ppm", "0,20")])
    run, truth = write(spec, tmp_path, foreign=foreign)
    assert run.info.world_size == len(run.ranks) == 4
    assert run.info.synthetic
    check_account(run, truth)


@BOTH
@pytest.mark.parametrize("changed", [{"run_ahead": 1}, {"gz": False}, {"ranks": 1, "late_rank": 0}, {"copy_ms": 0.0}])
def test_other_jobs_are_found_as_they_are(changed: dict[str, Any], foreign: bool, tmp_path: Path) -> None:
    run, truth = write(tiny(**changed), tmp_path, foreign=foreign)
    check_account(run, truth)


@BOTH
def test_the_small_job_is_found_as_on_paper(foreign: bool, tmp_path: Path) -> None:
    run, _ = write(tiny(), tmp_path, foreign=foreign)
    for rank, files in run.ranks.items():
        facts = facts_of_rank(files)
        assert not isinstance(facts, str)
        account = facts.tables["account"]
        assert np.asarray(account["window_ns"]).tolist() == [WINDOW_US * 1000] * 2
        for name in (*LEAVES, "comm", "overlapped"):
            assert np.asarray(account[f"{name}_ns"]).tolist() == [ACCOUNT_US[rank][name] * 1000] * 2, name


def events_of(trace: Trace) -> list[tuple[str, int, int, int]]:
    of, names = trace.events, trace.names
    rows = zip(of.name.tolist(), of.start_ns.tolist(), of.dur_ns.tolist(), of.step.tolist(), strict=True)
    return sorted((names.text[name], start, dur, step) for name, start, dur, step in rows)


@BOTH
def test_dialects_read_back_to_the_same_events(foreign: bool, tmp_path: Path) -> None:
    read = {}
    for dialect in DIALECTS:
        run, _ = write(tiny(dialect=dialect, jitter=0.1, stack_events=12), tmp_path / dialect, foreign=foreign)
        read[dialect] = read_rank(run.ranks[1])
    for dialect, trace in read.items():
        if dialect != "old2022":
            assert events_of(trace) == events_of(read["native"]), dialect
            assert trace.comm.bytes.tolist() == [20_000_000] * 6
            expected = list(range(1, 7)) if DIALECTS[dialect].seq else [-1] * 6
            assert trace.comm.seq.tolist() == expected
    assert (read["old2022"].events.start_ns % 1000 == 0).all()
    assert set(read["old2022"].comm.op) == {"all_reduce"}


def terminal(report: Report) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    print_report(report, console)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


@BOTH
def test_every_output_says_that_it_is_synthetic(foreign: bool, tmp_path: Path) -> None:
    write_job(tiny(steps=6), tmp_path, foreign=foreign)
    report = analyze([tmp_path], options=Options(engine="serial"))
    assert report.to_dict()["runs"][0]["info"]["synthetic"] is True
    banner = "Synthetic data: computed from a description of a job, not recorded."
    assert banner in report.to_html()
    assert banner in " ".join(terminal(report).split())
    assert "synthetic data" in report.to_markdown()


def test_the_report_gives_the_shares_on_paper_and_shows_the_late_rank(tmp_path: Path) -> None:
    write_job(tiny(steps=6), tmp_path)
    (run,) = analyze([tmp_path], options=Options(engine="serial")).runs
    for leaf in LEAVES:
        metric = run.metric(f"time.{leaf}_share")
        assert metric is not None
        wanted = sum(ACCOUNT_US[rank][leaf] for rank in (0, 1)) / (2 * WINDOW_US)
        assert metric.value == pytest.approx(wanted, abs=1e-12)
    step = run.metric("step.time_ms")
    assert step is not None
    assert step.value == pytest.approx(WINDOW_US / 1000)
    throughput = run.metric("step.throughput")
    assert throughput is not None
    assert throughput.value == pytest.approx(2 * 32 / (WINDOW_US * 1e-6))
    time = next(section for section in run.sections if section.name == "time")
    by_rank = next(table for table in time.tables.values() if "exposed_comm_ms" in table.columns)
    assert by_rank["compute_ms"] == [10.0, 12.0]
    assert by_rank["exposed_comm_ms"] == [4.2, 2.2]


def test_only_the_ranks_that_are_asked_for_are_written(tmp_path: Path) -> None:
    run, truth = write(tiny(ranks=4, ranks_written=2), tmp_path, foreign=True)
    assert list(run.ranks) == [0, 1]
    assert run.info.world_size == 4
    assert "ranks 2, 3 of 4 are missing" in " ".join(run.caveats)
    assert set(truth["steps"]["rank"]) == {0, 1, 2, 3}
    check_account(run, truth)


def test_a_study_of_several_sizes_is_one_series(tmp_path: Path) -> None:
    for ranks in (1, 2):
        write_job(tiny(ranks=ranks, late_rank=0, late_ms=0.0, steps=6), tmp_path)
    report = analyze([tmp_path], options=Options(engine="serial"))
    assert report.title == "tiny"
    efficiency = report.metric("scaling.tiny.efficiency")
    assert efficiency is not None
    # One rank: 1024 + 500 + 10000. Two: the last all-reduce of 2200 is in nobody's way but its own, the first ends in the second backward.
    assert efficiency.value == pytest.approx(11_524 / (11_524 + 2_200))


def test_the_same_job_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [write_job(tiny(jitter=0.1), tmp_path / name) for name in "ab"]
    for file in sorted(path for path in folders[0].rglob("*") if path.is_file()):
        assert file.read_bytes() == (folders[1] / file.relative_to(folders[0])).read_bytes(), file


def test_a_folder_is_never_written_over(tmp_path: Path) -> None:
    write_job(tiny(), tmp_path)
    with pytest.raises(OptionError, match="tiny-n2 exists already: choose another name"):
        write_job(tiny(), tmp_path)


def test_nothing_is_left_of_a_job_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing, "write_truth", full)
    with pytest.raises(ScaleprofError, match=r"tiny-n2: the synthetic job cannot be written \(No space left"):
        write_job(tiny(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_job_and_prints_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["synth", "ddp", "-o", str(tmp_path), "--set", "ranks=2", "--set", "late_rank=1", "--dialect", "compact"]
    assert main([*words, "--foreign"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'ddp-n2'}\n"
    assert sorted(file.name for file in (tmp_path / "ddp-n2").iterdir()) == [
        "rank-00000.pt.trace.json.gz",
        "rank-00001.pt.trace.json.gz",
        "truth.json",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.toml"], "nothing.toml: there is no such file, and the built-in jobs are ddp, large"),
        (["ddp", "--set", "ranks=-3"], "ranks must lie between 1 and 65,536, not -3"),
        (["ddp", "--dialect", "latin"], "there is no dialect 'latin'"),
        (["ddp", "--set", "ranks"], "'ranks' is not of the form FIELD=VALUE"),
    ],
)
def test_nonsense_is_exit_code_2(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["synth", *words, "-o", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("a file")
    assert main(["synth", "ddp", "-o", str(tmp_path / "taken")]) == 1
    assert "the synthetic job cannot be written" in capsys.readouterr().err
