"""Items are worked on here, in processes and on a cluster: what dies costs itself, and nothing is left running."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from scaleprof import __version__, engine
from scaleprof.engine import Lost, WorkersFailed, cores, map_cluster, map_processes, map_serial
from tests.clusters import Cluster, local_cluster

SAME = {"scaleprof:__version__": __version__}


def double(item: int) -> int:
    if item == 13:
        raise ValueError("unlucky")
    return 2 * item


def pid(item: int) -> int:
    return os.getpid()


def deadly(item: int) -> int:
    """13 kills whoever works on it, but not while that is still starting."""
    if item == 13:
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * item


def deadly_once(item: tuple[int, str]) -> int:
    """The first one to work on it dies, and leaves a mark."""
    number, mark = item
    if mark and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def slow(item: int) -> int:
    time.sleep(0.2)
    return 2 * item


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with local_cluster() as made:
        yield made


def test_answers_come_with_the_index_of_their_item() -> None:
    assert sorted(map_serial(double, [3, 1, 2])) == [(0, 6), (1, 2), (2, 4)]
    assert dict(map_processes(double, [3, 1, 2], workers=2)) == {0: 6, 1: 2, 2: 4}
    assert dict(map_processes(double, [], workers=2)) == {}


def test_processes_are_other_processes() -> None:
    assert os.getpid() not in {answer for _, answer in map_processes(pid, [1], workers=1)}
    assert cores() >= 1


def test_a_failing_item_raises_here() -> None:
    with pytest.raises(ValueError, match="unlucky"):
        list(map_processes(double, [1, 13], workers=1))


def test_a_process_that_is_killed_costs_nothing_but_time(tmp_path: Path) -> None:
    items = [(number, str(tmp_path / "mark") if number == 3 else "") for number in range(8)]
    assert dict(map_processes(deadly_once, items, workers=2)) == {number: 2 * number for number in range(8)}
    assert (tmp_path / "mark").exists(), "one was killed"


def test_an_item_that_kills_its_processes_costs_itself_alone() -> None:
    found = dict(map_processes(deadly, [1, 13, 2, 3, 4], workers=2))
    assert found.pop(1) == Lost("the process that worked on it died, 3 times: was memory short?")
    assert found == {0: 2, 2: 4, 3: 6, 4: 8}


def test_who_stops_taking_answers_leaves_no_process() -> None:
    answers = map_processes(slow, range(100), workers=2)
    assert next(answers)[1] % 2 == 0
    before = [one for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())]
    assert len(before) == 2
    answers.close()  # type: ignore[attr-defined]
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in before)


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from scaleprof.engine import map_processes\n"
        "from tests.test_engine import pid, slow\n"
        "if __name__ == '__main__':\n"
        "    for _, one in map_processes(pid, range(4), workers=2): print(one, flush=True)\n"
        "    list(map_processes(slow, range(1000), workers=2))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as job:
        assert job.stdout
        for _ in range(4):
            assert int(job.stdout.readline())
        while not (children := [one for one in psutil.Process(job.pid).children() if _works(one)]):
            time.sleep(0.05)
        time.sleep(0.5)
        job.kill()
    _, left = psutil.wait_procs(children, timeout=10)
    assert not left


def _works(process: psutil.Process) -> bool:
    return "spawn_main" in " ".join(process.cmdline())


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from scaleprof.engine import WorkersFailed, map_processes\n"
        "from tests.test_engine import double\n"
        "try:\n    list(map_processes(double, [1, 2], workers=2))\n"
        "except WorkersFailed as error:\n    print('told:', error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=True)
    assert "told: the processes that should read ended as they began" in done.stdout
    assert '`if __name__ == "__main__":`' in done.stdout


def test_a_cluster_gives_the_same_answers_and_keeps_none_of_them(cluster: Cluster) -> None:
    found = dict(map_cluster(double, range(12), address=cluster.address, same=SAME))
    assert found == {number: 2 * number for number in range(12)}
    assert cluster.asked_for() == []


def test_a_cluster_is_asked_for_a_few_items_at_a_time(cluster: Cluster) -> None:
    answers = map_cluster(slow, range(1000), address=cluster.address, same={})
    next(answers)
    assert 0 < len(cluster.asked_for()) <= 4
    answers.close()  # type: ignore[attr-defined]
    assert cluster.asked_for() == []


def test_workers_that_are_killed_cost_nothing_but_time_and_an_item_that_kills_them_itself() -> None:
    with local_cluster() as cluster:
        found = {}
        for index, answer in map_cluster(slow, range(12), address=cluster.address, same=SAME):
            if not found:
                os.kill(cluster.pids()[0], signal.SIGKILL)
            found[index] = answer
        assert found == {number: 2 * number for number in range(12)}
        found = dict(map_cluster(deadly, [1, 13, 2, 3, 4], address=cluster.address, same=SAME))
    assert found.pop(1) == Lost("the workers that worked on it died, 2 times: was memory short?")
    assert found == {0: 2, 2: 4, 3: 6, 4: 8}


def test_a_failing_item_of_a_cluster_raises_here(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="unlucky"):
        list(map_cluster(double, [1, 13], address=cluster.address, same={}))
    assert cluster.asked_for() == []


@pytest.mark.parametrize(
    ("same", "said"),
    [
        ({"scaleprof:__version__": "0.0.1"}, rf"scaleprof.__version__ is {__version__} on the worker at tcp://.* and 0.0.1 here"),
        ({"no_such_thing:__version__": "1"}, r"a worker of the cluster at tcp://\S+ has no no_such_thing \(.*\): install it there"),
    ],
    ids=["another version", "missing"],
)  # fmt: skip
def test_workers_that_lack_something_are_named(cluster: Cluster, same: dict[str, object], said: str) -> None:
    with pytest.raises(WorkersFailed, match=said):
        list(map_cluster(double, [1], address=cluster.address, same=same))


def test_a_scheduler_that_is_not_there_is_one_sentence() -> None:
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    with pytest.raises(WorkersFailed, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 .*is it running"):
        list(map_cluster(double, [1], address="tcp://127.0.0.1:9", same={}))


def test_a_cluster_without_workers_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_NO_WORKER_S", 1.0)
    with local_cluster(workers=0) as empty:
        for same in (SAME, {}):
            with pytest.raises(WorkersFailed, match="has had no worker for 1 s: start some"):
                list(map_cluster(double, [1], address=empty.address, same=same))


def test_a_scheduler_that_dies_is_one_sentence() -> None:
    with local_cluster(workers=1) as dying:
        answers = map_cluster(slow, range(1000), address=dying.address, same=SAME)
        next(answers)
        dying.process.kill()
        with pytest.raises(WorkersFailed, match=r"the scheduler at .* went away"):
            list(answers)
