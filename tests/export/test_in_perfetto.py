"""What Perfetto itself makes of an export: it loads without a fault, nothing is lost, and every time, arrow and counter is as it was written."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from scaleprof.pipeline import Options, export
from tests.export.checks import checked
from tests.export.perfetto_engine import NEEDS_PERFETTO, Engine, Loaded, perfetto

pytestmark = [*NEEDS_PERFETTO, pytest.mark.long]
SAMPLES = Path(__file__).parents[2] / "sample_traces"
TRIED = (
    "emulated-ddp-n2-", "emulated-fsdp2-tp-n4-", "emulated-pp-1f1b-n4-", "gpu-plain-n1-", "horovod-late-n4-", "nccl-late-timeline-n2-",
    "tensorflow-mwms-n2-",
)  # fmt: skip
SERIAL = Options(engine="serial", use_cache=False)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with perfetto() as running:
        yield running


def written(name: str, path: Path) -> Path:
    [sample] = SAMPLES.glob(f"{name}*")
    [one] = export([sample], path, options=SERIAL)
    return one.path


def arrows_in(loaded: Loaded) -> list[tuple[str, int, str, int]]:
    """Name and start of the slices on both ends of all."""
    from_to = "join slice a on f.slice_out = a.id join slice b on f.slice_in = b.id"
    return sorted(loaded.query(f"select a.name as name, a.ts as ts, b.name as of, b.ts as at from flow f {from_to}"))


def slices_in(loaded: Loaded) -> list[tuple[str, str, int, int]]:
    """Rank, name, start and end of all."""
    return sorted(
        loaded.query(
            "select p.name as rank, s.name as name, s.ts as start, s.ts + s.dur as end from slice s join thread_track t on s.track_id = t.id "
            "join thread using (utid) join process p using (upid)"
        )
    )


@pytest.mark.parametrize("name", TRIED)
def test_it_loads_a_merged_trace_as_it_was_written(name: str, engine: Engine, tmp_path: Path) -> None:
    path = written(name, tmp_path / "x.json.gz")
    file = checked(path)
    with engine.loaded(path) as loaded:
        assert loaded.faults() == []
        assert slices_in(loaded) == sorted((f"rank {one.rank}", one.name, one.start, one.end) for one in file.slices)
        assert arrows_in(loaded) == sorted(
            (a.name, a.start, b.name, b.start) for chain in file.chains.values() for a, b in pairwise(chain)
        )
        [(points,)] = loaded.query("select count(*) as points from counter")
        assert points == sum(map(len, file.counters.values()))
        depths = dict(
            loaded.query("select name, min(depth) as depth from slice where name in ('wait', 'transfer') group by name")
        )
        assert all(depth > 0 for depth in depths.values()), "the parts of an operation lie inside it"


@pytest.mark.parametrize("name", ["emulated-pp-1f1b-n4-", "nccl-late-timeline-n2-"])
def test_both_formats_say_the_same(name: str, engine: Engine, tmp_path: Path) -> None:
    slices = "select name, ts, dur, depth from slice order by ts, dur, name, depth"
    counters = "select ts, value from counter order by ts, value"
    found = []
    for ending in ("json", "pftrace"):
        with engine.loaded(written(name, tmp_path / f"x.{ending}")) as loaded:
            assert loaded.faults() == []
            points = [(ts, pytest.approx(value, rel=1e-8)) for ts, value in loaded.query(counters)]
            found.append((loaded.query(slices), arrows_in(loaded), points))
    assert found[0][0] == found[1][0] and found[0][1] == found[1][1]
    assert [ts for ts, _ in found[0][2]] == [ts for ts, _ in found[1][2]]


def test_it_does_find_fault_with_slices_that_overlap(engine: Engine, tmp_path: Path) -> None:
    """Without that, the other tests would say nothing."""
    path = tmp_path / "x.json"
    lines = [
        f'{{"ph":"X","pid":1,"tid":2,"ts":{start},"dur":{dur},"name":"x","cat":"y"}}'
        for start, dur in ((0, 10), (5, 10))
    ]
    path.write_text('{"traceEvents":[' + ",".join(lines) + "]}")
    with engine.loaded(path) as loaded:
        assert loaded.faults() == [("slice_drop_overlapping_complete_event", 1)]
