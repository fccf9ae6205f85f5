"""Which foreign files are one run."""

from pathlib import Path
from typing import Any

from scaleprof.readers.base import FileFacts
from scaleprof.readers.finding.grouping import Found, grouped, missing_ranks
from scaleprof.run import ProcessGroup, Run

WORLD = ProcessGroup("0", (0, 1, 2, 3))


def file(name: str, rank: int | None, **facts: Any) -> Found:
    return Found("kineto", FileFacts(Path("/traces") / name, rank, **facts))


def runs_of(*found: Found) -> list[tuple[str, dict[int, list[str]]]]:
    return [(run.info.name, names(run)) for run in grouped(found)]


def names(run: Run) -> dict[int, list[str]]:
    return {rank: [path.name for path in files.traces] for rank, files in run.ranks.items()}


def test_ranks_of_one_world_are_one_run() -> None:
    found = [file(f"job/r{rank}.json", rank, world_size=2) for rank in (1, 0)]
    assert runs_of(*found) == [("job", {0: ["r0.json"], 1: ["r1.json"]})]


def test_other_worlds_and_folders_are_other_runs() -> None:
    found = [
        file("job/a.json", 0, world_size=1),
        file("job/b.json", 0, world_size=2),
        file("x/c.json", 1, world_size=2),
    ]
    assert runs_of(*found) == [("a", {0: ["a.json"]}), ("b", {0: ["b.json"]}), ("x", {1: ["c.json"]})]


def test_ranks_that_are_in_different_small_groups_still_belong_together() -> None:
    first = file("job/a.json", 0, world_size=4, process_groups=(WORLD, ProcessGroup("1", (0, 1))))
    other = file("job/b.json", 2, world_size=4, process_groups=(WORLD, ProcessGroup("2", (2, 3))))
    assert len(grouped([first, other])) == 1
    stranger = file("job/c.json", 1, world_size=4, process_groups=(ProcessGroup("0", (0, 1)),))
    assert len(grouped([first, other, stranger])) == 2


def test_the_same_process_at_other_times_adds_a_window() -> None:
    facts: dict[str, Any] = {"world_size": 1, "host": "a", "pid": 7}
    late, early = file("job/a.json", 0, span_us=(50, 60), **facts), file("job/b.json", 0, span_us=(10, 20), **facts)
    assert runs_of(late, early) == [("job", {0: ["b.json", "a.json"]})]


def test_the_same_rank_is_another_run_unless_it_is_surely_the_same_process() -> None:
    same: dict[str, Any] = {"world_size": 1, "host": "a", "pid": 7, "span_us": (10, 20)}
    for other in (
        {"pid": 8, "span_us": (30, 40)},
        {"host": "b", "span_us": (30, 40)},
        {"host": None, "span_us": (30, 40)},
        {"span_us": (15, 40)},
        {"span_us": None},
    ):
        assert len(grouped([file("job/a.json", 0, **same), file("job/b.json", 0, **{**same, **other})])) == 2, other


def test_two_jobs_in_one_folder_come_apart_by_time() -> None:
    found = [
        file(f"job/{when}-{rank}.json", rank, world_size=2, pid=100 * when + rank, host="a", span_us=(1000 * when + rank, 1000 * when + 50))
        for rank in (0, 1)
        for when in (2, 1)
    ]  # fmt: skip
    assert runs_of(*found) == [
        ("job-1", {0: ["1-0.json"], 1: ["1-1.json"]}),
        ("job-2", {0: ["2-0.json"], 1: ["2-1.json"]}),
    ]


def test_files_without_a_rank_stand_alone() -> None:
    assert runs_of(file("job/bert.json.gz", None), file("job/qwen.pt.trace.json", None)) == [
        ("bert", {0: ["bert.json.gz"]}),
        ("qwen", {0: ["qwen.pt.trace.json"]}),
    ]


def test_a_run_knows_its_nodes_only_where_every_host_is_known() -> None:
    known = [file(f"job/{rank}.json", rank, world_size=3, host=host) for rank, host in enumerate("aab")]
    assert grouped(known)[0].info.nodes == 2
    assert grouped([known[0], file("job/1.json", 1, world_size=3)])[0].info.nodes is None


def test_missing_ranks_are_named() -> None:
    assert missing_ranks([0, 1], 2) == ()
    assert missing_ranks([1], 2) == ("rank 0 of 2 is missing: what compares all ranks is incomplete",)
    assert "ranks 1, 2, 3, 4, 5, 6, 7, 8, ... of 20 are missing (19 in all)" in missing_ranks([0], 20)[0]
