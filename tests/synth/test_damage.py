"""What is missing from the files is what the truth says is missing, and no more."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof.pipeline import Options, analyze
from scaleprof.readers import read_rank
from scaleprof.synth.damage import cut_off
from scaleprof.synth.spec import Spec, load_spec
from scaleprof.trace import Trace
from tests.synth.truths import rows_of_truth, written

BOTH = pytest.mark.parametrize("foreign", [False, True], ids=["recorded", "foreign"])


def job(**changed: Any) -> Spec:
    fields: dict[str, Any] = {"ranks": 4, "steps": 4, "kernels_per_layer": 1, "dialect": "oneline2026", **changed}
    return Spec(**fields)


@BOTH
@pytest.mark.parametrize("what", ["kernels", "all"])
def test_dropped_kernels_are_those_that_the_truth_names(what: str, foreign: bool, tmp_path: Path) -> None:
    run, truth = written(job(drop=0.2, drop_what=what, pipeline=2, micro_batches=3), tmp_path, foreign=foreign)
    rows = rows_of_truth(truth, "collectives")
    dropped = {(row["rank"], row["collective"]) for row in rows if row["dropped"]}
    told = rows_of_truth(truth, "damage")
    assert dropped == {(row["rank"], row["collective"]) for row in told}
    assert {row["kind"] for row in told} == {what}
    assert 0.1 < len(dropped) / len(rows) < 0.3
    for rank, files in run.ranks.items():
        left = [row for row in rows if row["rank"] == rank and not row["dropped"]]
        trace = read_rank(files)
        assert [row["op"] for row in left] == list(trace.comm.op)
        assert [row["seq"] for row in left] == trace.comm.seq.tolist()
        assert [row["end_ns"] - row["arrival_ns"] for row in left] == trace.events.dur_ns[trace.comm.row].tolist()
        params = sum(text == "record_param_comms" for text in np.array(trace.names.text)[trace.events.name])
        assert params == (len(left) if what == "all" else sum(row["rank"] == rank for row in rows))


def without(word: str, tmp_path: Path) -> Trace:
    run, truth = written(job(lose=(word,)), tmp_path)
    assert rows_of_truth(truth, "damage") == [{"rank": -1, "step": -1, "collective": -1, "kind": f"lost {word}"}]
    trace = read_rank(run.ranks[1])
    assert set(trace.comm.op) == {"all_reduce"}, "the kernel's name still says it"
    return trace


def test_files_may_lack_what_says_which_operation_it_is(tmp_path: Path) -> None:
    trace = without("seq", tmp_path / "seq")
    assert set(trace.comm.seq) == {-1} and set(trace.comm.group) == {"0"}
    trace = without("group", tmp_path / "group")
    assert set(trace.comm.group) == {""} and set(trace.comm.seq) != {-1}
    trace = without("sizes", tmp_path / "sizes")
    assert set(trace.comm.bytes) == {-1} and set(trace.comm.group) == {"0"}
    trace = without("params", tmp_path / "params")
    assert set(trace.comm.seq) == {-1} and set(trace.comm.group) == {""}
    trace = without("ranks", tmp_path / "ranks")
    assert trace.info.process_groups == () and set(trace.comm.group) == {"0"}


@BOTH
@pytest.mark.parametrize("gz", [False, True])
def test_a_cut_file_ends_in_the_middle_of_an_event(gz: bool, foreign: bool, tmp_path: Path) -> None:
    run, truth = written(job(cut_ranks=(1,), cut_share=0.5, gz=gz), tmp_path, foreign=foreign)
    assert rows_of_truth(truth, "damage") == [{"rank": 1, "step": -1, "collective": -1, "kind": "cut"}]
    (cut,), (whole,) = run.ranks[1].traces, run.ranks[2].traces
    assert cut.stat().st_size == pytest.approx(whole.stat().st_size / 2, rel=0.02)
    if not gz:
        assert cut.read_bytes()[-1:] not in b" \n,}]"
    assert any("cut off" in caveat for caveat in read_rank(run.ranks[1]).caveats)
    assert not any("cut off" in caveat for caveat in read_rank(run.ranks[2]).caveats)


@pytest.mark.parametrize(
    ("share", "left"),
    [
        (0.3, '[{"name": 1'),
        (0.5, '[{"name": 1},\n  {"name"'),
        (0.7, '[{"name": 1},\n  {"name": 2'),
        (0.999, '[{"name": 1},\n  {"name": 2'),
    ],
)
def test_what_stands_between_events_is_cut_away(share: float, left: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text('[{"name": 1},\n  {"name": 2}' + " " * 20)
    cut_off(path, share)
    assert path.read_text() == left


@BOTH
def test_a_profiler_that_begins_later_holds_the_later_steps(foreign: bool, tmp_path: Path) -> None:
    run, truth = written(job(late_ranks=(2,), late_start_steps=2), tmp_path, foreign=foreign)
    told = rows_of_truth(truth, "damage")
    assert [(row["rank"], row["step"], row["kind"]) for row in told] == [(2, 0, "step"), (2, 1, "step")]
    for rank, first in ((1, 1), (2, 3)):
        steps = read_rank(run.ranks[rank]).steps
        assert steps.index[steps.profiled].tolist() == list(range(first, 5))


@BOTH
def test_missing_ranks_have_no_files(foreign: bool, tmp_path: Path) -> None:
    run, truth = written(job(missing_ranks=(0, 2)), tmp_path, foreign=foreign)
    assert list(run.ranks) == [1, 3]
    assert [row["rank"] for row in rows_of_truth(truth, "damage")] == [0, 2]


@BOTH
def test_a_damaged_job_can_be_analyzed(foreign: bool, tmp_path: Path) -> None:
    run, truth = written(load_spec("damaged", [("steps", "6"), ("kernels_per_layer", "1")]), tmp_path, foreign=foreign)
    assert list(run.ranks) == [0, 1, 2, 3, 4, 5, 6]
    kinds = Counter(row["kind"] for row in rows_of_truth(truth, "damage"))
    assert kinds.pop("kernels") > 0
    assert kinds == {"lost seq": 1, "cut": 1, "missing": 1, "step": 2}
    (found,) = analyze([tmp_path], options=Options(engine="serial")).runs
    assert found.metric("step.time_ms") is not None
