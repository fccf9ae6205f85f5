"""What streams waited for, where a profiler was asked to record synchronisations."""

from pathlib import Path

import pytest

from scaleprof.readers import find_runs, read_rank
from scaleprof.readers.json_text import text as text_module
from scaleprof.trace import Trace
from tests.readers.making import Json, complete, launch, write_trace
from tests.readers.test_foreign import kernel, read


def stream_wait(ts: int, stream: int, on: object, record: object, **more: object) -> Json:
    arguments = {"wait_on_stream": on, "wait_on_cuda_event_record_corr_id": record, "stream": stream, **more}
    return complete("Stream Wait Event", "cuda_sync", ts, 1, pid=0, tid=stream, **arguments)


def waits(trace: Trace) -> list[tuple[int, int, int, int]]:
    """Stream that waits, when it was told to, stream waited for, when that event was recorded; in us."""
    table, stream = trace.stream_waits, trace.lanes.stream
    columns = (stream[table.lane], table.called_ns // 1000, stream[table.on], table.recorded_ns // 1000)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def record(ts: int, correlation: int) -> Json:
    return launch(ts, correlation, name="cudaEventRecord")


def test_a_wait_says_on_which_stream_and_since_when(tmp_path: Path) -> None:
    events = [
        launch(10, 1), kernel("gemm", 20, 5, 1), launch(30, 2), kernel("nccl", 40, 5, 2, stream=20),
        record(50, 7), record(60, 8), stream_wait(70, 20, 7, 7), stream_wait(80, 7, "20", "8"),
    ]  # fmt: skip
    assert waits(read(tmp_path, events)) == [(20, 70, 7, 50), (7, 80, 20, 60)]


def test_a_wait_that_leads_nowhere_is_left_out(tmp_path: Path) -> None:
    unknown = [
        stream_wait(70, 20, None, 7), stream_wait(71, 20, 7, None), stream_wait(72, 20, 7, 99), stream_wait(73, 20, 55, 7),
        stream_wait(74, 20, 10**30, "x"), complete("Stream Wait Event", "cuda_sync", 75, 1, pid=0, tid=20),
        complete("Event Sync", "cuda_sync", 76, 1, pid=0, tid=-1, wait_on_stream=7, wait_on_cuda_event_record_corr_id=7),
    ]  # fmt: skip
    events = [launch(10, 1), kernel("gemm", 20, 5, 1), record(50, 7), *unknown]
    assert waits(read(tmp_path, events)) == []


@pytest.mark.parametrize("block", [1 << 9, 1 << 20])
def test_scanned_and_decoded_waits_are_the_same_also_among_odd_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    events: list[Json] = [launch(1, 1), kernel("gemm", 2, 1, 1), launch(3, 2), kernel("nccl", 4, 1, 2, stream=20)]
    for number in range(200):
        events += [record(10 + 10 * number, 100 + number), stream_wait(12 + 10 * number, 20, 7, 100 + number)]
        if number % 7 == 0:
            events.append({**stream_wait(13 + 10 * number, 20, 7, 100 + number), "ts": f"{13 + 10 * number}.5"})
    monkeypatch.setattr(text_module, "BLOCK_BYTES", block)
    found = waits(read(tmp_path, events))
    expected = [(20, 12 + 10 * number, 7, 10 + 10 * number) for number in range(200)]
    expected += [(20, 13 + 10 * number, 7, 10 + 10 * number) for number in range(0, 200, 7)]
    assert found == sorted(expected, key=lambda row: row[1])


def test_correlation_ids_belong_to_their_file(tmp_path: Path) -> None:
    """Two windows of one rank number their calls anew."""
    for number, base in enumerate((0, 10_000)):
        events = [
            complete(f"ProfilerStep#{number}", "user_annotation", base, 900), launch(base + 10, 1), kernel("gemm", base + 20, 5, 1),
            launch(base + 21, 2), kernel("nccl", base + 30, 5, 2, stream=20), record(base + 50, 7), stream_wait(base + 70, 20, 7, 7),
        ]  # fmt: skip
        write_trace(tmp_path / f"host_100.{1700000000000 + number}.pt.trace.json", events, distributedInfo={"rank": 0})
    [run] = find_runs([tmp_path], ())
    trace = read_rank(run.ranks[0], ())
    assert waits(trace) == [(20, 70, 7, 50), (20, 10_070, 7, 10_050)]


def test_a_real_trace_with_two_streams(foreign_traces: Path) -> None:
    """The runtime's own calls say the same: the record 17 us before the wait, whatever handle the event had before."""
    [run] = find_runs([foreign_traces / "kineto" / "sync" / "cuda-event-sync-multi-stream.json.gz"], ())
    [(stream, called, on, recorded)] = waits(read_rank(run.ranks[0], ()))
    assert (stream, on, called - recorded) == (24, 20, 17)
