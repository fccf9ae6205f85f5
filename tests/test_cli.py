"""The command line: what goes where, which exit code, and what is said to someone who typed something wrong."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from scaleprof import __version__
from scaleprof.cli import commands, main
from scaleprof.errors import OptionError, ScaleprofError
from scaleprof.results import Report
from scaleprof.run import RUN_FILE

ROOT = Path(__file__).parent.parent


@pytest.fixture
def recording() -> str:
    """A small run that was recorded for real."""
    return str(sorted((ROOT / "sample_traces").glob(f"emulated-ddp-strong-*/{RUN_FILE}"))[0].parent)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and the environment of a fresh shell."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    return tmp_path


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "scaleprof", *words], capture_output=True, text=True, check=False)


def test_help_names_the_commands_and_loads_nothing_that_takes_long() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "scaleprof", "--help"], capture_output=True, text=True, check=True
    )
    assert all(f"  {name} " in done.stdout for name in commands.commands)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"numpy", "rich", "torch", "pandas", "plotly", "asyncio", "psutil", "jinja2"}


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in commands.commands:
        assert main([name, "--help"]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"Usage: scaleprof {name}")
        assert "-q, --quiet" in said


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"scaleprof {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["unknown"], "No such command"),
        (["analyze"], "Missing argument"),
        (["analyze", ".", "--nonsense"], "No such option"),
        (
            ["analyze", ".", "--engine", "threads"],
            "engine must be processes, serial, or the address of a Dask scheduler",
        ),
        (["analyze", ".", "--workers", "0"], "0 is not in the range"),
        (["analyze", ".", "--set", "scaling"], "'scaling' is not of the form ANALYSIS.OPTION=VALUE"),
        (["analyze", ".", "--run", "=*.json"], "is not of the form NAME=GLOB"),
        (["analyze", ".", "--set", "no.such=1"], "there is no setting 'no.such'"),
        (["sweep", "--", "train.py"], "Missing option '--ranks'"),
        (["sweep", "--ranks", "one", "--", "train.py"], "--ranks takes whole numbers"),
        (["sweep", "--ranks", "1"], "Missing argument"),
    ],
)
def test_a_wrong_option_is_exit_code_2(words: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.mark.usefixtures("in_folder")
@pytest.mark.parametrize("path", ["nowhere", "."])
def test_nothing_to_read_is_one_sentence(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", path]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("scaleprof: ")
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


@pytest.mark.usefixtures("in_folder")
def test_a_missing_script_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--ranks", "1", "--", "train.py"]) == 1
    assert capsys.readouterr().err == "scaleprof: train.py: there is no such training script\n"


@pytest.mark.parametrize(
    ("error", "code"), [(ScaleprofError("so"), 1), (OptionError("so"), 2), (KeyboardInterrupt(), 130)]
)
def test_exit_codes(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("scaleprof.cli.reports.analyzed", fail)
    assert main(["analyze", "."]) == code


def test_the_path_of_the_report_is_the_last_line(
    recording: str, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", recording, "--markdown", "out/summary.md", "-o", "out/x.html"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "out/x.html"
    assert len(lines) > 3, "a summary comes before it"
    assert (in_folder / "out/x.html").read_text().startswith("<!")
    assert (in_folder / "out/summary.md").read_text()


def test_without_an_output_the_report_has_the_name_of_the_series(
    recording: str, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", recording, "-q"]) == 0
    assert capsys.readouterr().out == "reports/emulated-ddp-strong.html\n"
    assert (in_folder / "reports" / "emulated-ddp-strong.html").exists()


def test_json_alone_writes_no_html_and_loads_no_library_for_it(recording: str, in_folder: Path) -> None:
    code = (
        "import sys; from scaleprof.cli import main\n"
        f"assert main(['analyze', {recording!r}, '--json', 'x.json']) == 0\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *_, path, modules = done.stdout.splitlines()
    assert path == "x.json"
    assert not {"pandas", "plotly", "scipy", "torch", "jinja2"} & set(modules.split())
    assert os.listdir(in_folder) == ["x.json"]
    assert Report.load(in_folder / "x.json").runs[0].info.name
    assert json.loads((in_folder / "x.json").read_text())["made_with"]["version"] == __version__


def test_a_report_that_cannot_be_written_is_explained(
    recording: str, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_folder / "taken").write_text("a file")
    assert main(["analyze", recording, "-q", "--json", "taken/x.json"]) == 1
    assert "taken/x.json: cannot be written" in capsys.readouterr().err


def test_python_m_scaleprof_is_the_command() -> None:
    assert run("--version").stdout == f"scaleprof {__version__}\n"


def test_a_request_to_terminate_ends_the_jobs_of_a_sweep(in_folder: Path) -> None:
    (in_folder / "train.py").write_text("import os, time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(60)\n")
    words = [sys.executable, "-m", "scaleprof", "sweep", "--ranks", "1", "--", "train.py"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as job:
        assert job.stderr is not None
        worker = next(int(line.split()[-1]) for line in job.stderr if " pid " in line)
        job.send_signal(signal.SIGTERM)
        job.stderr.read()
    assert job.returncode == 143
    assert not Path(f"/proc/{worker}").exists()


def test_patterns_of_communication_come_from_the_project_and_the_command_line(recording: str, in_folder: Path) -> None:
    (in_folder / "pyproject.toml").write_text('[tool.scaleprof]\ncommunication = ["my_ring"]\n')
    done = run("analyze", recording, "--json", "r.json", "--communication", "_a2a$", "-q")
    assert done.returncode == 0, done.stderr
    made = Report.load(Path("r.json")).made_with
    assert made["communication"] == "my_ring  _a2a$"
    assert made["command"].endswith("--communication '_a2a$' -q --communication my_ring"), "it works elsewhere, too"


@pytest.mark.parametrize(
    ("words", "settings", "said"),
    [
        (("--communication", "("), "", "--communication: '(' is no regular expression"),
        (("--communication", ".*"), "", "--communication: '.*' fits every name"),
        ((), "[tool.scaleprof]\nx = 1\n", "[tool.scaleprof] knows no 'x'; it knows: communication"),
    ],
)
def test_a_wrong_pattern_or_setting_is_a_wrong_option(
    recording: str, in_folder: Path, capsys: pytest.CaptureFixture[str], words: Sequence[str], settings: str, said: str
) -> None:
    (in_folder / "pyproject.toml").write_text(settings)
    assert main(["analyze", recording, *words]) == 2
    assert said in capsys.readouterr().err
