"""Facts that were put on disk are the same facts, and a report does not tell where they were."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from scaleprof import analyze
from scaleprof.align import RankFacts, meetings, scattered, shelf
from scaleprof.align.shelf import Shelf, StoredTables
from scaleprof.columns import StoredTable
from scaleprof.pipeline import Options, facts_of_rank
from scaleprof.readers import find_runs
from scaleprof.run import RankInfo
from tests.test_cache import equal

SAMPLES = Path(__file__).parents[2] / "sample_traces"
STUDY = [next(SAMPLES.glob(pattern)) for pattern in ("emulated-ddp-n4-*", "emulated-pp-1f1b-n4-*", "horovod-late-*")]


def facts(folder: Path, rank: int) -> RankFacts:
    [run] = find_runs([folder])
    found = facts_of_rank(run.ranks[rank])
    assert isinstance(found, RankFacts)
    return found


def test_what_does_not_fit_in_memory_is_the_same_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "SMALL_ROWS", 10)
    of_rank = facts(STUDY[0], 1)
    kept = Shelf(most_bytes=0).put(of_rank)
    assert isinstance(kept.tables, StoredTables) and list(kept.tables) == list(of_rank.tables)
    assert all(equal(kept.tables[name], table) for name, table in of_rank.tables.items())
    large, small = kept.tables["collectives"], kept.tables["flops"]
    assert isinstance(large, StoredTable) and large is not kept.tables["collectives"], "nothing keeps it but who asked"
    assert small is kept.tables["flops"]


def test_the_first_ranks_stay_where_they_are() -> None:
    of_rank = facts(STUDY[0], 0)
    on_shelf = Shelf()
    assert on_shelf.put(of_rank).tables is of_rank.tables


def test_ranks_of_one_group_share_its_list() -> None:
    """All ranks of a job of 4,096 name 4,096 others."""
    on_shelf = Shelf()
    ranks = [facts(STUDY[0], rank) for rank in (0, 1)]
    one, other = (on_shelf.put(of_rank).info.process_groups for of_rank in ranks)
    assert one and one[0] is other[0] and one == ranks[0].info.process_groups


def test_where_the_disk_is_full_facts_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path | None) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shelf, "Spill", full)
    of_rank = RankFacts(RankInfo(rank=0, world_size=1), dict(facts(STUDY[0], 0).tables))
    assert Shelf(most_bytes=0).put(of_rank).tables is of_rank.tables


@pytest.mark.parametrize("folder", STUDY, ids=["ddp", "pipeline", "horovod"])
def test_a_report_does_not_tell_where_its_facts_were(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(engine="serial", use_cache=False)

    def said() -> str:
        report = dataclasses.replace(analyze([folder], options=options), made_with={})
        return json.dumps(report.to_dict(), sort_keys=True)

    in_memory = said()
    monkeypatch.setattr(shelf, "MOST_BYTES_IN_MEMORY", 0)
    monkeypatch.setattr(shelf, "SMALL_ROWS", 0)
    monkeypatch.setattr(scattered, "MOST_IN_MEMORY", 0)
    assert said() == in_memory
    # Several operations at a time, which judge no clocks: those are chosen from all.
    blocks = meetings.Book.blocks
    monkeypatch.setattr(meetings.Book, "blocks", lambda book: blocks(book, 7))
    assert said() == in_memory


def test_numbers_on_disk_are_unknown_where_none_was_put() -> None:
    from scaleprof.align.matching import Group, Matches
    from scaleprof.align.meetings import Book
    from tests.tables import operations

    tables = {rank: operations({"start_ns": 10}, {"start_ns": 20}, {"start_ns": 30}) for rank in (3, 5)}
    matches = Matches({rank: np.array([-1, 1, 0], dtype=np.int32) for rank in tables})
    matches.add(Group("0", (3, 5), True), 2, numbered=True)
    for most in (0, 1 << 20):
        column = scattered.PerRank(tables, most_in_memory=most)
        column.put(Book(matches, tables).sample, np.array([7, 8, 70, 80]))
        assert {rank: column[rank].tolist() for rank in column} == {3: [-1, 70, 7], 5: [-1, 80, 8]}
