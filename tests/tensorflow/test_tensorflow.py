"""Real jobs of TensorFlow, recorded and analysed: `make test-tensorflow` runs these in an environment of their own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from scaleprof.pipeline import Options, analyze
from scaleprof.readers import find_runs, read_rank
from scaleprof.results import RunReport
from scaleprof.run import read_rank_info
from tests.tensorflow.jobs import FIRST, GRADIENT_BYTES, LATE_RANK, LATE_S, PROFILED, SAMPLES, STEPS
from tests.test_readme import snippet

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not here: see `make test-tensorflow`"),
    pytest.mark.timeout(400),
]
RANKS = 2
PATIENCE_S = 300
TRIES, CRASHES = 3, {-signal.SIGABRT, -signal.SIGSEGV}


@contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Ports that nobody uses, given back before they are."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        ports = [one.getsockname()[1] for one in sockets]
    yield ports


def run_job(kind: str, folder: Path, *, legacy: bool = False, ranks: int = RANKS) -> None:
    """A job of so many processes, to its end; again where the profiler died of its own fault (see the README): a Python error is final."""
    for left in reversed(range(TRIES)):
        codes, said = _tried(kind, folder, legacy=legacy, ranks=ranks)
        if not left or not set(codes) & CRASHES:
            break
        warnings.warn(f"a process of TensorFlow died of a signal ({codes}); {left} more tries", stacklevel=2)
        shutil.rmtree(folder)
        folder.mkdir()
    assert codes == [0] * ranks, "\n".join(text[-3000:] for text in said)


def _tried(kind: str, folder: Path, *, legacy: bool, ranks: int) -> tuple[list[int], list[str]]:
    """Exit codes and outputs of the job."""
    quiet = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": str(int(legacy))}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SCALEPROF", "TF_"))}
    command = [sys.executable, "-m", "tests.tensorflow.jobs", kind, str(folder)]
    with free_ports(ranks) as ports:
        cluster = {"worker": [f"localhost:{port}" for port in ports]}
    started = []
    for rank in range(ranks):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})
        settings = {**kept, **quiet, **({"TF_CONFIG": config} if ranks > 1 else {})}
        process = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
    try:
        said = [process.communicate(timeout=PATIENCE_S)[0] for process in started]
        return [process.returncode for process in started], said
    finally:
        for process in started:
            process.kill()
            process.wait()


def value(run: RunReport, name: str) -> float:
    metric = run.metric(name)
    assert metric is not None, name
    return float(metric.value)


def last(run: RunReport) -> dict[int, int]:
    """By rank in how many of the profiled steps the others waited for it most."""
    [section] = [section for section in run.sections if section.name == "stragglers"]
    table = section.tables["stragglers"]
    return dict(zip(table["rank"], table["times_last"], strict=True))


def analyzed(folder: Path) -> RunReport:
    """The only run there, with what holds of every job here."""
    [run] = analyze([folder], options=Options(engine="serial")).runs
    assert (run.info.world_size, run.ranks_read) == (RANKS, (0, 1))
    assert (run.info.framework, run.info.device, run.info.strategy) == ("tensorflow", "cpu", "multi_worker_mirrored")
    assert (run.info.parameters, run.info.local_batch, run.info.global_batch) == (
        GRADIENT_BYTES // 4,
        SAMPLES,
        RANKS * SAMPLES,
    )
    assert PROFILED - 2 <= value(run, "step.count") < STEPS, (
        "the first one compiles, and others may be left out as warming up"
    )
    assert value(run, "collectives.bytes") == pytest.approx(GRADIENT_BYTES, rel=0.1)
    assert value(run, "collectives.matched_share") > 0.95
    assert value(run, "step.time_ms") > 1e3 * LATE_S
    # One of two ranks waits as long as the other one sleeps; on a busy machine both wait for other reasons, too.
    expected = 1e3 * LATE_S / value(run, "step.time_ms") / RANKS
    assert value(run, "time.exposed_wait_share") > 0.7 * expected
    times_last = last(run)
    assert max(times_last, key=lambda rank: times_last[rank]) == LATE_RANK
    assert times_last[LATE_RANK] > PROFILED / 2
    return run


def test_a_loop_of_ones_own_is_recorded_and_its_late_rank_found(tmp_path: Path) -> None:
    run_job("custom_loop", tmp_path)
    run = analyzed(tmp_path)
    assert value(run, "collectives.count") == pytest.approx(1, abs=0.1)
    [recorded] = find_runs([tmp_path])
    for files in recorded.ranks.values():
        assert files.folder is not None
        assert [path.name for path in files.traces] == [f"trace-{FIRST:06d}-{FIRST + PROFILED - 1:06d}.full.xplane.pb"]
        info = read_rank_info(files.folder / "rank.json")
        assert (info.warnings, info.finished, info.details["gradient_bytes"]) == ((), True, [GRADIENT_BYTES])
        assert info.versions["tensorflow"]
        assert socket.gethostname() not in (files.folder / "rank.json").read_text()
        trace = read_rank(files)
        assert trace.steps.index.tolist() == list(range(STEPS))
        assert trace.steps.profiled.tolist() == [FIRST <= step < FIRST + PROFILED for step in range(STEPS)]
        assert set(trace.comm.bytes.tolist()) == {GRADIENT_BYTES}
        assert not list(files.folder.glob(".*"))


def test_legacy_keras_is_recorded_by_a_callback(tmp_path: Path) -> None:
    run_job("fit", tmp_path, legacy=True)
    run = analyzed(tmp_path)
    assert value(run, "collectives.count") >= 3, "the gradients, the loss and its count, at least"


@pytest.mark.parametrize("legacy", [False, True], ids=["keras-3", "tf-keras"])
def test_both_keras_take_the_callback(tmp_path: Path, legacy: bool) -> None:
    run_job("single", tmp_path, legacy=legacy, ranks=1)
    [recorded] = find_runs([tmp_path])
    trace = read_rank(recorded.ranks[0])
    # 64 samples in batches of 8, two batches at once, two epochs: 8 steps of 16 samples; evaluations are part of none.
    assert len(trace.steps) == 8
    assert set(trace.steps.samples.tolist()) == {16.0}
    assert trace.steps.profiled.tolist() == [False, True, True, *[False] * 5]
    assert trace.info.details["steps_per_execution"] == 2
    assert trace.info.model is not None
    assert trace.info.warnings == ()


def test_a_training_that_fails_passes_its_error_through(tmp_path: Path) -> None:
    script = (
        "import scaleprof.tensorflow as st\n"
        f"with st.session({str(tmp_path)!r}, windows=st.Windows(skip=1, steps=5)) as recording:\n"
        "    for step in range(4):\n"
        "        with recording.step(samples=3):\n"
        "            if step == 2: raise KeyError('mine')\n"
    )
    settings = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=settings, check=False)
    assert "KeyError: 'mine'" in done.stderr
    [recorded] = find_runs([tmp_path])
    info = read_rank(recorded.ranks[0]).info
    assert (info.exception, info.finished) == ("KeyError: 'mine'", True)


def test_the_script_of_the_docs_runs_as_printed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(snippet("scaleprof.tensorflow.session("))
    with free_ports(1) as [port]:
        config = {"cluster": {"worker": [f"localhost:{port}"]}, "task": {"type": "worker", "index": 0}}
    settings = {**os.environ, "TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    [run] = find_runs([tmp_path / "traces"])
    trace = read_rank(run.ranks[0])
    assert (len(trace.steps), int(trace.steps.profiled.sum())) == (20, 10)
    assert run.info.local_batch == 64
