"""What the lines of a recording say."""

import math

from scaleprof.readers.recorded.streams import issued_by_recorder, sample_columns, step_lines, wait_lines


def test_a_step_line_says_what_it_knows() -> None:
    (line,) = step_lines([{"i": 4, "t0": 5, "t1": 95, "cpu": 7, "runq": 9, "runq_wait": 4, "data": 3, "wait": 20,
                           "samples": 16, "profiled": False, "perturbed": True}])  # fmt: skip
    assert (line.index, line.t0, line.t1, line.cpu, line.runq, line.input, line.blocked) == (4, 5, 95, 7, 5, 3, 20)
    assert (line.samples, line.profiled, line.perturbed) == (16.0, False, True)


def test_an_absent_value_is_unknown() -> None:
    (line,) = step_lines([{"t0": 5, "t1": 95}])
    assert (line.index, line.cpu, line.runq, line.input, line.blocked) == (0, -1, -1, -1, -1)
    assert math.isnan(line.samples)
    assert (line.profiled, line.perturbed) == (True, False)


def test_run_queue_wait_outside_waits_is_known_only_where_the_share_inside_is() -> None:
    lines = [
        {"i": 0, "t0": 0, "t1": 9, "runq": 5},
        {"i": 1, "t0": 10, "t1": 19, "runq": 5, "wait": 3},
        {"i": 2, "t0": 20, "t1": 29, "runq": 5, "runq_wait": 6},
    ]
    assert [line.runq for line in step_lines(lines)] == [5, -1, 0]


def test_steps_come_in_order_of_time_and_nonsense_is_left_out() -> None:
    lines = [{"i": 2, "t0": 50, "t1": 60}, {"i": 1, "t0": 10, "t1": 20}, {"i": 3, "t0": 90, "t1": 80}, {"i": 4}]
    assert [line.index for line in step_lines(lines)] == [1, 2]


def test_waits_stand_in_order_of_time_and_in_unix_time() -> None:
    found = wait_lines([{"t": 50, "d": 10, "what": "x", "op": "recv"}, {"t": 10, "d": 20}, {"d": 5}, {"t": -1}], 1000)
    assert found.start_ns.tolist() == [1010, 1050]
    assert (found.dur_ns.tolist(), found.what, found.op) == ([20, 10], ("", "x"), ("", "recv"))
    assert found.comm.tolist() == [-1, -1]
    assert len(wait_lines([], 0).start_ns) == 0


def test_a_counter_that_a_sample_lacks_is_nan() -> None:
    found = sample_columns([{"t": 1, "rss_bytes": 5}, {"t": 2, "gpu_power_w": 3.5, "x": None}, {"no": 1}], 100)
    assert found.time_ns.tolist() == [101, 102]
    assert sorted(found.values) == ["gpu_power_w", "rss_bytes"]
    assert found.values["rss_bytes"][0] == 5
    assert math.isnan(found.values["rss_bytes"][1])


def test_flight_recorder_entries_are_collectives() -> None:
    entry = {
        "profiling_name": "gloo:all_gather", "input_sizes": [[8, 2]], "output_sizes": [[2, 8, 2]], "input_dtypes": ["Float"],
        "process_group": ["3", "mesh_tp"], "collective_seq_id": 7, "p2p_seq_id": 0, "is_p2p": False, "time_created_ns": 500, "record_id": 4,
    }  # fmt: skip
    late = {
        **entry,
        "record_id": 3,
        "time_created_ns": 400,
        "profiling_name": "gloo:barrier",
        "input_sizes": [],
        "input_dtypes": [],
    }
    found = issued_by_recorder([entry, entry, late, {"profiling_name": "no time"}])
    assert [(one.time_ns, one.op, one.in_elements, one.out_elements) for one in found] == [
        (400, "barrier", 0, 32),
        (500, "all_gather", 16, 32),
    ]
    assert (found[1].dtype, found[1].group, found[1].seq) == ("Float", "3", 7)
