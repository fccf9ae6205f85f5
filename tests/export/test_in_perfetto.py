"""What Perfetto itself makes of an export: it loads without a fault, nothing is lost, and every time, arrow and counter is as it was written."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from scaleprof.export.chrome import ChromeWriter
from scaleprof.export.pftrace import PerfettoWriter
from scaleprof.export.tracks import Track
from scaleprof.pipeline import Options, export
from tests.export.checks import checked
from tests.export.making_shards import ABOUT, RANK, SHARD
from tests.export.perfetto_engine import NEEDS_PERFETTO, Loaded, loaded

pytestmark = [*NEEDS_PERFETTO, pytest.mark.long]
SAMPLES = Path(__file__).parents[2] / "sample_traces"
TRIED = (
    "emulated-ddp-n2-", "emulated-fsdp2-tp-n4-", "emulated-pp-1f1b-n4-", "gpu-plain-n1-", "horovod-late-n4-", "nccl-late-timeline-n2-",
    "tensorflow-mwms-n2-",
)  # fmt: skip
SLICES = "select name, ts, dur, depth from slice order by ts, dur, name, depth"
SERIAL = Options(engine="serial", use_cache=False)


def written(name: str, path: Path) -> Path:
    [sample] = SAMPLES.glob(f"{name}*")
    [one] = export([sample], path, options=SERIAL)
    return one.path


def arrows_in(file: Loaded) -> list[tuple[str, int, str, int]]:
    """Name and start of the slices on both ends of all."""
    from_to = "join slice a on f.slice_out = a.id join slice b on f.slice_in = b.id"
    return sorted(file.query(f"select a.name as name, a.ts as ts, b.name as of, b.ts as at from flow f {from_to}"))


def slices_in(file: Loaded) -> list[tuple[str, str, int, int]]:
    """Rank, name, start and end of all."""
    return sorted(
        file.query(
            "select p.name as rank, s.name as name, s.ts as start, s.ts + s.dur as end from slice s join thread_track t on s.track_id = t.id "
            "join thread using (utid) join process p using (upid)"
        )
    )


@pytest.mark.parametrize("name", TRIED)
def test_it_loads_a_merged_trace_as_it_was_written(name: str, tmp_path: Path) -> None:
    path = written(name, tmp_path / "x.json.gz")
    file = checked(path)
    with loaded(path) as found:
        assert found.faults() == []
        assert slices_in(found) == sorted((f"rank {one.rank}", one.name, one.start, one.end) for one in file.slices)
        assert arrows_in(found) == sorted(
            (a.name, a.start, b.name, b.start) for chain in file.chains.values() for a, b in pairwise(chain)
        )
        [(points,)] = found.query("select count(*) as points from counter")
        assert points == sum(map(len, file.counters.values()))
        depths = dict(
            found.query("select name, min(depth) as depth from slice where name in ('wait', 'transfer') group by name")
        )
        assert all(depth > 0 for depth in depths.values()), "the parts of an operation lie inside it"


@pytest.mark.parametrize("name", ["emulated-pp-1f1b-n4-", "nccl-late-timeline-n2-"])
def test_both_formats_say_the_same(name: str, tmp_path: Path) -> None:
    counters = "select ts, value from counter order by ts, value"
    found = []
    for ending in ("json", "pftrace"):
        with loaded(written(name, tmp_path / f"x.{ending}")) as trace:
            assert trace.faults() == []
            found.append((trace.query(SLICES), arrows_in(trace), *zip(*trace.query(counters), strict=True)))
    (*first, values), (*second, others) = found
    assert first == second
    assert values == pytest.approx(others, rel=1e-8), "nine digits of a value are written"


def test_both_formats_put_what_has_no_length_into_the_same_slices(tmp_path: Path) -> None:
    start, end = np.array([0, 10, 10, 10, 12]), np.array([10, 15, 10, 10, 13])
    track = Track("host", [("op", "cpu_op")], np.zeros(5, dtype=np.int64), start, end)
    found = []
    for kind in (ChromeWriter, PerfettoWriter):
        with (tmp_path / "x").open("wb") as file:
            writer = kind(file)
            writer.begin(ABOUT)
            writer.rank(RANK, replace(SHARD, tracks=(track,), series=()))
            writer.end(ABOUT)
        with loaded(tmp_path / "x") as trace:
            found.append(trace.query(SLICES))
    assert (
        found[0]
        == found[1]
        == [("op", 0, 10, 0), ("op", 10, 0, 1), ("op", 10, 0, 2), ("op", 10, 5, 0), ("op", 12, 1, 1)]
    )


def test_it_does_find_fault_with_slices_that_overlap(tmp_path: Path) -> None:
    """Without that, the other tests would say nothing."""
    path = tmp_path / "x.json"
    lines = [
        f'{{"ph":"X","pid":1,"tid":2,"ts":{start},"dur":{dur},"name":"x","cat":"y"}}'
        for start, dur in ((0, 10), (5, 10))
    ]
    path.write_text('{"traceEvents":[' + ",".join(lines) + "]}")
    with loaded(path) as found:
        assert found.faults() == [("slice_drop_overlapping_complete_event", 1)]
