"""Sweeps: one script at several world sizes, and what is said when a size does not work."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from scaleprof.errors import LaunchError, MissingPackage
from scaleprof.launch import sweep as launch
from scaleprof.launch.sweep import Sweep, plan_of
from scaleprof.launch.trials import Trial, trials_of
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


def sweep(
    command: list[str], sizes: list[int], *, out: Path, name: str | None = None, resume: bool = False, **options: Any
) -> Sweep:
    """Every size once, in order."""
    return launch.sweep(plan_of(command, trials_of(sizes), out=out, name=name, resume=resume), **options)


def test_a_missing_script_is_named(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"nowhere\.py: there is no such training script"):
        sweep(["nowhere.py"], [1], out=tmp_path)


def test_a_missing_torch_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"scaleprof\[torch\]"):
        sweep([script(tmp_path, "")], [1], out=tmp_path)


@pytest.mark.torch
def test_every_size_is_recorded_into_one_series(tmp_path: Path) -> None:
    lines: list[tuple[Trial, str]] = []
    command = [script(tmp_path, RECORDER), "--rate", "0.1"]
    swept = sweep(command, [1, 2], out=tmp_path / "out", on_line=lambda trial, line: lines.append((trial, line)))
    infos = [read_run_info(folder / RUN_FILE) for folder in swept.runs]
    assert [(info.world_size, info.series) for info in infos] == [(1, "train"), (2, "train")]
    assert swept.failures == ()
    assert lines.count((Trial(2, 0), "training on 2 --rate 0.1")) == 2


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


@pytest.mark.torch
def test_a_sweep_that_was_interrupted_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    """The job of 2 ranks fails while there is a file in its way; what was done before is not run again."""
    obstacle = tmp_path / "obstacle"
    obstacle.write_text("")
    failing = textwrap.dedent(RECORDER) + f"if size == 2 and os.path.exists({str(obstacle)!r}): raise SystemExit(3)\n"
    command, out = [script(tmp_path, failing)], tmp_path / "out"
    first = sweep(command, [1, 2], out=out)
    assert [failure.ranks for failure in first.failures] == [2]
    obstacle.unlink()
    plan = plan_of(command, trials_of([1, 2]), out=out, resume=True)
    assert (plan.trials, list(plan.done)) == ((Trial(2, 0),), [Trial(1, 0)])
    second = launch.sweep(plan)
    assert [read_run_info(folder / RUN_FILE).world_size for folder in second.runs] == [1, 2]
    assert second.runs[0] == first.runs[0]
    assert second.failures == ()
    nothing_left = plan_of(command, trials_of([1, 2]), out=out, resume=True)
    assert nothing_left.trials == ()
    assert launch.sweep(nothing_left).runs == second.runs


@pytest.mark.torch
def test_repeats_say_which_they_are(tmp_path: Path) -> None:
    noting = textwrap.dedent(RECORDER).replace("run_id=os", "int(os.environ['SCALEPROF_REPEAT']), run_id=os")
    command, out = [script(tmp_path, noting)], tmp_path / "out"
    swept = launch.sweep(plan_of(command, trials_of([1], repeats=2, seed=1), out=out))
    assert [read_run_info(folder / RUN_FILE).repeat for folder in swept.runs] == [0, 1]
    entries = [json.loads(line) for line in (out / "sweep-train.jsonl").read_text().splitlines()]
    assert entries[0] == {"command": command}
    assert {(entry["ranks"], entry["repeat"]) for entry in entries[1:]} == {(1, 0), (1, 1)}


def test_a_sweep_of_another_command_is_not_gone_on_with(tmp_path: Path) -> None:
    command = [script(tmp_path, "")]
    plan_of(command, trials_of([1]), out=tmp_path)
    with pytest.raises(LaunchError, match=r"is of another sweep \(.*train\.py\): give this one another --name"):
        plan_of([*command, "--rate", "1"], trials_of([1]), out=tmp_path, resume=True)
    with pytest.raises(LaunchError, match="there is no sweep to go on with"):
        plan_of(command, trials_of([1]), out=tmp_path / "elsewhere", resume=True)
