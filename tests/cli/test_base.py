"""Where the options of a command come from, and which place comes first."""

import json
import shlex
from pathlib import Path

import pytest

from scaleprof.cli import main
from tests.recording import Recorded, write_run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_run(tmp_path / "traces", Recorded(ranks=1))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command_of(folder: Path, *words: str) -> list[str]:
    """How the report says that it can be made again."""
    assert main(["analyze", "traces", "--json", "x.json", "-q", *words]) == 0
    made_with = json.loads((folder / "x.json").read_text())["made_with"]
    return shlex.split(made_with["command"])


def settings(folder: Path, text: str, name: str = "scaleprof.toml") -> None:
    (folder / name).write_text(text)


def test_the_command_line_comes_before_the_environment_and_that_before_the_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(folder, "[analyze]\nworkers = 3\nset = { 'scaling.target' = 0.9 }\nno-cache = true\n")
    said = command_of(folder)
    assert "--workers 3" in " ".join(said) and "--no-cache" in said
    assert "scaling.target=0.9" in said
    monkeypatch.setenv("SCALEPROF_ANALYZE_WORKERS", "5")
    assert "--workers 5" in " ".join(command_of(folder))
    assert "--workers 5" not in " ".join(command_of(folder, "--workers", "7"))


def test_the_own_file_comes_before_that_of_the_project(folder: Path) -> None:
    settings(folder, "[tool.scaleprof.analyze]\nworkers = 2\n", "pyproject.toml")
    assert "--workers 2" in " ".join(command_of(folder))
    settings(folder, "[analyze]\nworkers = 3\n")
    assert "--workers 3" in " ".join(command_of(folder))


def test_files_are_looked_for_where_the_settings_stand(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings(folder, "[analyze]\nlink-reference = 'nowhere.log'\n")
    below = folder / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert main(["analyze", "../traces", "--json", "x.json", "-q"]) == 1
    assert str(folder / "nowhere.log") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[analyse]\nworkers = 1\n", "scaleprof.toml: [analyse]: there is no such command; there are: analyze"),
        ("[analyze]\nworker = 1\n", "scaleprof.toml: [analyze] knows no 'worker'; it knows: "),
        ("[analyze]\nworkers = 'many'\n", "scaleprof.toml: [analyze] workers: "),
        ("workers = 1\n", "scaleprof.toml knows no 'workers'; it knows: communication, and a table for each command"),
    ],
)
def test_what_is_wrong_names_the_file_and_the_key(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    settings(folder, text)
    assert main(["analyze", "traces", "-q"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_help_needs_no_settings(folder: Path) -> None:
    settings(folder, "nonsense")
    assert main(["--help"]) == 0
