"""`scaleprof export`: what is asked on the command line is what is written, and what makes no sense is said."""

import gzip
import json
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from scaleprof.cli import main
from scaleprof.synth.spec import Spec
from scaleprof.synth.writing import write_job
from tests.export.checks import checked

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recording() -> str:
    [folder] = (ROOT / "sample_traces").glob("emulated-ddp-n2-*")
    return str(folder)


def test_a_file_is_written_and_its_path_is_the_last_line(
    recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "merged.json.gz"
    assert main(["export", recording, "-o", str(path)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [str(path)]
    assert set(checked(path).ranks) == {0, 1}
    assert json.loads(gzip.decompress(path.read_bytes()))["otherData"]["emulated"]


def test_a_part_is_written_and_what_is_missing_is_said(
    recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "part.json"
    assert main(["export", recording, "-o", str(path), "--ranks", "1", "--steps", "4-5"]) == 0
    assert "part.json: 1 rank of 2 left out: 0" in capsys.readouterr().err
    file = checked(path)
    assert set(file.ranks) == {1} and {one.name for one in file.slices if one.category == "step"} == {
        "step 4",
        "step 5",
    }
    assert main(["export", recording, "-o", str(path), "--ranks", "1", "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_without_an_output_runs_go_to_a_folder(
    recording: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", recording, "-q"]) == 0
    assert capsys.readouterr().out.splitlines() == ["exports/emulated-ddp-n2.json.gz"]


def test_tables_alone(recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", recording, "--tables", str(tmp_path / "t")]) == 0
    written = capsys.readouterr().out.splitlines()
    assert str(tmp_path / "t" / "steps.csv") in written and all(line.endswith(".csv") for line in written)


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="pyarrow is not installed")
def test_tables_beside_a_trace_have_formats_of_their_own(recording: str, tmp_path: Path) -> None:
    out, tables = tmp_path / "x.json", tmp_path / "t"
    assert main(["export", recording, "-o", str(out), "--tables", str(tables), "--format", "parquet", "-q"]) == 0
    assert checked(out).slices and (tables / "steps.parquet").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--steps", "5-4"], 2, "--steps must go from an earlier to a later one"),
        (["--steps", "x"], 2, "'x' is not of the form FIRST[-LAST]"),
        (["--ranks", "1,,2"], 2, "is not of the form 0,4-7"),
        (["--ranks", "1-0"], 2, "'1-0' must go from lower to higher ranks"),
        (["--ranks", "9"], 2, "has no rank 9; there are: 0, 1"),
        (["--seconds", "1"], 2, "is not of the form FROM-TO"),
        (["--seconds", "0-inf"], 2, "--seconds must be numbers up to 1,000,000,000, not 0.0 to inf"),
        (
            ["--seconds", "900-901"],
            2,
            "nothing of run emulated-ddp lies in the chosen seconds; it lasts from 0 to 11.3",
        ),
        (["-o", "s3://bucket/x.json"], 2, "'s3://bucket/x.json' is elsewhere: name a file or folder of this machine"),
        (["--tables", "https://u:p@host/t"], 2, "'https://host/t' is elsewhere"),
        (["--budget", "0"], 2, "--budget must be a positive number"),
        (["--run", "other"], 2, "there is no run 'other'; there are: emulated-ddp-n2"),
        (["--format", "csv", "--format", "parquet"], 2, "--format says both csv and parquet"),
        (["--format", "csv"], 2, "--format csv is of tables: --tables FOLDER says where they go"),
        (["--steps", "900"], 2, "has any of the chosen steps; it has steps"),
        (["--budget", "0.01"], 1, "its steps and operations alone need"),
    ],
)
def test_what_makes_no_sense_is_said(
    recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(["export", recording, "-o", str(tmp_path / "x.json"), "-q", *words]) == code
    assert said in capsys.readouterr().err.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_a_folder_without_traces_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "-o", str(tmp_path / "x.json")]) == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_a_request_to_terminate_leaves_nothing_of_the_file(tmp_path: Path) -> None:
    folder = write_job(Spec(ranks=64, steps=4), tmp_path)
    out = tmp_path / "out"
    words = [sys.executable, "-m", "scaleprof", "export", str(folder), "-o", str(out / "x.json"), "-q"]
    with subprocess.Popen(words) as job:
        while job.poll() is None and not (out.exists() and list(out.iterdir())):
            time.sleep(0.02)
        assert [path.suffix for path in out.iterdir()] == [".tmp"], "it is being written"
        job.send_signal(signal.SIGTERM)
        assert job.wait(30) == 128 + signal.SIGTERM
    assert list(out.iterdir()) == []
