"""What a project's `pyproject.toml` says, and what it may not say."""

from pathlib import Path

import pytest

from scaleprof.errors import OptionError
from scaleprof.settings import Settings, check_patterns, project_settings


def write(folder: Path, text: str) -> Path:
    path = folder / "pyproject.toml"
    path.write_text(text)
    return path


def test_the_nearest_file_speaks(tmp_path: Path) -> None:
    path = write(tmp_path, '[tool.scaleprof]\ncommunication = ["my_ring", "_a2a$"]\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert project_settings(below) == Settings(("my_ring", "_a2a$"), path)
    nearer = write(tmp_path / "a", "[project]\nname = 'x'\n")
    assert project_settings(below) == Settings((), nearer)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.scaleprof]\ncommunication = 'x'\n", r"communication must be a list of regular expressions"),
        ("[tool.scaleprof]\ncommunication = [1]\n", r"communication must be a list of regular expressions"),
        ("[tool.scaleprof]\ncommunication = ['(']\n", r"communication: '\(' is no regular expression"),
        ("[tool.scaleprof]\ncommunication = ['x*']\n", r"communication: 'x\*' fits every name"),
        (
            "[tool.scaleprof]\ncomunication = ['x']\n",
            r"knows no 'comunication'; it knows: communication, and a table for each command$",
        ),
        ("[tool]\nscaleprof = 1\n", r"\[tool\.scaleprof\] must be a table"),
        ("[tool.scaleprof\n", r"pyproject\.toml cannot be read: "),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, text)
    with pytest.raises(OptionError, match=said) as raised:
        project_settings(tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_patterns_are_checked_wherever_they_come_from() -> None:
    check_patterns(("my_exchange", r"\bep_\w+"), "--communication")
    with pytest.raises(OptionError, match=r"--communication: '\[' is no regular expression"):
        check_patterns(("[",), "--communication")
