"""The Trace that a job makes of itself is the one that reading its files gives, and so are all facts."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaleprof.cache import brought
from scaleprof.errors import OptionError
from scaleprof.pipeline import RankFacts, facts_of_rank, write_facts_of
from scaleprof.readers import find_runs, read_rank
from scaleprof.synth.spec import Spec, load_spec
from scaleprof.synth.timeline import simulate
from scaleprof.synth.traces import check_can_be_traced, trace_of
from scaleprof.synth.writing import write_job
from tests.test_cache import equal

SMALL = [("steps", "4"), ("exit_us", "2"), ("jitter", "0.02")]
JOBS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "ddp": ("ddp", []),
    "fsdp": ("fsdp", [("dialect", "oneline2026")]),
    "tp with a pause": ("tp", []),
    "pipeline": ("pipeline", [("dialect", "orjson")]),
    "mesh with stacks": ("mesh", [("stack_events", "12")]),
    "communication only": ("mesh", [("communication_only", "true")]),
    "dropped kernels": ("ddp", [("drop", "0.1")]),
    "dropped and late": ("ddp", [("drop", "0.1"), ("drop_what", "all"), ("late_ranks", "1")]),
}


def same(a: Any, b: Any) -> bool:
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(a))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, tuple) and a and isinstance(a[0], np.ndarray):
        return len(a) == len(b) and all(map(np.array_equal, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("job", JOBS)
def test_both_ways_say_the_same_of_every_rank(job: str, tmp_path: Path) -> None:
    name, settings = JOBS[job]
    spec = load_spec(name, [*SMALL, *settings])
    write_job(spec, tmp_path / "text")
    write_job(spec, tmp_path / "facts", measure=write_facts_of)
    [text], [facts] = find_runs([tmp_path / "text"]), find_runs([tmp_path / "facts"])
    timeline = simulate(spec)
    assert list(facts.ranks) == list(text.ranks) == list(range(spec.ranks))
    for rank, files in text.ranks.items():
        read, made = read_rank(files), trace_of(timeline, rank)
        for field in dataclasses.fields(read):
            if field.name != "waits":
                assert same(getattr(read, field.name), getattr(made, field.name)), (rank, field.name)
        measured, stored = facts_of_rank(files), brought(facts.ranks[rank])
        assert isinstance(measured, RankFacts) and stored is not None
        assert (stored.info, stored.caveats) == (measured.info, measured.caveats)
        assert list(stored.tables) == list(measured.tables)
        assert all(equal(stored.tables[fact], table) for fact, table in measured.tables.items())


def test_a_job_of_facts_holds_no_trace_and_tells_its_truth(tmp_path: Path) -> None:
    folder = write_job(load_spec("ddp", SMALL), tmp_path, measure=write_facts_of)
    assert sorted(path.name for path in (folder / "rank-00000").iterdir()) == ["facts.bin", "rank.json"]
    assert '"steps"' in (folder / "truth.json").read_text()


@pytest.mark.parametrize(
    "fields", [{"task_ms": (3.0,)}, {"cut_ranks": (1,)}, {"lose": ("seq",)}, {"dialect": "old2022"}]
)
def test_what_only_files_can_be_is_refused(fields: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="as traces only"):
        check_can_be_traced(Spec(**fields))
    with pytest.raises(OptionError, match="exclude one another"):
        write_job(Spec(), tmp_path, foreign=True, measure=write_facts_of)
