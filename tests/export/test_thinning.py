"""What finds no room: the shortest first, kernels counting as if they were longer."""

import json

import numpy as np

from scaleprof.export.thinning import SLICE_BYTES, bytes_of, longest


def test_the_longest_stay_and_kernels_count_sixteen_times() -> None:
    rows, dur = np.array([3, 5, 7, 9]), np.array([10, 400, 30, 1])
    on_device = np.array([True, False, False, True])
    kept, left_out = longest(rows, dur, on_device, np.full(4, 100), 210)
    assert kept.tolist() == [3, 5], "160, 400, 30, 16"
    assert (left_out.count, left_out.of, left_out.longest_busy_ns, left_out.longest_host_ns) == (2, 4, 1, 30)


def test_all_that_fits_stays() -> None:
    kept, left_out = longest(np.arange(3), np.ones(3, dtype=np.int64), np.ones(3, dtype=bool), np.full(3, 100), 300)
    assert kept.tolist() == [0, 1, 2] and left_out.count == 0


def test_no_line_is_longer_than_is_reckoned() -> None:
    name, category = 'a "kernel"\n\x00 é', "kernel,compute"
    [most] = bytes_of([(name, category)]).tolist()
    line = {"ph": "X", "pid": 1_048_576, "tid": 1_050_000, "ts": 0, "dur": 0, "name": name, "cat": category}
    numbers = "123456789012.345" * 2
    assert most == SLICE_BYTES + len(json.dumps(name)) + len(json.dumps(category))
    assert len(json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode()) + len(numbers) <= most + 2
