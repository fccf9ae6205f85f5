"""What was measured before is found again, as it was, and only for the very same files and code."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from scaleprof import analyze, cache
from scaleprof.cache import brought, keep, recall, write_facts
from scaleprof.errors import InputError
from scaleprof.pipeline import Options, RankFacts, facts_of_rank
from scaleprof.readers import find_runs
from scaleprof.results import Table
from scaleprof.run import FACTS_FILE, RankFiles

SAMPLES = Path(__file__).parent.parent / "sample_traces"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCALEPROF_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(cache, "FEWEST_BYTES", 0)
    monkeypatch.setattr(cache, "_SETTLED_NS", -(10**18))
    return tmp_path / "kept"


@pytest.fixture
def rank(tmp_path: Path) -> RankFiles:
    """A rank of the samples, in a folder that a test may change."""
    source = next(SAMPLES.glob("*weak-n2*"))
    for path in source.rglob("*"):
        if path.is_file():
            target = tmp_path / "run" / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    [run] = find_runs([tmp_path / "run"])
    return run.ranks[1]


def equal(a: Table, b: Table) -> bool:
    return list(a.columns) == list(b.columns) and all(
        type(a[name]) is type(b[name])
        and (
            a[name] == b[name]
            if isinstance(a[name], list)
            else a[name].dtype == b[name].dtype
            and np.array_equal(a[name], b[name], equal_nan=a[name].dtype.kind == "f")
        )
        for name in a.columns
    )


def test_facts_come_back_as_they_were(folder: Path, rank: RankFiles) -> None:
    assert recall(rank) is None
    facts = facts_of_rank(rank)
    assert not isinstance(facts, str)
    keep(rank, facts)
    found = recall(rank)
    assert found is not None
    assert (found.info, found.caveats) == (facts.info, facts.caveats)
    assert list(found.tables) == list(facts.tables)
    assert all(equal(found.tables[name], facts.tables[name]) for name in facts.tables)


@pytest.mark.parametrize("what", ["size", "time", "another file", "code", "rank"])
def test_anything_that_changes_makes_it_a_new_rank(
    folder: Path, rank: RankFiles, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = facts_of_rank(rank)
    assert not isinstance(facts, str) and rank.folder is not None
    keep(rank, facts)
    trace = rank.traces[0]
    if what == "size":
        times = trace.stat()
        trace.write_bytes(trace.read_bytes() + b"\0")
        os.utime(trace, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif what == "time":
        os.utime(trace, ns=(1, 1))
    elif what == "another file":
        (rank.folder / "trace-000099-000100.full.json.gz").write_bytes(b"")
    elif what == "code":
        monkeypatch.setattr(cache, "_code", lambda: "another version")
    else:
        rank = RankFiles(rank.rank + 1, rank.reader, rank.traces, rank.folder)
    assert recall(rank) is None


def test_a_file_that_changed_just_now_is_not_trusted(
    folder: Path, rank: RankFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = facts_of_rank(rank)
    assert not isinstance(facts, str)
    monkeypatch.setattr(cache, "_SETTLED_NS", 10**18)
    keep(rank, facts)
    assert not folder.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", None])
def test_a_damaged_entry_is_measured_again(folder: Path, rank: RankFiles, content: bytes | None) -> None:
    facts = facts_of_rank(rank)
    assert not isinstance(facts, str)
    keep(rank, facts)
    [entry] = folder.iterdir()
    entry.write_bytes(entry.read_bytes()[:-200] if content is None else content)
    assert recall(rank) is None


def test_a_place_that_cannot_be_written_is_never_in_the_way(
    tmp_path: Path, rank: RankFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCALEPROF_CACHE", str(tmp_path / "file" / "kept"))
    facts = facts_of_rank(rank)
    assert not isinstance(facts, str)
    keep(rank, facts)
    assert recall(rank) is None


def test_only_the_entries_used_last_are_kept(folder: Path, rank: RankFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_ENTRIES", 4)
    facts = facts_of_rank(rank)
    assert not isinstance(facts, str)
    ranks = [RankFiles(number, rank.reader, rank.traces, rank.folder) for number in range(5)]
    for one in ranks[:4]:
        keep(one, facts)
    assert recall(ranks[0]) is not None, "used again, and so not the oldest"
    keep(ranks[4], facts)
    assert [recall(one) is not None for one in ranks] == [True, False, False, True, True]


def read_again(files: RankFiles, communication: tuple[str, ...]) -> str:
    return f"rank {files.rank} was read again"


def test_facts_with_other_patterns_of_communication_are_other_facts(folder: Path, rank: RankFiles) -> None:
    facts = facts_of_rank(rank, ("my_exchange",))
    assert not isinstance(facts, str)
    keep(rank, facts, ("my_exchange",))
    assert recall(rank, ("my_exchange",)) is not None
    assert recall(rank) is None and recall(rank, ("my_exchange", "x")) is None


def test_a_second_analysis_reads_no_trace_and_says_the_same(
    folder: Path, rank: RankFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rank.folder is not None
    run = rank.folder.parent
    analyze([run]).save(tmp_path / "first.json")
    monkeypatch.setattr("scaleprof.pipeline.facts.facts_of_rank", read_again)
    analyze([run]).save(tmp_path / "second.json")
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("first.json", "second.json"))
    assert first["runs"] == second["runs"]
    with pytest.raises(InputError, match="was read again"):
        analyze([run], options=Options(use_cache=False))
    with pytest.raises(InputError, match="was read again"):
        analyze([run], options=Options(communication=("my_exchange",)))


@pytest.fixture
def bringing(tmp_path: Path, rank: RankFiles) -> RankFiles:
    """A rank whose folder holds its facts in place of traces."""
    facts = facts_of_rank(rank)
    assert isinstance(facts, RankFacts)
    folder = tmp_path / "brought" / "rank-00001"
    folder.mkdir(parents=True)
    write_facts(folder / FACTS_FILE, facts)
    return RankFiles(rank.rank, "recorded", (), folder)


def test_facts_that_were_brought_are_taken_for_what_they_are(
    folder: Path, rank: RankFiles, bringing: RankFiles
) -> None:
    measured, found = facts_of_rank(rank), facts_of_rank(bringing)
    assert isinstance(measured, RankFacts) and isinstance(found, RankFacts)
    assert (found.info, found.caveats) == (measured.info, measured.caveats)
    assert all(equal(found.tables[name], table) for name, table in measured.tables.items())
    keep(bringing, found)
    assert not folder.exists(), "they lie there already"
    assert brought(rank) is None


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("version", "another version"),
        ("cut", "less or more"),
        ("empty", "no facts"),
        ("rank", "rank 1"),
        ("text", "cannot be"),
    ],
)
def test_brought_facts_that_cannot_be_used_cost_their_rank_and_say_why(
    bringing: RankFiles, what: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bringing.folder is not None
    path = bringing.folder / FACTS_FILE
    content = path.read_bytes()
    if what == "version":
        monkeypatch.setattr(cache, "__version__", "99.0")
    elif what == "rank":
        bringing = RankFiles(3, "recorded", (), bringing.folder)
    else:
        path.write_bytes(
            {"cut": content[:-8], "empty": b"", "text": content.replace(b'"rows": ', b'"rows":-', 1)}[what]
        )
    reason = facts_of_rank(bringing)
    assert isinstance(reason, str) and said in reason and FACTS_FILE in reason
