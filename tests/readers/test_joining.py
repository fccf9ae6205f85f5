"""Which timeline belongs to which profiled ranks."""

from pathlib import Path

import pytest

from scaleprof.errors import NothingToRead
from scaleprof.readers import find_runs
from tests.readers.making import write_bytes
from tests.readers.making_timelines import STEPS, profiles, timeline


def test_a_timeline_of_another_time_stays_alone(tmp_path: Path) -> None:
    profiles(tmp_path, later_us=60_000_000)
    timeline(tmp_path / "t.json", *STEPS)
    assert sorted(run.info.name for run in find_runs([tmp_path])) == ["t", tmp_path.name + "-1"]


def test_of_two_timelines_that_may_be_meant_none_is_taken(tmp_path: Path) -> None:
    profiles(tmp_path / "ranks")
    for name in ("a.json", "b.json"):
        timeline(tmp_path / name, *STEPS)
    assert sorted(run.info.name for run in find_runs([tmp_path])) == ["a", "b", "ranks"]
    (run,) = [
        run
        for run in find_runs(
            [],
            [
                ("job", f"{tmp_path}/ranks/*.json"),
            ],
        )
        if run.info.name == "job"
    ]
    assert run.ranks[0].timeline is None


def test_the_user_may_say_which_timeline_belongs_to_which_ranks(tmp_path: Path) -> None:
    profiles(tmp_path, later_us=60_000_000)
    timeline(tmp_path / "t.json", *STEPS)
    (run,) = find_runs([], [("job", f"{tmp_path}/*.json")])
    assert [files.timeline and files.timeline.name for files in run.ranks.values()] == ["t.json", "t.json"]


def test_an_empty_timeline_is_no_trace(tmp_path: Path) -> None:
    write_bytes(tmp_path / "t.json", b"")
    with pytest.raises(NothingToRead, match="is empty"):
        find_runs([tmp_path])


def test_real_timelines_find_the_profiles_of_their_time(foreign_traces: Path) -> None:
    runs = {run.info.name: run for run in find_runs([foreign_traces / "horovod"])}
    joined = {name: run.ranks[0].timeline.name for name, run in runs.items() if run.ranks[0].timeline}
    assert joined == {"np2_torchprof": "np2_fp32_torchprof.json", "tf_fp32": "horovod_timeline.json"}
    assert runs["np4_slow2_nocache"].ranks.keys() == {0, 1, 2, 3}, "each rank that is always heard"
