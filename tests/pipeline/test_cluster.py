"""Ranks on a real Dask cluster: the same report as here, whoever is killed meanwhile, and nothing left running by who gives up."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from scaleprof.align import RankFacts
from scaleprof.cli import main
from scaleprof.engine import map_cluster
from scaleprof.pipeline import Options, analyze, facts_of_rank
from scaleprof.pipeline.cluster import as_given, measured_there, sent
from scaleprof.readers import find_runs
from scaleprof.run import RankFiles
from scaleprof.synth.spec import load_spec
from scaleprof.synth.writing import write_job
from tests.clusters import Cluster, local_cluster

SAMPLES = Path(__file__).parents[2] / "sample_traces"
STUDY = sorted(SAMPLES.glob("emulated-ddp*-n4-*"))[:3]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with local_cluster() as made:
        yield made


@pytest.fixture(scope="module")
def long_job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ranks that take seconds to read."""
    settings = [("ranks", "12"), ("steps", "12"), ("stack_events", "4000")]
    return write_job(load_spec("ddp", settings), tmp_path_factory.mktemp("long"))


def told(**options: Any) -> dict[str, Any]:
    """The report on the study as data, without how and when it was made."""
    report = analyze(STUDY, **options).to_dict()
    del report["made_with"]
    return report


def test_the_report_is_the_same_when_a_worker_is_killed_in_the_middle() -> None:
    alone = told(options=Options(engine="serial"))
    with local_cluster() as cluster:
        killed: list[int] = []

        def kill_one(stage: str, done: int, total: int) -> None:
            if stage == "reading ranks" and done == 3 and not killed:
                killed.append(cluster.pids()[0])
                os.kill(killed[0], signal.SIGKILL)

        there = told(options=Options(engine=cluster.address), progress=kill_one)
        assert killed
        assert killed[0] not in cluster.pids()
        assert cluster.asked_for() == []
    assert json.dumps(there) == json.dumps(alone)


def test_the_page_differs_in_the_line_that_says_how_it_was_made(cluster: Cluster, tmp_path: Path) -> None:
    runs = [str(path) for path in STUDY[:2]]
    texts = []
    for engine in ("serial", cluster.address):
        out = tmp_path / "r.json"
        command = [sys.executable, "-m", "scaleprof", "analyze", *runs, "--engine", engine, "--json", str(out), "-q"]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "SCALEPROF_CACHE": "0"})
        texts.append(out.read_text().splitlines())
    different = [(one, other) for one, other in zip(*texts, strict=True) if one != other]
    assert {one.split(":")[0].strip() for one, _ in different} - {'"created"'} == {'"command"'}


def test_what_a_worker_cannot_see_is_named(cluster: Cluster, tmp_path: Path) -> None:
    shutil.copytree(STUDY[0], tmp_path / "run")
    (run,) = find_runs([tmp_path / "run"])
    there = partial(measured_there, facts_of_rank)
    ranks = [sent(files) for files in run.ranks.values()]
    gone, changed = tmp_path / "run/rank-00001/rank.json", tmp_path / "run/rank-00002/rank.json"
    gone.unlink()
    changed.write_text("{}")
    found = dict(map_cluster(there, ranks[:3], address=cluster.address, same={}))
    assert isinstance(found[0], RankFacts)
    assert re.fullmatch(rf"the worker at tcp://\S+ cannot see {gone}: is the folder shared\?", str(found[1]))
    assert re.fullmatch(rf"the worker at tcp://\S+ sees another file as {changed} than is .*shared\?", str(found[2]))


def test_reasons_have_the_paths_that_were_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = RankFiles(0, "kineto", (Path("a.json"),), folder=Path("run"))
    assert sent(files).files.traces == (tmp_path / "a.json",)
    assert as_given(f"{tmp_path}/a.json: is empty; {tmp_path}/run", files) == "a.json: is empty; run"


def interrupted(words: list[str], ready: Callable[[psutil.Process], bool]) -> None:
    """A command that a terminal's Ctrl-C reaches, with all its processes, once it is ready: it says so, and none of them is left."""
    command = [sys.executable, "-m", "scaleprof", *words]
    environment = {**os.environ, "SCALEPROF_CACHE": "0"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True) as job:
        process = psutil.Process(job.pid)
        while not ready(process):
            assert job.poll() is None, job.stderr and job.stderr.read()
            time.sleep(0.05)
        children = process.children(recursive=True)
        os.killpg(job.pid, signal.SIGINT)
        assert job.stderr
        said = job.stderr.read()
    assert job.returncode == 130
    assert said.split() == ["interrupted"]
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_an_interruption_leaves_nothing_running_on_the_cluster(cluster: Cluster, long_job: Path) -> None:
    interrupted(["analyze", str(long_job), "--engine", cluster.address], lambda _: bool(cluster.asked_for()))
    assert cluster.asked_for() == []


def test_an_interruption_leaves_no_process_here(long_job: Path) -> None:
    def busy(process: psutil.Process) -> bool:
        workers = [one for one in process.children() if "spawn_main" in " ".join(one.cmdline())]
        return len(workers) == 2 and all(sum(one.cpu_times()[:2]) > 0.5 for one in workers)

    interrupted(["analyze", str(long_job), "--workers", "2"], busy)


def test_an_interruption_while_processes_start_leaves_none(long_job: Path) -> None:
    interrupted(["analyze", str(long_job), "--workers", "2"], lambda one: bool(one.children()))


def test_a_scheduler_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    assert main(["analyze", str(STUDY[0]), "--engine", "tcp://127.0.0.1:9", "-q"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("scaleprof: no Dask scheduler answers at tcp://127.0.0.1:9 (")
    assert len(said.splitlines()) == 1


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("scaleprof.pipeline.facts.find_spec", lambda name: None)
    assert main(["analyze", str(STUDY[0]), "--engine", "tcp://127.0.0.1:9", "-q"]) == 1
    assert "pip install 'scaleprof[dask]'" in capsys.readouterr().err
