"""Sweeps: one script at several world sizes, and what is said when a size does not work."""

import textwrap
from pathlib import Path

import pytest

from scaleprof.errors import LaunchError, MissingPackage, OptionError
from scaleprof.launch import sweep as launch
from scaleprof.launch.sweep import sweep, world_sizes
from scaleprof.run import RUN_FILE, read_run_info

RECORDER = """
    import os, sys
    from pathlib import Path
    from scaleprof.run import RUN_FILE, RunInfo, write_json
    size = int(os.environ["WORLD_SIZE"])
    sys.stdout.write(f"training on {size} {' '.join(sys.argv[1:])}\\n")  # one write: ranks share a pipe, and print makes several
    if os.environ["RANK"] == "0":
        folder = Path(os.environ["SCALEPROF_DIR"]) / os.environ["SCALEPROF_RUN_ID"]
        folder.mkdir(parents=True)
        info = RunInfo(os.environ["SCALEPROF_NAME"], size, os.environ["SCALEPROF_SERIES"], run_id=os.environ["SCALEPROF_RUN_ID"])
        write_json(info, folder / RUN_FILE)
"""


def script(folder: Path, text: str) -> str:
    path = folder / "train.py"
    path.write_text(textwrap.dedent(text))
    return str(path)


def test_sizes_come_in_order_and_once() -> None:
    assert world_sizes("4,1,2,2") == (1, 2, 4)


@pytest.mark.parametrize("text", ["", "two", "1;2", "0,1", "-1"])
def test_sizes_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--ranks"):
        world_sizes(text)


def test_a_missing_script_is_named(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"nowhere\.py: there is no such training script"):
        sweep(["nowhere.py"], [1], out=tmp_path)


def test_a_missing_torch_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"scaleprof\[torch\]"):
        sweep([script(tmp_path, "")], [1], out=tmp_path)


@pytest.mark.torch
def test_every_size_is_recorded_into_one_series(tmp_path: Path) -> None:
    lines: list[tuple[int, str]] = []
    command = [script(tmp_path, RECORDER), "--rate", "0.1"]
    swept = sweep(command, [1, 2], out=tmp_path / "out", on_line=lambda size, line: lines.append((size, line)))
    infos = [read_run_info(folder / RUN_FILE) for folder in swept.runs]
    assert [(info.world_size, info.series) for info in infos] == [(1, "train"), (2, "train")]
    assert swept.failures == ()
    assert lines.count((2, "training on 2 --rate 0.1")) == 2


@pytest.mark.torch
def test_a_failing_size_costs_that_size(tmp_path: Path) -> None:
    # Rank 0 fails first: torchrun ends the others in the middle of whatever they do, and rank 0 is the one that makes the folder.
    failing = textwrap.dedent(RECORDER) + "import os, time\nif os.environ['RANK'] == '1': time.sleep(30)\n"
    failing += "if size == 2: raise RuntimeError('out of memory')\n"
    swept = sweep([script(tmp_path, failing)], [1, 2], out=tmp_path / "out", name="study")
    assert [read_run_info(folder / RUN_FILE).world_size for folder in swept.runs] == [1]
    (failure,) = swept.failures
    assert failure.ranks == 2
    assert "2 ranks ended with exit code 1; what it recorded stays in" in failure.reason
    assert failure.last_lines


@pytest.mark.torch
def test_a_script_that_records_nothing_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"recorded nothing: put scaleprof\.profile around the training loop"):
        sweep([script(tmp_path, "print('hello')")], [1], out=tmp_path / "out")
